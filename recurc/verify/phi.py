"""Fidelity of carries that a device sent, against the fp32 model: no labels are needed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from recurc.arguments import argument
from recurc.build.manifest import Build
from recurc.errors import InputError
from recurc.evaluate.fidelity import carry_fidelity
from recurc.evaluate.runs import Kept, ends, record
from recurc.evaluate.stepping import TorchStepper
from recurc.models.reasoner import Reasoner
from recurc.recursion import Depth

MOST_PUZZLES = 4
MACS = 1e11  # fp32 compute that the default number of puzzles may take


class FidelityMeter:
    """phi of z_H after the first and the last step of a puzzle.

    Args:
        reasoner: the model that the build was made of.
        depth: that the build was made with.
    """

    def __init__(self, reasoner: Reasoner, depth: Depth) -> None:
        from recurc.models.reference import Reference

        self._stepper = TorchStepper(Reference(reasoner), depth)

    def measure(self, tokens: np.ndarray, puzzle_id: int, carries: Mapping[int, np.ndarray]) -> tuple[float, float]:
        """phi after step 1 and after the last of `carries` (step -> z_H float32 [S, D], as the device sent it)."""
        last = max(carries)
        run = record(self._stepper, np.asarray(tokens)[None], np.array([puzzle_id]), last, kept=Kept(ends(last)))
        first, end = (float(carry_fidelity(carries[at][None], run.z_H[i])[0]) for at, i in ((1, 0), (last, -1)))
        return first, end


def default_puzzles(macs_per_puzzle: int) -> int:
    """Of how many puzzles the carry is read back when nobody says: few of a large model."""
    return int(max(1, min(MOST_PUZZLES, MACS // max(macs_per_puzzle, 1))))


def build_meter(build: Build, checkpoint: Path | str | None = None) -> FidelityMeter:
    """The meter of a build, with the fp32 model that it was made of.

    Args:
        checkpoint: where it is now; by default where it was when the build was made.

    Raises:
        InputError: it is not there, or is another one.
    """
    from recurc.models.checkpoint import load

    made = build.details.get("checkpoint")
    source = checkpoint or (made["source"] if made else None)
    sha256 = made["sha256"] if made else None
    if source is None:
        raise InputError(
            "the build's checkpoint is not known",
            where=str(build.path),
            why="the build does not name it",
            next=f"Pass it with {argument('checkpoint', 'CHECKPOINT', option='reference')}",
        )
    reasoner = load(source)
    if reasoner.sha256 != sha256:
        raise InputError(
            "this is not the build's checkpoint",
            where=str(source),
            why=f"its sha256 is {reasoner.sha256[:16]}…, the build was made of {str(sha256)[:16]}…",
            next="Pass the one that the build was made of with " + argument("checkpoint", "CHECKPOINT", option="reference"),
        )
    return FidelityMeter(reasoner, build.depth)
