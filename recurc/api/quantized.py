"""A model in a precision, in the device's arithmetic: run, evaluate, build."""

from __future__ import annotations

import os
import shutil
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recurc.arguments import argument
from recurc.build.manifest import Build, load_build
from recurc.dataset import Dataset, check_compatible, examples
from recurc.errors import FidelityError
from recurc.evaluate.candidate import Candidate
from recurc.evaluate.evaluation import EvalResult, evaluate
from recurc.evaluate.gate import Answers, Gate, GateInputs, judge, puzzles_for, random_inputs
from recurc.evaluate.halting import Halt, as_halt
from recurc.evaluate.layer_damage import layers_alone
from recurc.evaluate.min_fidelity import least_fidelity
from recurc.evaluate.outputs import Outputs, Wanted, joined, outputs
from recurc.evaluate.runs import run_engine
from recurc.evaluate.scores import Scores, score
from recurc.evaluate.solving import Solved, solve_puzzles
from recurc.evaluate.stepping import EngineStepper, check_steps
from recurc.ir.lowering import check_forms
from recurc.make.known import known_answer, random_puzzle
from recurc.make.project import build_project, compile_host_engine
from recurc.models.inputs import check_inputs
from recurc.package.base import WEIGHTS
from recurc.package.registry import asked_of, delivered_as
from recurc.quant.calibrate import Calibration
from recurc.quant.model import QuantizedModel
from recurc.reading import user_path
from recurc.solve import Policy
from recurc.storage.known import KnownAnswer
from recurc.symmetries import Forms
from recurc.targets.boards import Board, load_board
from recurc.targets.fit import early_plan
from recurc.targets.host import HostEngine
from recurc.targets.programs import program_folder

if TYPE_CHECKING:
    from recurc.api.model import Model


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
        wanted = Wanted(check_steps(steps, self.model.program.steps), as_halt(halt), trajectory)
        return joined(list(outputs(EngineStepper(self.engine).fresh(), inputs, ids, wanted)))

    def evaluate(
        self,
        dataset: Dataset | Path | str,
        limit: int | None = None,
        *,
        steps: int | None = None,
        halt: Halt | float | None = None,
        threshold: float = 0.0,
        min_steps: int = 1,
        patience: int = 1,
        fidelity_puzzles: int = 64,
        progress: Callable[[float], None] | None = None,
    ) -> EvalResult:
        """As `Model.evaluate`, with the device's arithmetic: accuracy, and fidelity to fp32.

        Args:
            threshold, min_steps, patience: of the rule (see `Halt`) where `halt` is True, and of what the result tells of
                halting without it.
            fidelity_puzzles: on how many puzzles fidelity is measured, and fp32 scored beside.
        """
        data = examples(dataset, limit)
        check_compatible(data, self.model.config, self.source.reasoner.source)
        rule = Halt(threshold, min_steps, patience)
        wanted = rule if halt is True else as_halt(halt)
        return evaluate(
            self._candidate,
            data,
            halt=wanted or rule,
            halted=wanted is not None,
            fidelity_puzzles=fidelity_puzzles,
            progress=progress,
            steps=check_steps(steps, self.model.program.steps),
        )

    def solve(
        self,
        dataset: Dataset | Path | str,
        policy: Policy,
        forms: Forms = (),
        limit: int | None = None,
        *,
        progress: Callable[[float], None] | None = None,
    ) -> Solved:
        """Answer puzzles with restarts, in the device's arithmetic, and score the answers.

        Args:
            policy: steps of the runs, restarts, and what is believed.
            forms: other forms of the puzzles, such as draw(named("sudoku:3x3", 81, 11), 8, 0) of `recurc.symmetries`, or
                Grids.of(names, 8, "names") by the names of ARC's puzzle identifiers.
            progress: called with 1 after each puzzle.

        Raises:
            UsageError: a run of more steps than the model was lowered for. InputError: forms with rows that it has not.
        """
        data = examples(dataset, limit)
        check_compatible(data, self.model.config, self.source.reasoner.source)
        check_forms(forms, self.model.config)
        check_steps(max(policy.steps, policy.restart_steps), self.model.program.steps)
        return solve_puzzles(self.engine, data, forms, policy, progress=progress)

    @property
    def _candidate(self) -> Candidate:
        return Candidate(self.source.reasoner, self.model, self.engine)

    def accuracy(self, data: Dataset, progress: Callable[[float], None] | None = None) -> Scores:
        """Accuracy after the last step on a dataset, without the fp32 model."""
        check_compatible(data, self.model.config, self.source.reasoner.source)
        steps = self.model.program.steps
        runs = run_engine(self.engine, data.inputs, data.puzzle_ids, steps, progress=progress)
        return score(runs.tokens[-1], data.labels, data.valid)

    def gate(self) -> Gate:
        """Fidelity after one supervision step, on training puzzles that calibration did not use (see
        `recurc.evaluate.gate`), or on random inputs where there are no training puzzles."""
        return judge(self._candidate, self._gate_inputs(), self.calibration.moments if self.calibration else {})

    def _gate_inputs(self) -> GateInputs:
        c = self.model.config
        return self.judged or random_inputs(c.vocab_size, c.seq_len, puzzles_for(self.model.program.macs_per_step))

    def layers(self) -> list[tuple[str, float]]:
        """Layers behind a low fidelity, worst first: phi after one step with that layer's weights rounded and all else fp32,
        on some of the gate's inputs."""
        judged = self._gate_inputs()
        few = max(1, len(judged.inputs) // 4)
        weights = {name: w.dequantized() for name, w in self.model.weights.items()}
        depth = self.model.program.depth.but(steps=1)  # needs no engine
        return layers_alone(self.source.reasoner, weights, judged.inputs[:few], judged.puzzle_ids[:few], depth)

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

    def judged_fidelity(
        self,
        min_fidelity: float | None = None,
        *,
        allow_lossy: bool = False,
        gate: Gate | None = None,
        answers: Answers | None = None,
        note: Callable[[str], None] = lambda text: None,
    ) -> tuple[Gate, float, str]:
        """Fidelity, the least that is asked of it, and where that is from; arguments as of `build`.

        Raises:
            FidelityError: it is below, without `allow_lossy`.
        """
        least, whence = least_fidelity(self.source.reasoner, min_fidelity)
        gate = gate or self.gate()
        if gate.note:
            note(gate.note)
        # Random inputs are not what the model was trained on: without calibration data fidelity is told, not judged.
        low = gate.fidelity < least and self.sample is not None
        if low and answers is not None and answers.keep:
            note(
                f"fidelity of one run is {gate.fidelity:.3f}, below {least:g}, but the build runs another procedure: {answers}"
            )
            whence += "; passed by its answers"
        elif low and not allow_lossy:
            worst = ", ".join(f"{name} ({phi:.3f})" for name, phi in self.layers()[:3])
            error = "" if gate.error is None else f" ± {gate.error:.3f}"
            raise FidelityError(
                f"fidelity is {gate.fidelity:.3f}{error} after one supervision step, below {least:g} ({whence})",
                where=f"{self.model.stored_as}, {gate.puzzles} {gate.inputs}",
                why=f"the layers behind it, with the fidelity when each alone is rounded, are {worst}; errors add up over "
                f"{self.model.program.calls_per_step} calls" + ("" if answers is None else f"; {answers}"),
                next="Use a higher precision (int8), calibrate with data, see with `recurc gate CHECKPOINT` which "
                f"fidelity this model needs, lower {argument('min_fidelity')}, or pass {argument('allow_lossy', True)}",
            )
        return gate, least, whence

    def build(
        self,
        target: str | Board,
        out: Path | str,
        *,
        min_fidelity: float | None = None,
        allow_lossy: bool = False,
        gate: Gate | None = None,
        answers: Answers | None = None,
        as_: str | Sequence[str] = (),
        name: str = "",
        weights: str = WEIGHTS[0],
        details: Mapping[str, Any] | None = None,
        note: Callable[[str], None] = lambda text: None,
    ) -> Build:
        """Build firmware, or a library for a program of one's own, into the folder `out`.

        Args:
            as_: package formats to deliver it in, such as "library"; () for those that the board's file says.
            name: of a library, which all its symbols, macros and files begin with; "" takes the checkpoint's.
            weights: how a library holds its weights: "incbin" (in an assembly file), "array" (in C) or "file" (the program
                places it).
            min_fidelity: refuse below it; None: what is kept beside the checkpoint, else `DEFAULT_MIN_FIDELITY`.
            answers: of the procedure that the build is to run; a fidelity below is let pass where they are as good as fp32's.

        Raises:
            FidelityError: fidelity after one step on training puzzles below `min_fidelity`, or a lossy precision,
                without `allow_lossy`.
            DoesNotFitError, ToolchainError, UsageError, InputError.
        """
        board = target if isinstance(target, Board) else load_board(target)
        board = delivered_as(board, (as_,) if isinstance(as_, str) else as_, weights)
        asked = asked_of(board, name, weights)
        self.check_target(board, allow_lossy=allow_lossy)
        gate, least, whence = self.judged_fidelity(min_fidelity, allow_lossy=allow_lossy, gate=gate, answers=answers, note=note)
        calibration = self.calibration
        return build_project(
            self.model,
            board,
            user_path(out),
            note=note,
            known=self._known_answer,
            engine=self._engine_folder,
            asked=asked,
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

    def image_for(self, build: Build | Path | str, counter: int = 0) -> bytes:
        """The weights image that a build's firmware can be given in place of its own, for its target; nothing is compiled.

        Quantize with the build's own lowering, precision and layers, as `recurc build --update-of` does.

        Args:
            counter: of updates, see rc_choose.

        Raises:
            InputError: the build's firmware cannot run this model; says what differs.
        """
        from recurc.make.update import image_for, pinned

        opened = build if isinstance(build, Build) else load_build(Path(build))
        return image_for(pinned(opened), self.model, self.source.reasoner.source, self._known_answer, counter).data

    def _known_answer(self) -> KnownAnswer | None:
        """A puzzle by which programs test themselves: the first that the model was calibrated with, else a random one."""
        if self.sample is None or not len(self.sample):
            return known_answer(self.engine, self.model, random_puzzle(self.model))
        puzzle_id = int(self.sample.puzzle_ids[0]) if self.engine.info.puzzles else 0
        return known_answer(self.engine, self.model, self.sample.inputs[0], puzzle_id)


def _data_entries(sample: Dataset | None) -> dict[str, Any]:
    """What a build's manifest says of the dataset: its folder, or that it was arrays in memory."""
    if sample is None:
        return {}
    found: dict[str, Any] = {"data_in_memory": True} if sample.in_memory else {"data": os.path.realpath(sample.path)}
    return {**found, "symbols": sample.symbols} if sample.symbols else found
