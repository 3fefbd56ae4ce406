"""Mixed precision for a search: where the higher precision does not fit, which layers may have it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

from recurc.evaluate.sensitivity import Sensitivity, choose_layers, layer_gains
from recurc.quant.weights import precision_named
from recurc.study.pricing import Prices
from recurc.study.units import Executor
from recurc.study.variants import Variant
from recurc.study.workbench import Workbench

PUZZLES = 32  # calibration puzzles that layers are tried on
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


def mixtures(
    bench: Workbench, prices: Prices, low: Variant, high: str, executor: Executor, progress: Callable[[float], None]
) -> list[Layers]:
    """Choices of layers in the precision `high`, the others as in `low`, that fit; the best for several numbers of bytes.

    What a layer buys is measured alone, in fidelity after one supervision step on calibration puzzles. `progress` is called
    with the number of puzzles done, of PUZZLES for each layer and twice more.
    """
    names = [ref.name for ref in low.program(bench.reasoner.config).linears]
    same = copy.copy(bench)  # what layers do is seen at the same depth, not against the full one
    same.full = False
    sample = bench.sample
    assert sample is not None

    def mixed(raised: Sequence[str]) -> Variant:
        return Variant(
            low.precision,
            low.activations,
            carry=low.carry,
            method=low.method,
            steps=1,
            layers=tuple((name, high) for name in raised),
        )

    wanted = {raised: mixed(raised) for raised in ((), tuple(names), *((name,) for name in names))}
    outcomes = same.evaluate(list(wanted.values()), executor, progress, sample.take(PUZZLES))
    phi = {raised: outcome.phi_first for raised, outcome in zip(wanted, outcomes)}
    gains = layer_gains(
        names, lambda raised: phi[tuple(raised)], lambda raised: prices(bench.resolve(mixed(raised))).image_bytes
    )
    return _fitting(gains, lambda raised: prices(bench.resolve(mixed(raised))).fits, high)


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
