"""Mixed precision: what more bits for single layers buy, and cost. The one measurement of `recurc layers` and `recurc tune`."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace

from recurc.evaluate.runs import Progress
from recurc.evaluate.sensitivity import Sensitivity, layer_gains
from recurc.ir.program import Program
from recurc.quant.layer_precisions import own_layers, raisable
from recurc.quant.weights import precision_named
from recurc.study.pricing import Prices
from recurc.study.units import Executor
from recurc.study.variants import Outcome, Variant
from recurc.study.workbench import Workbench

PUZZLES = 32  # calibration puzzles that layers are tried on


class LayerStudy:
    """Fidelity after one supervision step, and image bytes, of a variant with any of its layers in a higher precision.

    Fidelity is that to fp32 at the variant's own depth, on the first of the workbench's calibration puzzles, with the weights
    that a build of the same checkpoint and calibration has.

    Args:
        bench: it has calibration puzzles.
        low: the variant whose layers are raised; its depth is what is measured, but for the number of steps.
        high: name of the higher precision.
        prices: of the target.
        puzzles: how many of the calibration puzzles, at most.
    """

    def __init__(self, bench: Workbench, low: Variant, high: str, prices: Prices, puzzles: int = PUZZLES) -> None:
        assert bench.sample is not None
        self._bench = copy.copy(bench)  # what layers do is seen at the same depth, not against the full one
        self._bench.full = False
        self.low, self.high, self._prices = bench.resolve(replace(low, steps=1, layers=(), name="")), high, prices
        self.puzzles = bench.sample.take(puzzles)
        self._outcomes: dict[tuple[str, ...], Outcome] = {}

    @property
    def _program(self) -> Program:
        return self.low.program(self._bench.reasoner.config)

    @property
    def names(self) -> tuple[str, ...]:
        """All layers that have more bits in the higher precision, blocks first."""
        return raisable(self._program, precision_named(self.low.precision), precision_named(self.high))

    @property
    def work(self) -> int:
        """Puzzles that `sensitivity` runs: each layer alone, none, and all."""
        return (len(self.names) + 2) * len(self.puzzles)

    def mixed(self, raised: Sequence[str]) -> Variant:
        """The variant, of one step, with these layers in the higher precision."""
        return replace(self.low, layers=tuple(self.layers(raised).items()))

    def fidelity(
        self, raised: Sequence[str], executor: Executor | None = None, progress: Progress | None = None
    ) -> tuple[float, float | None]:
        """phi with these layers in the higher precision, and its standard error, None of a single puzzle."""
        self._measure([raised], executor, progress)
        found = self._outcomes[tuple(raised)]
        return found.phi_first, found.phi_error(0)

    def _measure(self, choices: Sequence[Sequence[str]], executor: Executor | None, progress: Progress | None) -> None:
        wanted = [raised for raised in dict.fromkeys(map(tuple, choices)) if raised not in self._outcomes]
        found = self._bench.evaluate([self.mixed(raised) for raised in wanted], executor, progress, self.puzzles)
        self._outcomes.update(zip(wanted, found, strict=True))

    def image_bytes(self, raised: Sequence[str]) -> int:
        """Size of the weights image on the target with these layers in the higher precision."""
        return self._prices(self.mixed(raised)).image_bytes

    def fits(self, raised: Sequence[str]) -> bool:
        """Whether the target has room for it."""
        return self._prices(self.mixed(raised)).fits

    def sensitivity(self, executor: Executor | None = None, progress: Progress | None = None) -> Sensitivity:
        """Each layer alone, measured beside each other. progress: called with the number of puzzles done, of `work`."""
        self._measure([(), self.names, *((name,) for name in self.names)], executor, progress)
        return layer_gains(self.names, lambda raised: self.fidelity(raised)[0], self.image_bytes)

    def layers(self, raised: Sequence[str]) -> Mapping[str, str]:
        """The choice as `quantize_model` and recurc.toml take it."""
        own = own_layers(self._program, precision_named(self.high))
        return {name: own.get(name, self.high) for name in raised}
