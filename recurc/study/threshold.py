"""Which phi parts harmful from harmless variants, and how well phi orders them by the damage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

TOLERANCE = 0.02
SURE = 2.0  # standard errors that chance does not explain


def ranks(values: Sequence[float]) -> np.ndarray:
    """Ranks from 1, equal values share the mean of theirs."""
    _, inverse, counts = np.unique(np.asarray(values, dtype=float), return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse]


def spearman(a: Sequence[float], b: Sequence[float]) -> float:
    """Spearman's rank correlation; NaN where one side is constant or there are fewer than three pairs."""
    x, y = ranks(a), ranks(b)
    x, y = x - x.mean(), y - y.mean()
    size = np.sqrt((x * x).sum() * (y * y).sum())
    return float((x * y).sum() / size) if len(x) > 2 and size > 0 else float("nan")


@dataclass(frozen=True)
class Point:
    """One variant of one model: label-free numbers, and the loss of exact (0..1) with its standard error."""

    model: str
    label: str
    engine: str
    phi_first: float
    phi_last: float
    kept: float
    exact: float
    loss: float
    loss_se: float

    def harmful(self, tolerance: float, errors: float = SURE) -> bool:
        """Whether it loses more than `tolerance`, and more than chance explains (two standard errors)."""
        return self.loss > max(tolerance, errors * self.loss_se)


@dataclass(frozen=True)
class Threshold:
    """Where to refuse. phi: refuse below; None when there is nothing harmful, or nothing else. missed, alarms: harmful points
    above, harmless ones below; of so many. safe: the least phi above which nothing was harmful. lowest: the least phi seen.
    unclear: harmless points above that lost more than the tolerance, though no more than chance explains: with more puzzles
    they may turn out harmful, and the threshold higher."""

    phi: float | None
    missed: int
    harmful: int
    alarms: int
    harmless: int
    safe: float | None
    lowest: float
    unclear: int

    @property
    def suggestion(self) -> float | None:
        """A round number to build with: the threshold; without anything harmful the lowest phi that did no harm."""
        value = self.phi if self.harmful else self.lowest
        return None if value is None else round(float(value), 3)


def threshold(points: Sequence[Point], tolerance: float = TOLERANCE, key: str = "phi_first", errors: float = SURE) -> Threshold:
    """The phi that parts harmful from harmless points with the least sum of both shares of mistakes; of equals the highest.

    Args:
        errors: standard errors beyond which a loss is harm; 0: by its mean alone.
    """
    phi = np.array([getattr(p, key) for p in points])
    bad = np.array([p.harmful(tolerance, errors) for p in points], dtype=bool)
    seen = np.unique(phi)
    found, best = None, np.inf
    if bad.any() and not bad.all():
        for at in [(low + high) / 2 for low, high in zip(seen, seen[1:])]:
            mistakes = (bad & (phi >= at)).sum() / bad.sum() + (~bad & (phi < at)).sum() / (~bad).sum()
            if mistakes <= best:
                found, best = float(at), mistakes
    missed = 0 if found is None else int((bad & (phi >= found)).sum())
    alarms = 0 if found is None else int((~bad & (phi < found)).sum())
    above = phi[phi > phi[bad].max()] if bad.any() else phi
    safe = float(above.min()) if len(above) else None
    doubted = ~bad & np.array([p.loss > tolerance for p in points], dtype=bool) & (phi >= (-np.inf if found is None else found))
    return Threshold(found, missed, int(bad.sum()), alarms, int((~bad).sum()), safe, float(phi.min()), int(doubted.sum()))


def careful(points: Sequence[Point], tolerance: float = TOLERANCE) -> float | None:
    """The phi to keep: the stricter of the threshold where harm is sure and of that where it is likelier than not.

    What is surely harmful shrinks with the number of puzzles, so the first alone would be the laxer the less was measured.
    None: no threshold follows.
    """
    found = [threshold(points, tolerance, errors=e).suggestion for e in (SURE, 0.0)]
    return None if None in found else max(v for v in found if v is not None)


def least_puzzles(tolerance: float) -> int:
    """Puzzles that it takes to keep a threshold: with fewer, a single one is more than the tolerance."""
    return int(np.ceil(1 / tolerance - 1e-9)) if tolerance > 0 else 2**31
