"""How well phi predicts damage, and which threshold follows from that.

A ladder of variants, from harmless to ruinous, is evaluated at the trained depth: weight and activation schemes, the same on
a function-preserving outlier copy, and plain noise on the weights. Each gives a point: phi, which needs no labels, and the loss
of puzzles exact against fp32. Spearman's rank correlation says how well one orders the other; the threshold is the phi that
parts harmful from harmless points with the fewest mistakes, counted alike on both sides.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from recurc.dataset import Dataset
from recurc.evaluate.min_fidelity import MinFidelity
from recurc.ir.lower import lower
from recurc.models.reasoner import Reasoner
from recurc.study.outliers import outlier_copy
from recurc.study.threshold import TOLERANCE, Point, careful, spearman, threshold
from recurc.study.variants import Outcome, Variant
from recurc.study.workbench import Means, Workbench

_ROUNDED = 0.0005  # a suggestion has three digits
MAC_BUDGET = 1e12  # multiply-adds a variant may take: less than a minute of two cores
OUTLIERS = "outliers"
NOISE = (0.04, 0.08, 0.16, 0.24, 0.32, 0.48, 0.64)  # of each row's root mean square
_PAIRS = (
    ("int8", "int8-row"),
    ("int8", "int8-tensor"),
    ("int8", "int8-static"),
    ("int8", "int4-row"),
    ("int8", "int4-block32"),
    ("int4", "int8-row"),
    ("int4", "int8-static"),
    ("int4", "int4-row"),
    ("int4-g32", "int8-row"),
    ("int4-naive", "int8-row"),
    ("int4-naive", "int4-row"),
)
_OUTLIER_PAIRS = (("int8", "int8-static"), ("int4", "int8-row"), ("int4-naive", "int8-row"))


def noisy_copy(reasoner: Reasoner, share: float, seed: int = 0) -> Reasoner:
    """The model with Gaussian noise on every linear layer's weights, `share` of each row's root mean square."""
    rng = np.random.default_rng(seed)
    tensors = dict(reasoner.tensors)
    for name in reasoner.linear_names():
        w = tensors[name]
        size = np.sqrt(np.mean(np.square(w), axis=1, keepdims=True)) * np.float32(share)
        tensors[name] = (w + rng.standard_normal(w.shape, dtype=np.float32) * size).astype(np.float32)
    digest = hashlib.sha256(f"{reasoner.sha256} noise {share} {seed}".encode()).hexdigest()
    return replace(reasoner, tensors=tensors, sha256=digest)


def _noise_name(share: float) -> str:
    return f"noise {100 * share:g} %"


def subjects(reasoner: Reasoner) -> dict[str, Reasoner]:
    """The models that stand in for a checkpoint on the ladder."""
    return {OUTLIERS: outlier_copy(reasoner), **{_noise_name(s): noisy_copy(reasoner, s) for s in NOISE}}


def ladder(steps: int | None = None) -> list[Variant]:
    """Plain fp32 first, then the variants whose damage is measured."""
    return [
        Variant("fp32", "fp32", steps=steps),
        *(Variant(p, a, steps=steps) for p, a in _PAIRS),
        *(Variant(p, a, steps=steps, transform=OUTLIERS) for p, a in _OUTLIER_PAIRS),
        *(Variant("fp32", "fp32", steps=steps, transform=_noise_name(s), name=f"fp32, {_noise_name(s)}") for s in NOISE),
    ]


def affordable(reasoner: Reasoner, puzzles: int) -> int:
    """Steps at which `puzzles` puzzles stay within MAC_BUDGET: as trained, or a half, a quarter, ..., at least 1."""
    macs, steps = lower(reasoner.config).macs_per_step, reasoner.config.halt_max_steps
    while steps > 1 and steps * macs * puzzles > MAC_BUDGET:
        steps //= 2
    return steps


# -- a model's points ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LadderResult:
    """The ladder of one checkpoint: n puzzles, steps, the fp32 model's exact accuracy, a point a variant."""

    model: str
    n: int
    steps: int
    fp32_exact: float
    points: tuple[Point, ...]

    def correlation(self, key: str) -> float:
        """Spearman's of a point's number ("phi_first", "phi_last", "kept") with the loss of exact: -1 is perfect."""
        return spearman([getattr(p, key) for p in self.points], [p.loss for p in self.points])

    def own(self, checkpoint_sha256: str, tolerance: float = TOLERANCE) -> MinFidelity | None:
        """What there is to keep beside the checkpoint; None where no threshold follows: all of the ladder is harmful, or fp32
        solves too few puzzles to lose any."""
        phi = careful(self.points, tolerance)
        if phi is None or self.fp32_exact <= tolerance:
            return None
        bad = [p for p in self.points if p.harmful(tolerance)]
        good = [p for p in self.points if not p.harmful(tolerance)]
        above = [p for p in self.points if p.phi_first >= phi - _ROUNDED]
        unclear = sum(p in good and p.loss > tolerance for p in above)
        missed = sum(p in bad for p in above)
        return MinFidelity(
            checkpoint_sha256,
            phi,
            tolerance,
            self.n,
            self.steps,
            len(bad),
            missed,
            len(good),
            sum(p not in above for p in good),
            unclear,
        )


def points_of(model: str, outcomes: Sequence[Outcome]) -> tuple[Point, ...]:
    """Points of a ladder's outcomes, whose first is plain fp32."""
    fp32 = outcomes[0]
    return tuple(
        Point(model, o.variant.label, o.variant.engine, o.phi_first, o.phi_last, o.kept, o.exact, *o.loss(fp32))
        for o in outcomes[1:]
    )


def measure_ladder(
    model: str,
    reasoner: Reasoner,
    test: Dataset,
    train: Dataset | None,
    *,
    steps: int | None = None,
    means: Means = Means(),  # noqa: B008 - it is frozen
    progress: Callable[[float], None] | None = None,
) -> LadderResult:
    """Evaluate the ladder on a checkpoint; `steps` None takes what `affordable` says.

    Raises:
        InputError, UsageError, ToolchainError: as `Workbench`.
    """
    bench = Workbench(reasoner, test, train, subjects=subjects(reasoner), store=means.store, seed=means.seed)
    used = steps or affordable(reasoner, len(test))
    variants = [v for v in ladder(used) if v.activations != "int8-static" or train is not None]
    outcomes = bench.evaluate(variants, means.executor, progress)
    return LadderResult(model, len(test), used, outcomes[0].exact, points_of(model, outcomes))


def summary(gates: Sequence[LadderResult], tolerance: float = TOLERANCE) -> dict[str, Any]:
    """Everything that the command says, for JSON: correlations and thresholds of each model and of all together."""
    points = [p for g in gates for p in g.points]

    def numbers(these: Sequence[Point]) -> Mapping[str, Any]:
        losses = [p.loss for p in these]
        found = threshold(these, tolerance)
        return {
            "points": len(these),
            "spearman": {key: spearman([getattr(p, key) for p in these], losses) for key in ("phi_first", "phi_last", "kept")},
            "threshold": {**vars(found), "suggestion": found.suggestion},
            "careful": careful(these, tolerance),
        }

    return {
        "tolerance": tolerance,
        "all": numbers(points),
        "models": [
            {"model": g.model, "n": g.n, "steps": g.steps, "fp32_exact": g.fp32_exact, **numbers(g.points)} for g in gates
        ],
        "points": [{**vars(p), "harmful": p.harmful(tolerance)} for p in points],
    }
