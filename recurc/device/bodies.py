"""Bodies of the wire's longer requests (runtime_c/SPEC.md, section "Wire")."""

from __future__ import annotations

import struct

from recurc.solve import ACCEPT, Policy


def run_body(
    flags: int, steps: int, min_steps: int, at: int, puzzle: int, input_crc: int, threshold: float, patience: int = 0
) -> bytes:
    """Body of a RUN request."""
    return struct.pack("<BBHHHIIf", flags, patience, steps, min_steps, at, puzzle, input_crc, threshold)


def solve_body(policy: Policy, puzzle: int, input_crc: int) -> bytes:
    """Body of a SOLVE request."""
    p = policy
    numbers = (ACCEPT.index(p.accept), p.patience, p.steps, p.restart_steps, p.restarts, puzzle, input_crc, p.threshold)
    return struct.pack("<BBHHHIIf", *numbers)


def row_body(index: int, offset: int, piece: bytes) -> bytes:
    """Body of a ROW request: `piece` of the record of puzzle `index`, beginning at `offset`."""
    return struct.pack("<IH", index, offset) + piece
