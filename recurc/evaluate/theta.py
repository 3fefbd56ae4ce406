"""Which margin of the halting head is enough: found by labels, or without them where the margins form two clusters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from recurc.dataset import Dataset
from recurc.evaluate.asked import Asked
from recurc.evaluate.halting import Halt, stop_index
from recurc.evaluate.solving import Solved
from recurc.solve import ACCEPT, Policy
from recurc.types import F32Array, F64Array

MOST_WRONG = 0.01  # of what is called solved, where the head counts as a certificate
_CANDIDATES = 33
_HALTING = 0.8  # a theta must stop so much of what the lowest one stops: beyond, it asks most puzzles again for nothing
_DEARER = 1.03  # a threshold that takes so many times the steps costs next to nothing more
_FEWEST, _LEAST_SHARE = 3, 0.02  # of puzzles in a cluster
_WARY = 0.75  # of the way from the lower to the upper cluster: a wrong answer that is believed costs more than a run
_BETWEEN, _MIDDLE = 0.05, (0.35, 0.65)  # so few margins may lie in the middle between the clusters


@dataclass(frozen=True)
class Clusters:
    """Two clusters of margins: below and above `theta`, with their sizes and the 5th, 50th and 95th percentile of each."""

    theta: float
    below: int
    above: int
    low: tuple[float, float, float]
    high: tuple[float, float, float]


def two_clusters(margins: F32Array) -> Clusters | None:
    """The clusters that margins [n] of puzzles form, some solved and some not; None where they form no two.

    They are split where the variance within both is least. It is none where one of them has next to no members (all puzzles are
    solved, or none), or where there is no valley between: then the margins tell nothing by themselves.
    """
    x: F64Array = np.sort(np.asarray(margins, np.float64)[np.isfinite(margins)])
    n = len(x)
    least = max(_FEWEST, int(np.ceil(_LEAST_SHARE * n)))
    if n < 2 * least or x[0] == x[-1]:
        return None
    sizes = np.arange(1, n)
    sums, squares = np.cumsum(x), np.cumsum(x * x)
    within = squares[:-1] - sums[:-1] ** 2 / sizes + (squares[-1] - squares[:-1]) - (sums[-1] - sums[:-1]) ** 2 / (n - sizes)
    cut = int(within.argmin()) + 1
    low, high = _percentiles(x[:cut]), _percentiles(x[cut:])
    start, end = (low[1] + share * (high[1] - low[1]) for share in _MIDDLE)
    between = ((x > start) & (x < end)).mean()
    if min(cut, n - cut) < least or between > _BETWEEN:
        return None
    theta = low[2] + _WARY * (high[0] - low[2])
    return Clusters(float(f"{theta:.3g}"), cut, n - cut, low, high)


def _percentiles(values: F64Array) -> tuple[float, float, float]:
    low, middle, high = (float(v) for v in np.percentile(values, (5, 50, 95)))
    return low, middle, high


def candidates(asked: Asked, policy: Policy) -> list[float]:
    """Thresholds to try, lowest first: 0, which the head was trained to, and others over the margins of the first run's steps
    above it, as far as they still stop most of what 0 stops."""
    run = asked.plain
    margins, same = run.margins[: policy.steps], run.same[: policy.steps]
    finite = margins[np.isfinite(margins)]
    spread = np.quantile(finite, np.linspace(0, 1, _CANDIDATES)).tolist() if len(finite) else []
    found = sorted({0.0, *(float(f"{q:.3g}") for q in spread if q > 0)})

    def stopped(theta: float) -> float:
        halt = Halt(theta, patience=policy.patience)
        at = stop_index(margins, same, halt)
        last = halt.stops(policy.steps, margins[-1], same[-1])
        return float(((at < policy.steps - 1) | last).mean())

    shares = [stopped(theta) for theta in found]
    return [t for t, share in zip(found, shares) if share >= _HALTING * shares[0] and share > 0] or [0.0]


@dataclass(frozen=True)
class Choice:
    """What is believed, on the puzzles that it was chosen on. tried: the best of each way that was tried, by its name."""

    accept: str
    tried: Mapping[str, Solved]

    @property
    def by_margin(self) -> Solved:
        """The first run that halts."""
        return self.tried["margin"]

    @property
    def solved(self) -> Solved:
        """What is believed."""
        return self.tried[self.accept]


def by_labels(asked: Asked, data: Dataset, policy: Policy) -> Choice:
    """The threshold and what is believed, chosen on labelled puzzles.

    By margin: of the thresholds after which no more than one puzzle fewer is right than after the best, those that call the
    fewest wrong answers solved, and take next to no more steps than any of them; of these the one in the middle, for other
    puzzles and precisions have margins somewhat higher or lower. Where the margin is no certificate, two runs that agree and a
    majority of all runs, with the patience or without, are tried beside it. Of what is right as often, but for a puzzle, that
    is believed which calls the fewest wrong answers solved, and of equals what takes the fewest steps.

    Args:
        policy: its threshold and accept are chosen here.
    """
    thetas = candidates(asked, policy)

    def tried(accept: str, *patience: int) -> list[Solved]:
        policies = [replace(policy, threshold=t, accept=accept, patience=p) for t in thetas for p in patience]
        return [Solved.of(p, asked.answers(p), data) for p in policies]

    margin = _best(tried("margin", policy.patience))
    certificate = is_certificate([margin]) is not False
    found = {"margin": margin}
    for accept in ACCEPT[1:] if policy.runs(len(asked.forms)) else ():
        if accept == "agreement" or not certificate:
            found[accept] = _best(tried(accept, policy.patience, 0))
    if certificate:
        return Choice("margin", found)
    right = {accept: int(s.right.sum()) for accept, s in found.items()}
    good = [accept for accept in found if right[accept] >= max(right.values()) - 1]
    return Choice(min(good, key=lambda accept: (found[accept].wrong_solved, found[accept].mean_steps)), found)


def is_certificate(found: Sequence[Solved]) -> bool | None:
    """Whether what a margin called solved was right but for MOST_WRONG; None where nothing was wrong of too few to tell."""
    shares = [s.right_if_solved for s in found]
    n, wrong = sum(s.n for s in shares), sum(s.n - s.part for s in shares)
    if not wrong and n * MOST_WRONG < 1:
        return None
    return wrong <= MOST_WRONG * n


def _best(tried: Sequence[Solved]) -> Solved:
    """Of equally good ones the one in the middle, see `by_labels`."""
    most = max(int(s.right.sum()) for s in tried)
    good = [s for s in tried if int(s.right.sum()) >= most - 1]
    least = min(s.wrong_solved for s in good)
    good = [s for s in good if s.wrong_solved == least]
    cheapest = min(s.mean_steps for s in good)
    good = [s for s in good if s.mean_steps <= _DEARER * cheapest]
    thetas = [s.policy.threshold for s in good]
    middle = (min(thetas) + max(thetas)) / 2
    return min(good, key=lambda s: (abs(s.policy.threshold - middle), s.mean_steps))
