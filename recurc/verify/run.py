"""Runs puzzles on a device and compares every supervision step with the host, bit for bit."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace

import numpy as np

from recurc.arguments import argument
from recurc.build.manifest import Build, manifest_digest
from recurc.build.opened import as_build
from recurc.dataset import Dataset
from recurc.device import frames as f
from recurc.device.expected import Expected, model_fields
from recurc.device.session import DeviceSession
from recurc.errors import DeviceUnreachableError, InputError, MismatchError, UsageError
from recurc.evaluate.scores import right_cells
from recurc.ir.lower import lower
from recurc.models import families
from recurc.targets.boards import Board
from recurc.verify.compare import Comparison
from recurc.verify.courses import Course, Engine, Solving, Stepping
from recurc.verify.device import check_trusted, open_device
from recurc.verify.divergence import Tracer
from recurc.verify.options import DEFAULTS, NOBODY, Listener, RunOptions
from recurc.verify.places import Place, step_places
from recurc.verify.result import PuzzleResult, StepView, VerifyResult


def _check_device(info: f.Hello, dataset: Dataset, steps: int) -> None:
    """That the dataset's puzzles can be run on a device for so many steps. Raises MismatchError, UsageError, InputError."""
    if info.table_status:
        raise MismatchError(
            "the device's puzzle table is not usable",
            where=info.board,
            why=f.status_text(info.table_status),
            next="Write the build's table file to the device's flash, at the address that `recurc report` tells",
        )
    if not 1 <= steps <= info.steps:
        raise UsageError(
            f"{steps} steps cannot be run",
            where=argument("steps"),
            why=f"the firmware is compiled for {info.steps}",
            next=f"Use no more, or build with {argument('steps', 'N')}",
        )
    if dataset.seq_len != info.seq_len:
        raise InputError(
            "the dataset is not of this model",
            where=str(dataset.path),
            why=f"{dataset.seq_len} cells, the firmware has {info.seq_len}",
            next="Pass the model's dataset",
        )


@dataclass(frozen=True)
class Side:
    """The device's side: its board, where that is ("qemu", "host", a port), records of a streamed puzzle table by index, and
    names of a step's ops, for the first difference."""

    board: Board
    on: str
    records: Callable[[int], bytes] | None = None
    places: Sequence[Place] = ()


@dataclass(frozen=True)
class _Example:
    """One example: its number; tokens and labels [seq_len]; which of the labels count, bool [seq_len]."""

    number: int
    tokens: np.ndarray
    labels: np.ndarray
    puzzle_id: int
    valid: np.ndarray


def _run_puzzle(runner: Comparison, example: _Example, options: RunOptions, listener: Listener) -> PuzzleResult:
    """One puzzle on both sides; what the line loses is asked for again."""
    session, number, first = runner.session, example.number, example.number == options.offset
    show = listener.show if first else None
    if show is not None:
        show(StepView(0, example.tokens, example.tokens, example.labels, example.valid))

    def on_step(step: int) -> None:
        if show is not None:
            show(runner.course.view(step, example.tokens, example.labels, example.valid))
        listener.progress(number, step)

    meter = options.meter if number < options.offset + options.fidelity else None
    most = (session.info or session.hello()).steps
    stops, read_after = range(1, most) if show is not None else (), () if meter is None else (1,)
    outcome = session.persist(lambda: runner.puzzle(number, example.tokens, example.puzzle_id, on_step, stops, read_after))
    first_phi, last_phi = (None, None) if meter is None else meter.measure(example.tokens, example.puzzle_id, outcome.carries)
    right = int(right_cells(outcome.tokens, example.labels, example.valid))
    finish = outcome.finish
    return PuzzleResult(
        number, finish.steps, finish.halted, outcome.difference is None, right, int(example.valid.sum()), outcome.ticks,
        outcome.equal_steps, outcome.stack_used, first_phi, last_phi, outcome.difference,
        tuple(outcome.tokens.tolist()) if options.tokens else None, finish.solved, finish.restarts,
    )  # fmt: skip


def _course(session: DeviceSession, engine: Engine, steps: int, options: RunOptions) -> Course:
    """How puzzles are run. Raises UsageError where the options exclude each other."""
    policy = options.policy
    if policy is None:
        return Stepping(session, engine, steps, options.halt)
    for name in ("steps", "halt", "meter"):
        if getattr(options, name) is not None:
            raise UsageError(
                "who answers by a policy decides about that by itself", where=argument(name), next="Leave it out, or the policy"
            )
    if policy.most_steps > steps:
        raise UsageError(
            "a run has too many steps",
            where=argument("policy"),
            why=f"the firmware is compiled for {steps}",
            next=f"Use no more, or build with {argument('steps', 'N')}",
        )
    if policy.noise and not engine.info.restarts:
        raise UsageError("the firmware adds no noise", where=argument("noise"), why="it was built without",
                         next=f"Leave it out, or build with {argument('noise', 'SIGMA')}")  # fmt: skip
    return Solving(session, engine, policy)


def verify_session(
    session: DeviceSession,
    engine: Engine,
    dataset: Dataset,
    side: Side,
    options: RunOptions = DEFAULTS,
    listener: Listener = NOBODY,
    done: Mapping[int, PuzzleResult] | None = None,
) -> VerifyResult:
    """Compare an open session with an engine over all examples of a dataset; `verify` with the connection made.

    Args:
        done: results of an earlier run, which are taken over.

    Raises:
        UsageError: more steps than the firmware was compiled for. DeviceUnreachableError: it stopped answering.
    """
    info = session.info or session.hello()
    if session.expected is None:
        session.expect(Expected(model_fields(engine.info, engine.table_key)))
    steps = info.steps if options.steps is None else options.steps
    _check_device(info, dataset, steps)
    known, results = done or {}, list[PuzzleResult]()
    traced = any(r.difference for r in known.values())
    tracer = None if traced else Tracer(session, engine, side.places, listener.on_op)
    course = _course(session, engine, steps, options)
    runner = Comparison(session, engine, course, side.records, tracer)
    rows = zip(dataset.inputs, dataset.labels, dataset.puzzle_ids, dataset.valid, strict=True)
    for number, (tokens, labels, puzzle_id, valid) in enumerate(rows, start=options.offset):
        if number in known:
            results.append(known[number])
            listener.progress(number, known[number].steps)
            continue
        puzzle = int(puzzle_id) if info.puzzles else 0
        example = _Example(number, np.asarray(tokens), labels, puzzle, valid)
        results.append(_run_puzzle(runner, example, options, listener))
        listener.on_result(results[-1])
    first = next((r.difference for r in results if r.difference), None)
    stack = max((r.stack_used for r in results), default=0)
    resumed = sum(r.puzzle in known for r in results)
    return VerifyResult(side.on, side.board, info, tuple(results), first, stack, session.retries, resumed=resumed)


def build_places(build: Build) -> tuple[Place, ...]:
    """Names of the ops of a build's supervision step (see `step_places`); none where its model family is not installed here,
    which a comparison of bits does not need."""
    if build.config.family not in families():
        return ()
    return step_places(lower(build.config, build.lowering))


def _check_unchanged(build: Build) -> None:
    """That a build folder still holds the build that was opened. Raises InputError."""
    wanted = getattr(build, "details", {}).get("digest")
    if wanted is not None and manifest_digest(build.path) != wanted:
        raise InputError(
            "the build was replaced while it was being verified",
            where=str(build.path),
            why="its manifest is another one than at the beginning",
            next="Verify it again",
        )


@contextmanager
def _of_one_build(build: Build, on: str) -> Iterator[None]:
    """A device that differs is told as such only where its firmware cannot be of a build that took this one's place."""
    try:
        yield
    except (MismatchError, DeviceUnreachableError):
        if on in ("qemu", "host"):  # started from the folder
            _check_unchanged(build)
        raise


def verify(
    build: Build | str | os.PathLike[str],
    on: str = "qemu",
    dataset: Dataset | None = None,
    options: RunOptions = DEFAULTS,
    listener: Listener = NOBODY,
    *,
    trust: bool = False,
) -> VerifyResult:
    """Run a dataset's puzzles on a build's firmware and compare each supervision step with the host, bit for bit.

    After every step: the checksums of carry, logits and predicted tokens, and both halting logits. After the last step:
    all logits and tokens. At the first difference the puzzle is run again op by op on both sides, down to the element.

    Args:
        build: an open one or the path of one.
        on: "qemu" (the target, or its emulated twin), "host" (the firmware as a process), or a port: tcp://HOST:PORT,
            /dev/ttyACM0, any pyserial URL.
        dataset: what to run, all of it; see `recurc.dataset.load_dataset`.
        options: how much of it, and how.
        listener: who is told.
        trust: the build's native code may be run although this user did not build it on this computer.

    Raises:
        UntrustedBuildError: it may not.
        InputError: the build is missing or stale, or the dataset is not the model's; the journal cannot be written.
        ToolchainError: the emulator is missing. DeviceUnreachableError: no device, or it stopped answering.
        MismatchError: the device runs another build, or its weights are not the build's (see `recurc.verify.proof`).
            (A difference of results is in the VerifyResult, not raised.)
    """
    from recurc.targets.host import HostEngine

    made = as_build(build, trust, 1)
    if dataset is None:
        raise UsageError(
            "no puzzles to run", where=argument("dataset", option="data"), why="none was given", next="Pass a dataset"
        )
    if options.limit is not None and options.limit < 1:
        raise UsageError(
            f"{options.limit} puzzles cannot be run",
            where=argument("limit"),
            why="at least one is",
            next="Leave it out for all of them",
        )
    data = dataset if options.limit is None else dataset.take(options.limit)
    check_trusted(made, "its host engine would be loaded into this process")
    with _of_one_build(made, on), open_device(made, on) as device:
        engine = HostEngine(made.host_library, made.host_image, device.records)
        _check_unchanged(made)  # between `load_build` and here another build may have taken its place
        with listener.open_journal(device.board, device.artifact) or nullcontext() as journal:

            def keep(result: PuzzleResult) -> None:
                if journal is not None:
                    journal.append(result)
                listener.on_result(result)

            side = Side(device.board, on, device.records, build_places(made))
            done = None if journal is None else dict(journal.results)
            result = verify_session(device.session, engine, data, side, options, replace(listener, on_result=keep), done)
            return replace(result, proof=device.proof, journal=None if journal is None else journal.path)
