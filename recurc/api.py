"""The same verbs from Python: load, run, quantize, build.

m = recurc.load("sudoku9-mlp")
out = m.run(inputs)                                   # fp32 reference
q = m.quantize("int4", recurc.load_dataset(folder, "train"))   # the device's arithmetic from here on
q.run(inputs)
build = q.build("stm32h7", "build/sudoku9")
recurc.verify(build, on="qemu", dataset=recurc.load_dataset(folder, "test"), limit=3)
"""

from __future__ import annotations

import math
import os
import shutil
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from recurc.arguments import argument
from recurc.build.manifest import Build
from recurc.dataset import Dataset, check_compatible, examples, load_dataset
from recurc.errors import FidelityError, UsageError, warn_assumed
from recurc.ir.lower import lower
from recurc.ir.program import CARRIES, STORAGES
from recurc.make.project import build_project, compile_host_engine
from recurc.models.checkpoint import load as load_reasoner
from recurc.models.inputs import check_inputs
from recurc.models.reasoner import Reasoner, ReasonerConfig
from recurc.models.reference import Reference
from recurc.models.shards import as_one_file
from recurc.outputs import Outputs, State, collect, joined
from recurc.quant.calibrate import DEFAULT_PUZZLES, Calibration, calibrate
from recurc.quant.fidelity import carry_fidelity, layer_damage, mean_and_error
from recurc.quant.layers import resolve_layers
from recurc.quant.model import QuantizedModel, quantize_model
from recurc.quant.weights import precision_named
from recurc.reading import shown, user_path
from recurc.study.build_gate import Gate, GateInputs, choose, puzzles_for, random_inputs
from recurc.study.evaluate import EvalResult, Scores, evaluate, reference_carries, run_engine, score
from recurc.study.layers import layers_alone
from recurc.study.own_gate import least_fidelity
from recurc.targets.boards import Board, load_board
from recurc.targets.fit import early_plan
from recurc.targets.host import HostEngine
from recurc.targets.programs import program_folder
from recurc.text import plain
from recurc.verify.answers import check_steps
from recurc.verify.result import Halt

_BATCH = 16


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
        return joined(list(self._batches(inputs, puzzle_ids, steps, halt, trajectory, h_cycles, l_cycles)))

    def _batches(
        self,
        inputs: np.ndarray,
        puzzle_ids: np.ndarray | None,
        steps: int | None,
        halt: Halt | float | None,
        trajectory: bool,
        h_cycles: int | None,
        l_cycles: int | None,
        progress: Callable[[float], None] | None = None,
    ) -> Iterator[Outputs]:
        """What `run` joins: outputs of a few inputs at a time, in order, all from one reference."""
        inputs, ids = check_inputs(self.config, inputs, puzzle_ids)
        wanted = check_steps(steps, self.config.halt_max_steps, trained=True)
        reference = Reference(self.reasoner)
        for start in range(0, len(inputs), _BATCH):
            batch, told = slice(start, start + _BATCH), 0.0

            def states(batch: slice = batch) -> Iterator[State]:
                nonlocal told
                for s in reference.steps(inputs[batch], ids[batch], wanted, h_cycles, l_cycles):
                    yield State(*(getattr(s, name).numpy() for name in ("logits", "q", "z_H", "z_L")))
                    if progress is not None:
                        progress(len(inputs[batch]) / wanted)
                        told += len(inputs[batch]) / wanted

            yield collect(states(), self.config.halt_rule, _halt(halt), trajectory)
            if progress is not None:
                progress(len(inputs[batch]) - told)  # what halting saved, and the step whose end nobody waited for

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
        check_compatible(data, self.config)
        ids, found = data.puzzle_ids if self.config.puzzle_emb_ndim else None, []
        for part in self._batches(data.inputs, ids, steps, halt, False, h_cycles, l_cycles, progress):
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
        steps: int | None = None,
        h_cycles: int | None = None,
        l_cycles: int | None = None,
        carry: str = "fp32",
        puzzle_table: str = "auto",
        scratch: int | None = None,
        progress: Callable[[float, int], None] | None = None,
    ) -> Quantized:
        """Quantize to a precision.

        Args:
            calibration: training split to draw `puzzles` examples from, or the dataset directory that has one; None
                quantizes without data.
            layers: layers in another precision: name or pattern -> precision (see `recurc.quant.layers.resolve_layers`).
            method: calibration method of the precision ("gptq", "mse" or "min-max" for int4).
            seed: of the draw.
            steps, h_cycles, l_cycles: override the trained depth.
            carry: how z_H and z_L are stored: "fp32", "fp16", or "int8" with a scale a row.
            puzzle_table: where puzzle embeddings are: "image", streamed rows of "fp32" or "int8", or "auto": in the
                image while it is small, else streamed as fp32.
            scratch: most bytes of working memory on the target (default: 48 KB); more means fewer passes over the weights.

        Raises:
            UsageError: unknown precision, method, carry or table. InputError: a dataset of another shape.
        """
        scheme = precision_named(precision)
        used = (scheme, *resolve_layers([r.name for r in lower(self.config).linears], layers).values())
        if method is not None and not any(method in p.methods for p in used):
            raise UsageError(
                f"{precision} has no calibration method {method!r}",
                where=argument("method", option="calibration"),
                why="its methods are " + ", ".join(scheme.methods),
                next="choose one of them",
            )
        for what, value, known in (("carry", carry, CARRIES), ("puzzle_table", puzzle_table, ("auto", *STORAGES))):
            if value not in known:
                raise UsageError(
                    f"unknown {what} {value!r}",
                    where=argument(what),
                    why="it is one of " + ", ".join(known),
                    next="choose one of them",
                )
        found: Calibration | None = None
        sample = None
        if isinstance(calibration, (str, Path)):
            calibration = load_dataset(calibration, "train")
        if calibration is not None:
            check_compatible(calibration, self.config)
            sample = calibration.sample(puzzles, seed)
            if any(p.form.integer for p in used):
                found = calibrate(self.reasoner, sample.inputs, sample.puzzle_ids, seed=seed, progress=progress)
        model = quantize_model(
            self.reasoner,
            scheme,
            found,
            layer_precisions=layers,
            method=method,
            steps=steps,
            h_cycles=h_cycles,
            l_cycles=l_cycles,
            carry=carry,
            puzzle_table=puzzle_table,
            scratch=scratch,
            name=self.name,
        )
        learns = found is not None and method != "min-max" and any(p.methods != ("none",) for p in used)
        judged = (
            None
            if calibration is None
            else choose(calibration, puzzles, found.puzzles if learns else 0, seed, puzzles_for(model.program.macs_per_step))
        )
        return Quantized(self, model, found, sample, judged)


@dataclass(frozen=True)
class Quantized:
    """A model in a precision; runs in the device's arithmetic on the host engine (compiled at first use)."""

    source: Model
    model: QuantizedModel
    calibration: Calibration | None
    sample: Dataset | None
    judged: GateInputs | None = None  # what `gate` takes; None where there are no training puzzles

    def __repr__(self) -> str:
        return f"Quantized({self.model.name}, {self.model.label}, {self.model.program.carry} carry)"

    @cached_property
    def engine(self) -> HostEngine:
        """The generated C, compiled for this computer."""
        return compile_host_engine(self._engine_folder, self.model)

    @cached_property
    def _engine_folder(self) -> Path:
        """Where the engine is compiled; builds take it from there. Removed with this object."""
        folder = program_folder("recurc-engine-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return folder

    def run(
        self,
        inputs: np.ndarray,
        puzzle_ids: np.ndarray | None = None,
        steps: int | None = None,
        *,
        trajectory: bool = False,
        halt: Halt | float | None = None,
    ) -> Outputs:
        """As `Model.run`, with the device's arithmetic, bit for bit. UsageError also for more steps than it was lowered for."""
        inputs, ids = check_inputs(self.model.config, inputs, puzzle_ids)
        wanted, engine = check_steps(steps, self.model.program.steps), self.engine.clone()

        def states(row: np.ndarray, puzzle: int) -> Iterator[State]:
            engine.begin(row, puzzle)
            for _ in range(wanted):
                engine.step()
                yield State(*(engine.tensor(name)[None] for name in ("logits", "q", "z_H", "z_L")))

        return joined(
            [
                collect(states(row, int(puzzle)), self.model.config.halt_rule, _halt(halt), trajectory)
                for row, puzzle in zip(inputs, ids, strict=True)
            ]
        )

    def evaluate(
        self,
        dataset: Dataset | Path | str,
        limit: int | None = None,
        *,
        steps: int | None = None,
        halt: Halt | float | None = None,
        threshold: float = 0.0,
        min_steps: int = 1,
        fidelity_puzzles: int = 64,
        progress: Callable[[float], None] | None = None,
    ) -> EvalResult:
        """As `Model.evaluate`, with the device's arithmetic: accuracy, and fidelity to fp32.

        Args:
            threshold, min_steps: of the halting rule, where `halt` is True, and of what the result tells of halting without it.
            fidelity_puzzles: on how many puzzles fidelity is measured, and fp32 scored beside.
        """
        data = examples(dataset, limit)
        check_compatible(data, self.model.config)
        rule = Halt(threshold, min_steps) if halt is True else _halt(halt)
        return evaluate(
            self.source.reasoner,
            self.model,
            self.engine,
            data,
            halt=rule is not None,
            threshold=threshold if rule is None else rule.threshold,
            min_steps=min_steps if rule is None else rule.min_steps,
            fidelity_puzzles=fidelity_puzzles,
            progress=progress,
            steps=check_steps(steps, self.model.program.steps),
        )

    def accuracy(self, data: Dataset, progress: Callable[[float], None] | None = None) -> Scores:
        """Accuracy after the last step on a dataset, without the fp32 model."""
        check_compatible(data, self.model.config)
        steps = self.model.program.steps
        runs = run_engine(self.engine, data.inputs, data.puzzle_ids, steps, progress=progress)
        return score(runs.tokens[:, -1], data.labels, data.valid)

    def gate(self) -> Gate:
        """Fidelity after one supervision step, on training puzzles that calibration did not use (see
        `recurc.study.build_gate`), or on random inputs where there are no training puzzles."""
        program, judged = self.model.program, self._gate_inputs()
        count = len(judged.inputs)
        runs = run_engine(self.engine, judged.inputs, judged.puzzle_ids, 1, keep_carries=count)
        expected = reference_carries(self.source.reasoner, judged.inputs, judged.puzzle_ids, self.model, 1)
        phi, error = mean_and_error(carry_fidelity(runs.carries[:, 0], expected[:, 0]))
        moments = self.calibration.moments if self.calibration else {}
        damage = layer_damage(program, self.model.weights, self.source.reasoner.tensors, moments)
        return Gate(phi, count, judged.kind, tuple(damage[:3]), error, judged.rows, judged.note)

    def _gate_inputs(self) -> GateInputs:
        c = self.model.config
        return self.judged or random_inputs(c.vocab_size, c.seq_len, puzzles_for(self.model.program.macs_per_step))

    def layers(self) -> list[tuple[str, float]]:
        """Layers behind a low fidelity, worst first: phi after one step with that layer's weights rounded and all else fp32,
        on some of the gate's inputs."""
        program = self.model.program
        judged = self._gate_inputs()
        few = max(1, len(judged.inputs) // 4)
        inputs, ids = judged.inputs, judged.puzzle_ids
        expected = reference_carries(self.source.reasoner, inputs[:few], ids[:few], self.model, 1)[:, 0]
        weights = {name: w.dequantized() for name, w in self.model.weights.items()}
        return layers_alone(
            self.source.reasoner, weights, inputs[:few], ids[:few], expected, program.h_cycles, program.l_cycles
        )

    def check_target(self, board: Board, *, allow_lossy: bool = False) -> None:
        """What can be refused before anything runs: a lossy precision, and a model that does not fit the board.

        Raises:
            FidelityError, DoesNotFitError.
        """
        if self.model.lossy and not allow_lossy:
            raise FidelityError(
                f"{self.model.lossy[0]} is for comparison only",
                where=argument("precision"),
                why="it keeps cells right and loses whole puzzles",
                next=f"Use int4, or pass {argument('allow_lossy', True)}",
            )
        if board.family != "host":
            early_plan(self.model.program, self.model.forms, board)

    def build(
        self,
        target: str | Board,
        out: Path | str,
        *,
        min_fidelity: float | None = None,
        allow_lossy: bool = False,
        gate: Gate | None = None,
        details: Mapping[str, Any] | None = None,
        note: Callable[[str], None] = lambda text: None,
    ) -> Build:
        """Build firmware into the folder `out`.

        Args:
            min_fidelity: refuse below it; None: what is kept beside the checkpoint, else `own_gate.DEFAULT_MIN_FIDELITY`.

        Raises:
            FidelityError: fidelity after one step on training puzzles below `min_fidelity`, or a lossy precision,
                without `allow_lossy`.
            DoesNotFitError, ToolchainError, UsageError, InputError.
        """
        board = target if isinstance(target, Board) else load_board(target)
        self.check_target(board, allow_lossy=allow_lossy)
        least, whence = least_fidelity(self.source.reasoner, min_fidelity)
        gate = gate or self.gate()
        if gate.note:
            note(gate.note)
        # Random inputs are not what the model was trained on: without calibration data fidelity is told, not judged.
        if gate.fidelity < least and not allow_lossy and self.sample is not None:
            worst = ", ".join(f"{name} ({phi:.3f})" for name, phi in self.layers()[:3])
            error = "" if gate.error is None else f" ± {gate.error:.3f}"
            raise FidelityError(
                f"fidelity is {gate.fidelity:.3f}{error} after one supervision step, below {least:g} ({whence})",
                where=f"{self.model.stored_as}, {gate.puzzles} {gate.inputs}",
                why=f"the layers behind it, with the fidelity when each alone is rounded, are {worst}; errors add up over "
                f"{self.model.program.calls_per_step} calls",
                next="Use a higher precision (int8), calibrate with data, see with `recurc sweep CHECKPOINT --gate` which "
                f"fidelity this model needs, lower {argument('min_fidelity')}, or pass {argument('allow_lossy', True)}",
            )
        calibration = self.calibration
        compiled = self._engine_folder if "engine" in vars(self) else None
        return build_project(
            self.model,
            board,
            user_path(out),
            note=note,
            engine=compiled,
            details={
                "checkpoint": {
                    "source": self.source.reasoner.source,
                    "sha256": self.source.reasoner.sha256,
                    "notes": list(self.source.reasoner.notes),
                },
                **gate.as_dict(),
                "min_fidelity": least,
                "min_fidelity_from": whence,
                "calibration": None
                if calibration is None
                else {"puzzles": calibration.puzzles, "steps": calibration.steps, "seed": calibration.seed},
                **_data_entries(self.sample),
                **(details or {}),
            },
        )


def _data_entries(sample: Dataset | None) -> dict[str, Any]:
    """What a build's manifest says of the dataset: its folder, or that it was arrays in memory."""
    if sample is None:
        return {}
    return {"data_in_memory": True} if sample.in_memory else {"data": os.path.realpath(sample.path)}


def _halt(rule: Halt | float | None) -> Halt | None:
    """The halting rule for what a caller passes: a margin stands for itself, False for never, True for the default margin."""
    if rule is None or rule is False or isinstance(rule, Halt):
        return rule or None
    if rule is True:
        return Halt()
    if not isinstance(rule, (int, float, np.number)) or not math.isfinite(rule):
        raise UsageError(
            f"halt is no halting rule: {shown(rule)}",
            where=argument("halt"),
            next="Give True, False, a margin as a number, or a Halt",
        )
    return Halt(float(rule))


def load(path: Path | str, data: Path | str | None = None) -> Model:
    """Load a checkpoint: a file or folder of the original code, config.json + model.safetensors, or a bundled example.

    Args:
        data: dataset directory, where the checkpoint's configuration needs it.

    Raises:
        InputError: not a supported checkpoint; says why.

    Warns:
        RecurcWarning: for each thing that was assumed, as in `Model.reasoner.notes`.
    """
    reasoner = load_reasoner(path, data)
    warn_assumed(reasoner.source, reasoner.notes, 1)
    source = as_one_file(Path(reasoner.source))
    name = source.parent.name if source.name in ("model.safetensors", "checkpoint") else source.stem
    return Model(reasoner, name or "model")


__all__ = ["Gate", "Model", "Outputs", "Quantized", "load"]
