"""Noise on the carry: exactly defined normal numbers that are the same bits everywhere (runtime_c/SPEC.md, "Noise")."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recurc.arguments import argument
from recurc.errors import UsageError
from recurc.threefry import threefry_words
from recurc.types import F32Array, I32Array

NOISE_AT = ("start", "step")
START, STEP = NOISE_AT
DEVIATION = np.float32(0.10846522890932808)  # 1 / sqrt(85): of the sum of four digits from 0 to 15, (16^2 - 1) / 12 each
MOST_SEED = (1 << 32) - 1


@dataclass(frozen=True)
class Noise:
    """What runs after the first have on their carry.

    sigma: its standard deviation (float32). at: "start": on all states as they start; "step": on the state that the heads read,
    before each step. seed: of the random words.
    """

    sigma: float
    at: str = START
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises UsageError where there is no such noise."""
        with np.errstate(over="ignore"):
            object.__setattr__(self, "sigma", float(np.float32(self.sigma)))
        if not (math.isfinite(self.sigma) and self.sigma > 0):
            raise UsageError("the noise is no positive number of 32 bits", where=argument("noise"),
                             next="Give a standard deviation, such as 0.5")  # fmt: skip
        if self.at not in NOISE_AT:
            raise UsageError(f"{self.at!r} is no place for noise", where=argument("noise_at"),
                             next=f"Choose {' or '.join(NOISE_AT)}")  # fmt: skip
        if not 0 <= self.seed <= MOST_SEED:
            raise UsageError(
                f"{self.seed} is out of range", where=argument("seed"), next=f"Give a number from 0 to {MOST_SEED}"
            )

    @property
    def scale(self) -> np.float32:
        """What a whole number of `normals` is multiplied by."""
        return np.float32(np.float32(self.sigma) * DEVIATION)

    def due(self, run: int, step: int) -> bool:
        """Whether a run, 0 the first, has noise before a step, counted from 0."""
        return run > 0 and (self.at == STEP or step == 0)

    def added(self, z: F32Array, run: int, step: int, state: int) -> F32Array:
        """z [..., S, D], state number `state` of the model, with the noise that a run has before a step.

        A row in which that leaves something that is not a finite number is NaN.
        """
        numbers = normals(self.seed, run, step, state, z.shape[-2], z.shape[-1]).astype(np.float32)
        with np.errstate(over="ignore", invalid="ignore"):
            noisy = z + numbers * self.scale
        return np.where(np.isfinite(noisy).all(axis=-1, keepdims=True), noisy, np.float32("nan"))


# Noise, and the number of the run that has it.
Stir = tuple[Noise, int]


def normals(seed: int, run: int, step: int, state: int, rows: int, width: int) -> I32Array:
    """Whole numbers from -30 to 30, int32 [rows, width], of variance 85: normal but for their ends."""
    blocks = -(-width // 4)
    first = state * rows * blocks
    low, high = threefry_words((seed, run), np.arange(first, first + rows * blocks, dtype=np.uint32), step)
    halves: NDArray[np.uint32] = np.stack((low & 0xFFFF, low >> 16, high & 0xFFFF, high >> 16), axis=-1)
    digits = sum((halves >> turn & 15) for turn in (0, 4, 8, 12))
    return (np.asarray(digits).astype(np.int32) - 30).reshape(rows, blocks * 4)[:, :width]
