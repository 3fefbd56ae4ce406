"""A build's host engine against onnxruntime: an oracle that shares neither code nor order of summation with it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recurc.arguments import argument
from recurc.build.manifest import Build
from recurc.dataset import Dataset
from recurc.documents.onnx import OnnxVerifyDocument
from recurc.emit.readback import read_model
from recurc.errors import UsageError
from recurc.evaluate.fidelity import carry_fidelity
from recurc.evaluate.scores import right_cells
from recurc.evaluate.stepping import EngineStepper
from recurc.exchange.onnx_engine import OnnxEngine
from recurc.exchange.onnx_export import export_onnx
from recurc.exchange.onnx_loop import OnnxLoop
from recurc.targets.host import HostEngine

# The largest distance 1 - cosine that z_H may have from the engine's after a step that both began from the same carry.
# fp32 differs in the order of sums only. Quantized rows differ where a value lies so near the middle between two integers
# that the last bit of a float decides; one such flip is 1/127 of its row's peak, and tens of block calls amplify it.
TOLERANCE = {"fp32": 1e-9, "quantized": 1e-2}


@dataclass(frozen=True)
class OnnxPuzzle:
    """One puzzle: largest distance 1 - cosine of z_H and largest difference of an element over its steps, how many predicted
    tokens differed in all of them and after the last one, of `tokens` at each, and cells right of those that count, by
    onnxruntime's answer after the last step.
    """

    index: int
    steps: int
    distance: float
    largest: float
    tokens_differing: int
    answer_differing: int
    tokens: int
    right: int
    cells: int

    @property
    def exact(self) -> bool:
        return 0 < self.cells == self.right


@dataclass(frozen=True)
class OnnxResult:
    """What `verify_onnx` found. What has to agree is the carry: a puzzle matches when z_H stays within the tolerance after
    every step. Tokens are compared too, and told: a small distance may change one where two logits are nearly equal."""

    tolerance: float
    precision: str
    puzzles: tuple[OnnxPuzzle, ...]

    @property
    def n(self) -> int:
        return len(self.puzzles)

    @property
    def matched(self) -> int:
        return sum(p.distance <= self.tolerance for p in self.puzzles)

    @property
    def same_answers(self) -> int:
        """Puzzles whose tokens after the last step are all equal."""
        return sum(not p.answer_differing for p in self.puzzles)

    @property
    def agrees(self) -> bool:
        return self.matched == self.n

    @property
    def cell(self) -> float | None:
        """None where no cell counts: the dataset has no labels."""
        shares = [p.right / p.cells for p in self.puzzles if p.cells]
        return float(np.mean(shares)) if shares else None

    @property
    def exact(self) -> float | None:
        solved = [p.exact for p in self.puzzles if p.cells]
        return float(np.mean(solved)) if solved else None


def verify_onnx(
    build: Build,
    dataset: Dataset,
    steps: int | None = None,
    *,
    offset: int = 0,
    progress: Callable[[int, int], None] = lambda puzzle, step: None,
) -> OnnxResult:
    """Export a build's model, as its image stores it, and run it in onnxruntime beside the host engine.

    Before each supervision step both hold the engine's carry, so that what is compared is one step and not the growth of
    earlier differences.

    Args:
        steps: supervision steps a puzzle, as compiled when None.
        offset: number of the dataset's first example, for reports.
        progress: called after each step with puzzle and step.

    Raises:
        ToolchainError: onnx or onnxruntime is not installed. UsageError: more steps than compiled.
    """
    steps = build.steps if steps is None else steps
    if not 1 <= steps <= build.steps:
        raise UsageError(
            f"{steps} steps cannot be run",
            where=argument("steps"),
            why=f"the build is compiled for {build.steps}",
            next=f"Use no more, or build with {argument('steps', 'N')}",
        )
    model = read_model(build)
    tolerance = TOLERANCE["quantized" if any(w.form.integer for w in model.weights.values()) else "fp32"]
    results = []
    with tempfile.TemporaryDirectory(prefix="recurc-onnx-") as folder, build.open_table() or nullcontext() as table:
        export_onnx(model, Path(folder))
        loop, host = OnnxLoop(Path(folder)), HostEngine(build.host_library, build.host_image, table.record if table else None)
        theirs = EngineStepper(OnnxEngine(loop, table.row if table else int))
        ours = EngineStepper(host)
        rows = zip(dataset.inputs, dataset.labels, dataset.puzzle_ids, dataset.valid, strict=True)
        for i, (tokens, labels, puzzle, valid) in enumerate(rows, start=offset):
            distance = largest = 0.0
            differing = last = 0
            ids = (np.array([puzzle]), np.array([puzzle if build.config.puzzle_emb_ndim else 0]))
            sides = (stepper.steps(tokens[None], which, steps) for stepper, which in zip((theirs, ours), ids))
            for here, there in zip(*sides, strict=True):
                carry = {name: there.tensor(name)[0] for name in ("z_H", "z_L")}
                z_H = here.tensor("z_H")
                distance = max(distance, 1.0 - float(carry_fidelity(z_H, carry["z_H"][None]).mean()))
                largest = max(largest, float(np.abs(z_H[0] - carry["z_H"]).max()))
                last = int((loop.tokens != there.tensor("tokens")[0]).sum())
                differing += last
                loop.state |= carry
                progress(i, there.step)
            right = int(right_cells(loop.tokens, labels, valid))
            results.append(OnnxPuzzle(i, steps, distance, largest, differing, last, len(tokens), right, int(valid.sum())))
    return OnnxResult(tolerance, model.label, tuple(results))


def document(result: OnnxResult, build: Build, offset: int) -> OnnxVerifyDocument:
    """What `--json` says."""
    return {
        "on": "onnxruntime",
        "n": result.n,
        "offset": offset,
        "bit_exact": False,
        "matched": result.matched,
        "agreement": {
            "of": "z_H after every step, each begun from the engine's carry",
            "measure": "1 - cosine",
            "tolerance": result.tolerance,
            "worst": max((p.distance for p in result.puzzles), default=0.0),
            "puzzles": result.matched,
            "answers_equal": result.same_answers,
            "tokens_differing": sum(p.tokens_differing for p in result.puzzles),
            "tokens_compared": sum(p.tokens * p.steps for p in result.puzzles),
        },
        "tolerance": result.tolerance,
        "precision": result.precision,
        "cell": result.cell,
        "exact": result.exact,
        "first_difference": None,
        "target": build.target,
        "puzzles": [
            {
                "puzzle": p.index,
                "steps": p.steps,
                "distance": p.distance,
                "largest": p.largest,
                "tokens_differing": p.tokens_differing,
                "answer_differing": p.answer_differing,
                "right": p.right,
                "cells": p.cells,
            }
            for p in result.puzzles
        ],
    }
