"""What sets of puzzles do step by step: in the device's arithmetic on this computer, and in the fp32 reference."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from recurc.evaluate.halting import stayed
from recurc.evaluate.stepping import Engine, EngineStepper, Stepper, TorchStepper
from recurc.models.reasoner import Reasoner
from recurc.noise import Stir
from recurc.recursion import Depth
from recurc.types import F32Array, I64Array

Progress = Callable[[float], None]


@dataclass(frozen=True)
class Run:
    """What n puzzles did at each step: tokens [steps, n, seq], margins float32 [steps, n] (what the halting head is for
    stopping by; it stops above a threshold), and z_H float32 [k, m, S, D] of the first m puzzles after k of the steps."""

    tokens: np.ndarray
    margins: F32Array
    z_H: F32Array

    @cached_property
    def same(self) -> I64Array:
        """For how many steps in a row the tokens have stayed the same, [steps, n]."""
        return stayed(self.tokens)

    @property
    def last(self) -> Run:
        """Its last step alone."""
        return Run(self.tokens[-1:].copy(), self.margins[-1:].copy(), self.z_H[-1:].copy())


def ends(steps: int) -> tuple[int, ...]:
    """The first and the last step."""
    return (1, steps)


def every(steps: int) -> tuple[int, ...]:
    """All steps."""
    return tuple(range(1, steps + 1))


@dataclass(frozen=True)
class Kept:
    """What is kept of z_H: after these steps, of the first `puzzles` puzzles (None: of all)."""

    steps: Collection[int] = ()
    puzzles: int | None = None


def record(
    stepper: Stepper,
    inputs: np.ndarray,
    puzzle_ids: np.ndarray,
    steps: int,
    *,
    kept: Kept = Kept(),  # noqa: B008 - it is frozen
    threads: int | None = 1,
    progress: Progress | None = None,
    stir: Stir | None = None,
) -> Run:
    """Run puzzles, tokens [n, seq] and identifiers [n], for `steps` supervision steps each, in order.

    Args:
        threads: batches that run beside each other; None: as many as there are processors.
        progress: called after each step with the part of the puzzles that it is, from any thread.
        stir: noise that the carry has on the way.
    """
    starts = range(0, len(inputs), stepper.most)
    first = len(inputs) if kept.puzzles is None else kept.puzzles
    workers = max(1, min(threads or os.cpu_count() or 1, len(starts)))
    parts: list[Run | None] = [None] * len(starts)

    def lane(number: int) -> None:
        own = stepper.fresh()
        for i in range(number, len(starts), workers):
            batch, keep = slice(starts[i], starts[i] + stepper.most), max(first - starts[i], 0)
            wanted = frozenset(kept.steps) if keep else frozenset()
            parts[i] = _batch(own, inputs[batch], puzzle_ids[batch], steps, stir, wanted, keep, progress)

    if workers == 1:
        lane(0)
    else:
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(lane, range(workers)))
    return _joined([part for part in parts if part is not None])


def _batch(
    stepper: Stepper,
    inputs: np.ndarray,
    puzzle_ids: np.ndarray,
    steps: int,
    stir: Stir | None,
    wanted: frozenset[int],
    keep: int,
    progress: Progress | None,
) -> Run:
    """Puzzles that run at once."""
    tokens, margins, carries = [], [], []
    for state in stepper.steps(inputs, puzzle_ids, steps, stir):
        tokens.append(state.tensor("tokens"))
        margins.append(state.margin)
        if state.step in wanted:
            carries.append(state.tensor("z_H")[:keep])
        if progress:
            progress(len(inputs) / steps)
    nothing = np.zeros((0, 0, 0, 0), np.float32)
    return Run(np.stack(tokens), np.stack(margins), np.stack(carries) if carries else nothing)


def _joined(parts: Sequence[Run]) -> Run:
    carries = [part.z_H for part in parts if part.z_H.size] or [parts[0].z_H]
    return Run(
        np.concatenate([part.tokens for part in parts], axis=1),
        np.concatenate([part.margins for part in parts], axis=1),
        np.concatenate(carries, axis=1),
    )


def run_engine(
    engine: Engine,
    inputs: np.ndarray,
    puzzle_ids: np.ndarray,
    steps: int,
    *,
    kept: Kept = Kept(),  # noqa: B008 - it is frozen
    threads: int | None = None,
    progress: Progress | None = None,
) -> Run:
    """`record` of the device's arithmetic on all processors."""
    return record(EngineStepper(engine), inputs, puzzle_ids, steps, kept=kept, threads=threads, progress=progress)


def run_reference(
    reasoner: Reasoner, inputs: np.ndarray, puzzle_ids: np.ndarray, depth: Depth, progress: Progress | None = None
) -> Run:
    """`record` of the fp32 reference at some depth, with z_H after the first and the last step."""
    from recurc.models.reference import Reference

    stepper = TorchStepper(Reference(reasoner), depth)
    return record(stepper, inputs, puzzle_ids, depth.steps, kept=Kept(ends(depth.steps)), progress=progress)
