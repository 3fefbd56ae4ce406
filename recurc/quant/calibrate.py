"""Calibration: what the linear layers see along real trajectories of the fp32 model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from recurc.ir.lower import lower
from recurc.models.reasoner import Reasoner
from recurc.models.reference import Reference

DEFAULT_PUZZLES = 128
DEFAULT_STEPS = 4  # the later steps of a solved puzzle repeat the earlier ones
MAC_BUDGET = 2e11  # seconds of two CPU cores; larger models are calibrated on fewer puzzles and steps
BATCH = 16
MAX_ROWS = 384  # rows of a layer's input that one call contributes: tens of thousands in all


@dataclass(frozen=True)
class Calibration:
    """Second moments of the inputs of each linear layer.

    moments: tensor name -> sum of x x^T over the sampled rows, float64 [K, K].
    puzzles, steps: what was run; seed: of the row sampling.
    """

    moments: Mapping[str, np.ndarray]
    puzzles: int
    steps: int
    seed: int

    def __repr__(self) -> str:
        return f"Calibration({len(self.moments)} layers, {self.puzzles} puzzles, {self.steps} steps)"


class _Moments:
    """Observer that adds up x x^T of a sample of the rows."""

    def __init__(self, seed: int) -> None:
        self.sums: dict[str, torch.Tensor] = {}
        self.generator = torch.Generator().manual_seed(seed)

    def __call__(self, name: str, x: torch.Tensor) -> None:
        rows = x.reshape(-1, x.shape[-1])
        if len(rows) > MAX_ROWS:
            rows = rows[torch.randint(len(rows), (MAX_ROWS,), generator=self.generator)]
        moment = (rows.T @ rows).double()
        if name in self.sums:
            self.sums[name] += moment
        else:
            self.sums[name] = moment


def depth_for_budget(macs_per_step: int, puzzles: int, steps: int) -> tuple[int, int]:
    """(puzzles, steps) that stay within the calibration's compute budget; at least one step of one puzzle."""
    affordable = max(1, int(MAC_BUDGET // max(macs_per_step, 1)))
    used_steps = max(1, min(steps, DEFAULT_STEPS, affordable // max(puzzles, 1)))
    return max(1, min(puzzles, affordable // used_steps)), used_steps


def calibrate(
    reasoner: Reasoner,
    inputs: np.ndarray,
    puzzle_ids: np.ndarray | None = None,
    *,
    seed: int = 0,
    steps: int | None = None,
    progress: Callable[[float, int], None] | None = None,
) -> Calibration:
    """Run the fp32 model on calibration puzzles and record what its layers see.

    Args:
        inputs: tokens [N, seq_len], from the training split.
        puzzle_ids: [N].
        progress: called with (puzzles done, puzzles in all) after each step of some of them.
    """
    config = reasoner.config
    puzzles, used_steps = depth_for_budget(lower(config).macs_per_step, len(inputs), steps or config.halt_max_steps)
    observer = _Moments(seed)
    reference = Reference(reasoner, observer)
    for start in range(0, puzzles, BATCH):
        stop = min(start + BATCH, puzzles)
        ids = None if puzzle_ids is None else puzzle_ids[start:stop]
        for step, _ in enumerate(reference.steps(inputs[start:stop], ids, used_steps), start=1):
            if progress:
                progress(start + (stop - start) * step / used_steps, puzzles)
    moments = {name: m.numpy() for name, m in observer.sums.items()}
    return Calibration(moments, puzzles, used_steps, seed)
