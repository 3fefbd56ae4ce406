"""Mixed precision for a search: where the higher precision does not fit, which layers may have it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from recurc.evaluate.runs import Progress
from recurc.evaluate.sensitivity import Sensitivity, choose_layers
from recurc.quant.weights import precision_named
from recurc.study.layer_study import LayerStudy
from recurc.study.units import Executor
from recurc.study.variants import Variant

SHARES = (0.125, 0.25, 0.5, 0.75)  # of the bytes between the two precisions
_HALVINGS = 6

Layers = tuple[tuple[str, str], ...]


def pairs(variants: Sequence[Variant], fits: Callable[[Variant], bool], always: bool) -> list[tuple[Variant, str]]:
    """(a fitting variant, the next higher precision's name) for each precision whose next higher one fits in no carry.

    Args:
        always: also where it fits: bytes are what is minimized.
    """
    names = sorted({v.precision for v in variants}, key=lambda name: precision_named(name).bits)
    found = []
    for low, high in zip(names, names[1:]):
        fitting = [v for v in variants if v.precision == low and fits(v)]
        if (
            fitting
            and precision_named(high).bits != 32
            and (always or not any(fits(v) for v in variants if v.precision == high))
        ):
            found.append((fitting[0], high))
    return found


def mixtures(study: LayerStudy, executor: Executor, progress: Progress) -> list[Layers]:
    """Choices of layers in the study's higher precision that fit; the best for several numbers of bytes.

    `progress` is called with the number of puzzles done, of `study.work`.
    """
    return _fitting(study.sensitivity(executor, progress), study.fits, study.high)


def _fitting(gains: Sensitivity, fits: Callable[[Sequence[str]], bool], high: str) -> list[Layers]:
    """The best choices for SHARES of the bytes, and for as many as fit."""
    span = gains.high_bytes - gains.low_bytes
    budgets = [gains.low_bytes + int(share * span) for share in SHARES]
    least, most = gains.low_bytes, gains.high_bytes
    for _ in range(_HALVINGS):
        middle = (least + most) // 2
        least, most = (middle, most) if fits(choose_layers(gains, middle)) else (least, middle)
    chosen = dict.fromkeys(choose_layers(gains, budget) for budget in (*budgets, least))
    return [tuple((name, high) for name in raised) for raised in chosen if raised and fits(raised)]
