"""Units of work of an evaluation: one subject on some puzzles, in a thread, a process or on another computer."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import weakref
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from recurc.evaluate.asked import Asked
from recurc.evaluate.measured import Asking, Part, measure
from recurc.evaluate.runs import Kept, Progress, Run, every, record
from recurc.evaluate.stepping import EngineStepper, Stepper, TorchStepper
from recurc.make.project import compile_engine_parts, compile_host_engine
from recurc.models.reasoner import Reasoner, ReasonerConfig
from recurc.models.reference import Reference
from recurc.quant.model import QuantizedModel
from recurc.recursion import Depth
from recurc.solve import Answer
from recurc.study.fake import FakeModel
from recurc.study.memo import Memo
from recurc.study.variants import Variant
from recurc.targets.host import HostEngine
from recurc.targets.programs import program_folder

CHUNK = 64  # puzzles a unit of work, at most
CHUNK_BYTES = 64 << 20  # and at most so much carry kept at once

# Of this process: the units of work of a sweep share them, in any order.
_REFERENCES, _ENDS, _STEPPERS, _PARTS = Memo(4), Memo(64), Memo(8), Memo(1)


@dataclass(frozen=True)
class Chunk:
    """Some puzzles: tokens and labels [n, seq], identifiers [n], mask [n, seq] of the cells that count; `key` their digest."""

    inputs: np.ndarray
    puzzle_ids: np.ndarray
    labels: np.ndarray
    valid: np.ndarray
    key: str


def chunk_size(config: ReasonerConfig, steps: int) -> int:
    """Puzzles a unit of work: a power of two, so many that the carries of a run stay within CHUNK_BYTES."""
    each = 4 * config.rows * config.hidden_size * steps
    size = CHUNK
    while size > 1 and size * each > CHUNK_BYTES:
        size //= 2
    return size


@dataclass(frozen=True)
class Subject:
    """What a variant needs besides puzzles: the checkpoint, the model in its place, its stored form (None: plain fp32), the
    static scales' peaks; `reference_key` and `key` tell them from others. full: compare with the checkpoint's last step as
    deep as it was trained, at every step. asking: how puzzles are asked again, if they are."""

    variant: Variant
    reasoner: Reasoner
    stand_in: Reasoner
    model: QuantizedModel | None
    peaks: Mapping[str, float]
    reference_key: str
    key: str
    full: bool = False
    asking: Asking | None = None

    @property
    def depth(self) -> Depth:
        """How often it turns."""
        return self.variant.depth(self.reasoner.config)


def _temporary() -> Path:
    """A folder that goes with this process."""
    folder = tempfile.mkdtemp(prefix="recurc-parts-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def _engine(subject: Subject) -> HostEngine:
    """The device's code, compiled; the kernels are the same for all and compiled once."""
    assert subject.model is not None
    parts = _PARTS.get("host", lambda: compile_engine_parts(_temporary()))
    folder = program_folder("recurc-engine-")
    try:
        engine = compile_host_engine(folder, subject.model, parts)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    weakref.finalize(engine, shutil.rmtree, folder, ignore_errors=True)
    return engine


def stepper_of(subject: Subject) -> Stepper:
    """What steps a subject."""
    v = subject.variant
    if v.engine == "reference":
        return TorchStepper(_reference(subject), subject.depth, most=CHUNK)
    if v.engine == "device":
        return EngineStepper(_engine(subject))
    assert subject.model is not None
    weights = {name: w.dequantized() for name, w in subject.model.weights.items()}
    attention = getattr(subject.stand_in, "attention", "softmax")
    model = FakeModel(subject.stand_in, weights, v.activations, subject.peaks, v.carry, attention)
    return TorchStepper(model, subject.depth, most=CHUNK)


def run_chunk(stepper: Stepper, chunk: Chunk, steps: int, progress: Progress | None = None) -> Run:
    """What a chunk of puzzles does, with z_H after every step."""
    return record(stepper, chunk.inputs, chunk.puzzle_ids, steps, kept=Kept(every(steps)), progress=progress)


def _reference(subject: Subject) -> Reference:
    return _STEPPERS.get(subject.reference_key, lambda: Reference(subject.reasoner))


def reference_run(subject: Subject, chunk: Chunk, progress: Progress | None = None) -> Run:
    """The fp32 checkpoint's run of a chunk at the variant's depth; kept while other variants want the same."""
    v = subject.variant
    depth = subject.depth

    def make() -> Run:
        return run_chunk(TorchStepper(_reference(subject), depth, most=CHUNK), chunk, depth.steps, progress)

    return _REFERENCES.get((subject.reference_key, v.schedule, depth.steps, chunk.key), make)


def full_end(subject: Subject, chunk: Chunk) -> Run:
    """The last step of the fp32 checkpoint's run of a chunk, as deep as it was trained; kept for all variants."""

    def make() -> Run:
        trained = Variant("fp32", "fp32").resolved(subject.reasoner.config)
        return reference_run(replace(subject, variant=trained), chunk).last

    return _ENDS.get((subject.reference_key, chunk.key), make)


def run_part(subject: Subject, chunk: Chunk, progress: Progress | None = None) -> Part:
    """The unit of work: one variant on one chunk. One thread, so that its floats never depend on how many there are.

    Args:
        progress: called after each step with the part of the puzzles that it is.
    """
    torch.set_num_threads(1)
    v = subject.variant
    own = v.engine == "reference"  # what it runs is the reference itself, and counts as progress
    expected = full_end(subject, chunk) if subject.full else reference_run(subject, chunk, progress if own else None)
    if own:
        run = reference_run(subject, chunk, progress)
        stepper = stepper_of(subject)
    else:
        stepper = _STEPPERS.get(subject.key, lambda: stepper_of(subject))
        run = run_chunk(stepper, chunk, subject.depth.steps, progress)
    return measure(run, expected, chunk.labels, chunk.valid, asked_again(stepper, chunk, run, subject.asking))


def asked_again(stepper: Stepper, chunk: Chunk, run: Run, asking: Asking | None) -> list[Answer] | None:
    """Answers to a chunk of puzzles that are asked again where their run did not halt; None where nobody asks."""
    if asking is None:
        return None
    asking = asking.within(len(run.margins))
    asked = Asked(stepper, chunk.inputs, chunk.puzzle_ids, asking.forms, len(run.margins), asking.policy.restart_steps, run)
    return asked.answers(asking.policy)


class Executor(Protocol):
    """Runs units of work somewhere."""

    workers: int

    def submit(self, subject: Callable[[], Subject], chunk: Chunk, progress: Progress | None = None) -> Future[Part]:
        """A future of `run_part`; `subject` may be called here or there. progress: called with parts of puzzles, if at all."""


class Threads:
    """Units of work in threads of this process: torch and the engine leave Python's lock alone while they compute."""

    def __init__(self, jobs: int | None = None) -> None:
        self.workers = jobs or os.cpu_count() or 1
        self._pool = ThreadPoolExecutor(self.workers)

    def submit(self, subject: Callable[[], Subject], chunk: Chunk, progress: Progress | None = None) -> Future[Part]:
        return self._pool.submit(lambda: run_part(subject(), chunk, progress))

    def __enter__(self) -> Threads:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)


class Told:
    """Progress of a unit of work: never more than its puzzles, and all of them at its end."""

    def __init__(self, puzzles: int, progress: Progress) -> None:
        self._left, self._progress = float(puzzles), progress

    def __call__(self, puzzles: float) -> None:
        part = min(puzzles, self._left)
        self._left -= part
        self._progress(part)

    def done(self) -> None:
        self(self._left)
