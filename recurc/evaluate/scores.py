"""How many answers are right: cells, whole puzzles, and differences of two models on the same puzzles."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from recurc.documents.shares import Shares
from recurc.types import I64Array

_NORMAL_95 = 1.959964


@dataclass(frozen=True)
class Scores:
    """Accuracy in 0..1: cell = share of valid cells right (clues count, as in the reference), exact = whole puzzles; of the n
    puzzles that have labels."""

    cell: float
    exact: float
    n: int

    @property
    def exact_error(self) -> float:
        """Standard error of `exact`; by Wilson's interval, so that it is not 0 where all or none are exact. NaN of none."""
        p, n = self.exact, self.n
        return math.sqrt(p * (1 - p) / n + 1 / (4 * n * n)) / (1 + 1 / n) if n else math.nan

    def __repr__(self) -> str:
        exact = f"{100 * self.exact:.2f} ± {100 * self.exact_error:.2f} %"
        return f"Scores(exact {exact}, cells {100 * self.cell:.2f} %, {self.n} puzzles)"

    def shares(self) -> Shares:
        """For documents: cell and exact."""
        return {"cell": self.cell, "exact": self.exact}


@dataclass(frozen=True)
class Share:
    """So many of n."""

    part: int
    n: int

    @property
    def value(self) -> float:
        """Their share, 0..1; NaN of none."""
        return self.part / self.n if self.n else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's interval of the share, of 95 %; all there is of none."""
        if not self.n:
            return 0.0, 1.0
        p, z = self.value, _NORMAL_95
        middle, spread = p + z * z / (2 * self.n), z * math.sqrt(p * (1 - p) / self.n + z * z / (4 * self.n * self.n))
        whole = 1 + z * z / self.n
        return max(0.0, (middle - spread) / whole), min(1.0, (middle + spread) / whole)


def hopeless(scores: Scores, n: int) -> bool:
    """Whether fp32 itself solves next to none of n puzzles: then most likely the model or the dataset is not the one meant."""
    return n >= 4 and scores.exact < 0.05 and scores.exact * n < 2


def right_cells(tokens: np.ndarray, labels: np.ndarray, valid: np.ndarray) -> I64Array:
    """Cells that are right of those that are marked in `valid`: tokens [..., N, seq], labels and valid [N, seq] -> [..., N]."""
    return np.asarray(((tokens == labels) & valid).sum(axis=-1))


def score(tokens: np.ndarray, labels: np.ndarray, valid: np.ndarray) -> Scores:
    """Score predictions [N, seq] against labels [N, seq]; only cells marked in `valid` [N, seq] count, and only examples that
    have some, as in the reference code. NaN where none has any."""
    counts = valid.sum(axis=1)
    right = right_cells(tokens, labels, valid)[counts > 0]
    counts = counts[counts > 0]
    if not len(counts):
        return Scores(float("nan"), float("nan"), 0)
    return Scores(float((right / counts).mean()), float((right == counts).mean()), len(counts))


def mean_difference(deficits: np.ndarray, whole: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Mean of paired differences [..., n] and its standard error, as though one puzzle more had differed: that none of a few
    puzzles differs is no certainty. By a whole answer, or where a difference is no matter of yes or no by the most of any."""
    n = deficits.shape[-1]
    mean = deficits.mean(axis=-1, dtype=np.float64)
    spread = np.square(deficits, dtype=np.float64).sum(axis=-1) - n * np.square(mean)
    more = 1.0 if whole else np.square(np.abs(deficits).max(axis=-1), dtype=np.float64)
    return mean, np.sqrt(np.maximum(spread, 0) + more) / n
