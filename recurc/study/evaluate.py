"""Accuracy and fidelity of a quantized model, with the device's arithmetic, on this computer."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from recurc.dataset import Dataset
from recurc.models.reasoner import Reasoner
from recurc.models.reference import Reference
from recurc.quant.fidelity import carry_fidelity
from recurc.quant.fidelity import mean_and_error as fidelity_and_error
from recurc.quant.model import QuantizedModel
from recurc.study.settings import mean_and_error
from recurc.targets.host import HostEngine

REFERENCE_BATCH = 16
Progress = Callable[[float], None]


@dataclass(frozen=True)
class Trajectories:
    """What a set of puzzles did: tokens uint8 [N, steps, seq], halts bool [N, steps], carries z_H [M, 2, S, D].

    carries holds z_H after the first and after the last step, of the first M puzzles.
    """

    tokens: np.ndarray
    halts: np.ndarray
    carries: np.ndarray


def run_engine(
    engine: HostEngine,
    inputs: np.ndarray,
    puzzle_ids: np.ndarray,
    steps: int,
    *,
    threshold: float = 0.0,
    keep_carries: int = 0,
    progress: Progress | None = None,
    threads: int | None = None,
) -> Trajectories:
    """Run puzzles (tokens [N, seq], ids [N]) for `steps` supervision steps each, several at a time.

    Args:
        threshold: the halting head's margin, for `halts`.
        keep_carries: of how many puzzles z_H is kept.
        progress: called after each step of a puzzle with the part of the puzzle that it is.
    """
    n, info = len(inputs), engine.info
    keep = min(keep_carries, n)
    tokens = np.zeros((n, steps, info.seq_len), dtype=np.uint8)
    halts = np.zeros((n, steps), dtype=bool)
    carries = np.zeros((keep, 2, info.rows, info.hidden), dtype=np.float32)
    workers = max(1, min(threads or os.cpu_count() or 1, n))
    engines = [engine.clone() for _ in range(workers)]

    def work(lane: int) -> None:
        own = engines[lane]
        for i in range(lane, n, workers):
            own.begin(inputs[i], int(puzzle_ids[i]))
            for step in range(steps):
                own.step()
                tokens[i, step], halts[i, step] = own.tensor("tokens"), own.halts(threshold)
                if i < keep and step == 0:
                    carries[i, 0] = own.tensor("z_H")
                if progress:
                    progress(1 / steps)
            if i < keep:
                carries[i, 1] = own.tensor("z_H")

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(work, range(workers)))
    return Trajectories(tokens, halts, carries)


def reference_carries(
    reasoner: Reasoner,
    inputs: np.ndarray,
    puzzle_ids: np.ndarray,
    model: QuantizedModel,
    steps: int,
    progress: Progress | None = None,
) -> np.ndarray:
    """z_H of the fp32 reference after the first and after the last of `steps` steps: float32 [N, 2, S, D]."""
    return reference_runs(reasoner, inputs, puzzle_ids, model, steps, progress)[0]


def reference_runs(
    reasoner: Reasoner,
    inputs: np.ndarray,
    puzzle_ids: np.ndarray,
    model: QuantizedModel,
    steps: int,
    progress: Progress | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """`reference_carries`, and the tokens [N, seq] after the last step."""
    reference = Reference(reasoner)
    p = model.program
    found, tokens = [], []
    for start in range(0, len(inputs), REFERENCE_BATCH):
        batch = slice(start, start + REFERENCE_BATCH)
        first = last = None
        for state in reference.steps(inputs[batch], puzzle_ids[batch], steps, p.h_cycles, p.l_cycles):
            last = state.z_H.numpy()
            first = last if first is None else first
            if progress:
                progress(len(last) / steps)
        found.append(np.stack((first, last), axis=1))
        tokens.append(state.logits.argmax(-1).numpy())
    return np.concatenate(found), np.concatenate(tokens)


@dataclass(frozen=True)
class Scores:
    """Accuracy in 0..1: cell = share of valid cells right (clues count, as in the reference), exact = whole puzzles; of the n
    puzzles that have labels."""

    cell: float
    exact: float
    n: int

    @property
    def exact_error(self) -> float:
        """Standard error of `exact`; by Wilson's interval, so that it is not 0 where all or none are exact. NaN of none."""
        p, n = self.exact, self.n
        return math.sqrt(p * (1 - p) / n + 1 / (4 * n * n)) / (1 + 1 / n) if n else math.nan

    def __repr__(self) -> str:
        exact = f"{100 * self.exact:.2f} ± {100 * self.exact_error:.2f} %"
        return f"Scores(exact {exact}, cells {100 * self.cell:.2f} %, {self.n} puzzles)"

    def shares(self) -> dict[str, float]:
        """For documents: cell and exact."""
        return {"cell": self.cell, "exact": self.exact}


def hopeless(scores: Scores, n: int) -> bool:
    """Whether fp32 itself solves next to none of n puzzles: then most likely the model or the dataset is not the one meant."""
    return n >= 4 and scores.exact < 0.05 and scores.exact * n < 2


def score(tokens: np.ndarray, labels: np.ndarray, valid: np.ndarray) -> Scores:
    """Score predictions [N, seq] against labels [N, seq]; only cells marked in `valid` [N, seq] count, and only examples that
    have some, as in the reference code. NaN where none has any."""
    counts = valid.sum(axis=1)
    right = ((tokens == labels) & valid).sum(axis=1)[counts > 0]
    counts = counts[counts > 0]
    if not len(counts):
        return Scores(float("nan"), float("nan"), 0)
    return Scores(float((right / counts).mean()), float((right == counts).mean()), len(counts))


@dataclass(frozen=True)
class Halting:
    """What stopping at the halting head does: scores at the step where each input stops, steps on average, and the share of
    inputs exact that is lost against all steps (negative: gained), with its standard error on the same inputs."""

    scores: Scores
    mean_steps: float
    lost: float
    error: float

    @property
    def costs(self) -> bool:
        """Whether it loses more than a standard error, so that another threshold is worth a search."""
        return self.lost > self.error


def halting(runs: Trajectories, data: Dataset, min_steps: int = 1) -> Halting:
    """Score what runs answer at the step where their halting head stops, at the earliest after `min_steps`."""
    stop = runs.halts.copy()
    stop[:, : min_steps - 1] = False
    stop[:, -1] = True
    at = stop.argmax(axis=1)
    answers = runs.tokens[np.arange(len(at)), at]
    valid = data.valid
    counts = valid.any(axis=1)
    full, early = (((t == data.labels) | ~valid).all(axis=1)[counts].astype(float) for t in (runs.tokens[:, -1], answers))
    lost, error = mean_and_error(full - early) if counts.any() else (float("nan"), float("nan"))
    return Halting(score(answers, data.labels, valid), float(at.mean() + 1), float(lost), float(error))


@dataclass(frozen=True)
class EvalResult:
    """Result of `evaluate`.

    fidelity: phi after the first and the last step (1.0 = same direction), on `fidelity_n` puzzles, with its standard error;
    None of a single puzzle. halting: what the halting head would do, asked for or not.
    by_step: step -> Scores at 1, 2, 4, ... and the last. halted: scores when the halting head stops early, with
    mean_steps; None without halting. reference: fp32 after the last step on the fidelity puzzles, and the model on the same.
    """

    n: int
    steps: int
    scores: Scores
    by_step: dict[int, Scores]
    fidelity_first: float
    fidelity_last: float
    fidelity_n: int
    halted: Scores | None
    mean_steps: float
    reference: Scores
    beside_reference: Scores
    fidelity_first_error: float | None = None
    fidelity_last_error: float | None = None
    halting: Halting | None = None

    @property
    def final(self) -> Scores:
        """What was asked for: the scores where the halting head stops, or else after the last step."""
        return self.halted or self.scores

    @property
    def cell(self) -> float:
        return self.final.cell

    @property
    def exact(self) -> float:
        return self.final.exact

    @property
    def exact_error(self) -> float:
        return self.final.exact_error

    def __repr__(self) -> str:
        return f"EvalResult({self.final!r}, {self.mean_steps:.4g} steps, fidelity {self.fidelity_last:.4f})"


def evaluate(
    reasoner: Reasoner,
    model: QuantizedModel,
    engine: HostEngine,
    data: Dataset,
    *,
    halt: bool = False,
    threshold: float = 0.0,
    min_steps: int = 1,
    fidelity_puzzles: int = 64,
    progress: Progress | None = None,
    steps: int | None = None,
) -> EvalResult:
    """Accuracy of a model on a dataset, and its fidelity to the fp32 reference.

    All supervision steps are run, as the reference does; with `halt` the answer at the step where the halting head
    stops is scored beside that of the last step.

    Args:
        steps: at most those that the model was lowered for (default: these).
        progress: called with 1 after each puzzle, and after each puzzle of the fidelity run.
    """
    steps = model.program.steps if steps is None else steps
    keep = min(fidelity_puzzles, len(data.inputs))
    runs = run_engine(engine, data.inputs, data.puzzle_ids, steps, threshold=threshold, keep_carries=keep, progress=progress)
    expected, exact = reference_runs(reasoner, data.inputs[:keep], data.puzzle_ids[:keep], model, steps, progress)
    reference, beside = (score(t, data.labels[:keep], data.valid[:keep]) for t in (exact, runs.tokens[:keep, -1]))
    marks = sorted({s for s in (1, 2, 4, 8, 16, 32, 64) if s < steps} | {steps})
    by_step = {s: score(runs.tokens[:, s - 1], data.labels, data.valid) for s in marks}
    stopped = halting(runs, data, min_steps)
    first, last = (fidelity_and_error(carry_fidelity(runs.carries[:, i], expected[:, i])) for i in (0, 1))
    return EvalResult(
        len(data.inputs),
        steps,
        by_step[steps],
        by_step,
        first[0],
        last[0],
        keep,
        stopped.scores if halt else None,
        stopped.mean_steps if halt else float(steps),
        reference,
        beside,
        first[1],
        last[1],
        stopped,
    )
