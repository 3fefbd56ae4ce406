"""Mixed precision: what more bits for single layers buy on calibration puzzles, in the device's arithmetic."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from recurc.evaluate.fidelity import carry_fidelity, mean_and_error
from recurc.evaluate.runs import Kept, run_engine, run_reference
from recurc.evaluate.sensitivity import Sensitivity, layer_gains
from recurc.make.project import compile_engine_parts, compile_host_engine
from recurc.models.reasoner import Reasoner
from recurc.plan.budget import image_budget
from recurc.plan.kernels import KernelSet
from recurc.quant.model import QuantizedModel
from recurc.targets.programs import program_folder


@dataclass(frozen=True)
class _Pair:
    """A model in two precisions; `mix` takes some layers from the higher one."""

    low: QuantizedModel
    high: QuantizedModel

    def mix(self, raised: Sequence[str]) -> QuantizedModel:
        weights = {**self.low.weights, **{name: self.high.weights[name] for name in raised}}
        return replace(self.low, weights=weights, layers=dict.fromkeys(raised, self.high.precision))


class LayerStudy:
    """Fidelity after one supervision step, and image bytes, of a model with any of its layers in a higher precision.

    Args:
        low, high: the model in the two precisions, lowered alike.
        inputs, puzzle_ids: tokens [N, seq_len] and ids [N] that fidelity is measured on.
        kernels: kernel set of the target, for bytes.
        measured: called after each measurement.
    """

    def __init__(
        self,
        reasoner: Reasoner,
        low: QuantizedModel,
        high: QuantizedModel,
        inputs: np.ndarray,
        puzzle_ids: np.ndarray,
        kernels: KernelSet,
        measured: Callable[[], None] = lambda: None,
    ) -> None:
        self.pair = _Pair(low, high)
        self.inputs, self.ids, self.kernels, self.measured = inputs, puzzle_ids, kernels, measured
        self.expected = run_reference(reasoner, inputs, puzzle_ids, low.program.depth.but(steps=1)).z_H[0]
        self.errors: dict[tuple[str, ...], float | None] = {}
        self._folder = program_folder("recurc-layers-")
        weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        self._parts = compile_engine_parts(self._folder / "parts")

    @property
    def names(self) -> tuple[str, ...]:
        """All layers, blocks first."""
        return tuple(ref.name for ref in self.pair.low.program.linears)

    def fidelity(self, raised: Sequence[str]) -> float:
        """phi with these layers in the higher precision; `errors` has its standard error then, None of a single puzzle."""
        with tempfile.TemporaryDirectory(dir=self._folder) as folder:
            engine = compile_host_engine(Path(folder), self.pair.mix(raised), self._parts)
            run = run_engine(engine, self.inputs, self.ids, 1, kept=Kept((1,)))
        self.measured()
        phi, self.errors[tuple(raised)] = mean_and_error(carry_fidelity(run.z_H[0], self.expected))
        return phi

    def image_bytes(self, raised: Sequence[str]) -> int:
        """Size of the weights image on the target with these layers in the higher precision."""
        mixed = self.pair.mix(raised)
        return image_budget(mixed.program, mixed.forms, self.kernels).total

    def sensitivity(self) -> Sensitivity:
        """Each layer alone. It measures as many times as there are layers, and twice more."""
        return layer_gains(self.names, self.fidelity, self.image_bytes)

    def layers(self, raised: Sequence[str]) -> Mapping[str, str]:
        """The choice as `quantize_model` and recurc.toml take it."""
        return dict.fromkeys(raised, self.pair.high.precision.name)
