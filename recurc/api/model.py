"""A loaded checkpoint: its fp32 reference runs, and it is quantized."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

import numpy as np

from recurc.api.quantized import Quantized
from recurc.arguments import argument
from recurc.dataset import Dataset, check_compatible, examples, load_dataset
from recurc.errors import UsageError
from recurc.evaluate.gate import choose, puzzles_for
from recurc.evaluate.halting import Halt, as_halt
from recurc.evaluate.outputs import Outputs, Wanted, joined, outputs
from recurc.evaluate.scores import Scores, score
from recurc.evaluate.stepping import TorchStepper, check_steps
from recurc.ir.lower import lower
from recurc.ir.lowering import Knobs, Lowering
from recurc.models.inputs import check_inputs
from recurc.models.reasoner import Reasoner, ReasonerConfig
from recurc.models.reference import Reference
from recurc.quant.calibrate import DEFAULT_PUZZLES, Calibration, calibrate
from recurc.quant.layer_precisions import other_layers
from recurc.quant.model import quantize_model
from recurc.quant.weights import precision_named
from recurc.recursion import Depth
from recurc.text import plain


@dataclass(frozen=True)
class Model:
    """A loaded checkpoint: `reasoner` has configuration and tensors."""

    reasoner: Reasoner
    name: str

    def __post_init__(self) -> None:
        plain(self.name, "the model's name", self.reasoner.source, 4096)  # it ends in generated files

    def __repr__(self) -> str:
        return f"Model({self.name}: {self.reasoner!r})"

    @property
    def config(self) -> ReasonerConfig:
        return self.reasoner.config

    def run(
        self,
        inputs: np.ndarray,
        puzzle_ids: np.ndarray | None = None,
        steps: int | None = None,
        *,
        trajectory: bool = False,
        halt: Halt | float | None = None,
        h_cycles: int | None = None,
        l_cycles: int | None = None,
    ) -> Outputs:
        """Run the fp32 reference on tokens [N, seq_len].

        Args:
            puzzle_ids: [N], where the model has puzzle embeddings; zeros when left out.
            steps: supervision steps, at least 1 (default: as trained).
            trajectory: keep the tokens, logits and carries of every step too.
            halt: stop each input where its halting margin exceeds this (a number or a `Halt`); None: never.
            h_cycles, l_cycles: override the trained depth.

        Raises:
            InputError: inputs of another shape, or tokens outside the vocabulary. UsageError: no steps.
        """
        depth = self._depth(steps, h_cycles, l_cycles)
        return joined(list(self._batches(inputs, puzzle_ids, depth, halt, trajectory)))

    def _depth(self, steps: int | None, h_cycles: int | None, l_cycles: int | None) -> Depth:
        check_steps(steps, self.config.halt_max_steps, trained=True)
        return Lowering(steps=steps, h_cycles=h_cycles, l_cycles=l_cycles).depth(self.config)

    def _batches(
        self,
        inputs: np.ndarray,
        puzzle_ids: np.ndarray | None,
        depth: Depth,
        halt: Halt | float | None,
        trajectory: bool,
        progress: Callable[[float], None] | None = None,
    ) -> Iterator[Outputs]:
        """What `run` joins: outputs of a few inputs at a time, in order, all from one reference."""
        inputs, ids = check_inputs(self.config, inputs, puzzle_ids)
        wanted = Wanted(depth.steps, as_halt(halt), trajectory)
        return outputs(TorchStepper(Reference(self.reasoner), depth), inputs, ids, wanted, progress)

    def evaluate(
        self,
        dataset: Dataset | Path | str,
        limit: int | None = None,
        *,
        steps: int | None = None,
        halt: Halt | float | None = None,
        h_cycles: int | None = None,
        l_cycles: int | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> Scores:
        """Accuracy of the fp32 reference on a dataset, after the last step or where the halting head stops.

        Args:
            dataset: or the directory whose test split it is.
            limit: only the first so many puzzles.
            halt: as in `run`; True for the default margin.
            steps, h_cycles, l_cycles: override the trained depth.
            progress: called with the number of puzzles done since the last call, of a part of one for each step.

        Raises:
            InputError: the dataset is not of this model.
        """
        data = examples(dataset, limit)
        check_compatible(data, self.config, self.reasoner.source)
        ids, found = data.puzzle_ids if self.config.puzzle_emb_ndim else None, []
        depth = self._depth(steps, h_cycles, l_cycles)
        for part in self._batches(data.inputs, ids, depth, halt, False, progress):
            found.append(part.tokens)
        return score(np.concatenate(found), data.labels, data.valid)

    def quantize(
        self,
        precision: str = "int4",
        calibration: Dataset | Path | str | None = None,
        *,
        method: str | None = None,
        layers: Mapping[str, str] | None = None,
        puzzles: int = DEFAULT_PUZZLES,
        seed: int = 0,
        lowering: Lowering | None = None,
        progress: Callable[[float, int], None] | None = None,
        **knobs: Unpack[Knobs],
    ) -> Quantized:
        """Quantize to a precision.

        Args:
            calibration: training split to draw `puzzles` examples from, or the dataset directory that has one; None
                quantizes without data.
            layers: layers in another precision: name or pattern -> precision (see `other_layers`).
            method: calibration method of the precision ("gptq", "mse" or "min-max" for int4).
            seed: of the draw.
            lowering: depth, and how carry and puzzle embeddings are stored; single knobs of `recurc.ir.lowering.Lowering` are
                named in its place, or beside it: steps, h_cycles, l_cycles, carry, puzzle_table, scratch.

        Raises:
            UsageError: unknown precision or method, no such lowering. InputError: a dataset of another shape.
        """
        scheme = precision_named(precision)
        used = (scheme, *other_layers(lower(self.config), scheme, layers).values())
        if method is not None and not any(method in p.methods for p in used):
            raise UsageError(
                f"{precision} has no calibration method {method!r}",
                where=argument("method", option="calibration"),
                why="its methods are " + ", ".join(scheme.methods),
                next="choose one of them",
            )
        wanted = Lowering.of(lowering, **knobs)
        found: Calibration | None = None
        sample = None
        if isinstance(calibration, (str, Path)):
            calibration = load_dataset(calibration, "train")
        if calibration is not None:
            check_compatible(calibration, self.config, self.reasoner.source)
            sample = calibration.sample(puzzles, seed)
            if any(p.form.integer for p in used):
                found = calibrate(self.reasoner, sample.inputs, sample.puzzle_ids, seed=seed, progress=progress)
        model = quantize_model(
            self.reasoner, scheme, found, layer_precisions=layers, method=method, lowering=wanted, name=self.name
        )
        learns = any(p.learns(method) for p in used)
        seen = found.puzzles if found is not None and learns else 0
        judged = None
        if calibration is not None:
            judged = choose(calibration, puzzles, seen, seed, puzzles_for(model.program.macs_per_step))
        return Quantized(self, model, found, sample, judged)
