"""Bodies of the wire's longer requests (runtime_c/SPEC.md, section "Wire")."""

from __future__ import annotations

import struct

from recurc.noise import NOISE_AT, Noise, Stir
from recurc.solve import ACCEPT, Policy


def run_body(
    flags: int, steps: int, min_steps: int, at: int, puzzle: int, input_crc: int, threshold: float, patience: int = 0,
    stir: Stir | None = None,
) -> bytes:  # fmt: skip
    """Body of a RUN request."""
    plain = struct.pack("<BBHHHIIf", flags, patience, steps, min_steps, at, puzzle, input_crc, threshold)
    return plain + (b"" if stir is None else _noise(*stir))


def _noise(noise: Noise, run: int = 0) -> bytes:
    """What a body ends with that asks for noise: that of a run, or of all but the first."""
    return struct.pack("<fBBHI", noise.sigma, NOISE_AT.index(noise.at), 0, run, noise.seed)


def solve_body(policy: Policy, puzzle: int, input_crc: int) -> bytes:
    """Body of a SOLVE request."""
    p = policy
    numbers = (ACCEPT.index(p.accept), p.patience, p.steps, p.restart_steps, p.restarts, puzzle, input_crc, p.threshold)
    return struct.pack("<BBHHHIIf", *numbers) + (b"" if p.noisy is None else _noise(p.noisy))


def row_body(index: int, offset: int, piece: bytes) -> bytes:
    """Body of a ROW request: `piece` of the record of puzzle `index`, beginning at `offset`."""
    return struct.pack("<IH", index, offset) + piece
