"""Runs puzzles on a device and compares every supervision step with the host, bit for bit."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from recurc.arguments import argument
from recurc.build.manifest import BoardArtifact, Build
from recurc.build.opened import as_build
from recurc.dataset import Dataset
from recurc.device import frames as f
from recurc.device.expected import Expected, model_fields
from recurc.device.session import DeviceSession
from recurc.device.transports import ProcessTransport, Transport, open_transport
from recurc.errors import DeviceUnreachableError, InputError, MismatchError, UsageError
from recurc.evaluate.halting import Halt
from recurc.reading import is_there
from recurc.targets.boards import Board
from recurc.targets.qemu import QemuTransport
from recurc.targets.sourcemap import SourceMap
from recurc.verify.compare import Comparison, Engine
from recurc.verify.divergence import Tracer
from recurc.verify.identity import expected_hello
from recurc.verify.journal import Journal
from recurc.verify.phi import FidelityMeter
from recurc.verify.places import Place, step_places
from recurc.verify.proof import Proof, prove
from recurc.verify.result import PuzzleResult, StepView, VerifyResult

EMULATOR_STEP_SECONDS = 3600.0  # an emulated step of a large model takes minutes on a busy computer
DEVICE_STEP_SECONDS = 120.0


def check_place(on: str) -> None:
    """Raises UsageError: `on` is no port, but nearly the name of a place."""
    near = difflib.get_close_matches(on.lower(), ("qemu", "host"), n=1, cutoff=0.7)
    if near and on not in ("qemu", "host") and not is_there(Path(on)):
        raise UsageError(
            f"there is no place called {on!r}",
            where=argument("on"),
            why="it is qemu, host, or a serial port",
            next=f"Did you mean {near[0]}?",
        )


def resolve(build: Build, on: str) -> tuple[Board, BoardArtifact]:
    """The board that `on` means for a build ("qemu", "host", or a port) and the build's artifact for it.

    Raises:
        UsageError: the build has no firmware for it.
    """
    name: str | None = build.target
    check_place(on)
    if on == "host":
        name = "host"
    elif on == "qemu" and build.board(build.target).emulator is None:
        name = build.twin
        if name is None:
            raise UsageError(
                f"{build.target} is not emulated",
                where=argument("on", "qemu"),
                why="it has no emulated twin",
                next=f"Use {argument('on', 'PORT')} with a board",
            )
    artifact = build.boards.get(name or "")
    if name is None or artifact is None:
        raise UsageError(
            f"the build has no firmware for {name}",
            where=str(build.path),
            why=f"it has {', '.join(build.boards)}",
            next="Build for it",
        )
    return build.board(name), artifact


@contextmanager
def connect(
    board: Board, elf: Path | None, on: str, step_timeout: float | None = None, memory: tuple[tuple[Path, int], ...] = ()
) -> Iterator[DeviceSession]:
    """A session with a firmware in QEMU, in a process of this computer, or behind a port; ended on leaving.

    Args:
        memory: files that lie in an emulated board's memory beside the firmware, with their addresses.

    Raises:
        ToolchainError: no emulator. DeviceUnreachableError: nothing answers.
    """
    transport: Transport
    if on == "qemu":
        assert elf is not None  # what is emulated was compiled here
        transport = QemuTransport(board, elf, memory=memory)
    elif on == "host":
        transport = ProcessTransport([str(elf)])
    else:
        transport = open_transport(on, (board.uart and board.uart.baud) or 115200)
    default = EMULATOR_STEP_SECONDS if on in ("qemu", "host") else DEVICE_STEP_SECONDS
    # An emulator may share a busy computer; a board answers at once or not at all.
    with DeviceSession(
        transport, timeout=10.0 if on == "qemu" else 2.0, step_timeout=step_timeout or default, places=_places(elf)
    ) as session:
        yield session


def _places(elf: Path | None) -> SourceMap | None:
    """Where addresses are looked up; nowhere for a firmware that was not compiled here."""
    return None if elf is None else SourceMap(elf)


def on_device(build: Build, hello: f.Hello, board: Board, artifact: BoardArtifact) -> tuple[Board, BoardArtifact]:
    """The board of a build whose firmware a device says that it runs, and its artifact: behind a port may also be the twin.

    `board` and `artifact`, which were expected there, when it is none of the build's.
    """
    for name, other in {board.name: artifact, **build.boards}.items():
        if (hello.build_id, hello.model_sha256) == (other.build_id, other.model_sha256):
            return (board if name == board.name else build.board(name)), other
    return board, artifact


def check_identity(hello: f.Hello, artifact: BoardArtifact) -> None:
    """That the firmware is the build's own and accepts its image.

    Raises:
        MismatchError: it is another one, or its image is damaged.
    """
    if hello.status:
        raise MismatchError(
            "the device refuses its weights image", where=hello.board, why=f.status_text(hello.status), next="Flash it again"
        )
    for what, told, wanted in (
        ("model", hello.model_sha256, artifact.model_sha256),
        ("build", hello.build_id, artifact.build_id),
    ):
        if told != wanted:
            raise MismatchError(
                f"the device runs another {what}",
                where=hello.board,
                why=f"it tells {told[:16]}…, the build has {wanted[:16]}…",
                next="Flash this build, or name the build that is on the device",
            )


def _no_progress(puzzle: int, step: int) -> None:
    """Default of `progress`."""


def _no_result(result: PuzzleResult) -> None:
    """Default of `on_result`."""


def _no_op(puzzle: int, step: int, op: int) -> None:
    """Default of `on_op`."""


def _no_journal(board: Board, artifact: BoardArtifact) -> None:
    """Default of `open_journal`."""


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


def verify_session(
    session: DeviceSession,
    engine: Engine,
    dataset: Dataset,
    *,
    board: Board,
    on: str,
    steps: int | None = None,
    halt: Halt | None = None,
    progress: Callable[[int, int], None] = _no_progress,
    show: Callable[[StepView], None] | None = None,
    offset: int = 0,
    records: Callable[[int], bytes] | None = None,
    places: Sequence[Place] = (),
    meter: FidelityMeter | None = None,
    fidelity: int = 0,
    done: Mapping[int, PuzzleResult] | None = None,
    on_result: Callable[[PuzzleResult], None] = _no_result,
    on_op: Callable[[int, int, int], None] = _no_op,
    tokens: bool = False,
) -> VerifyResult:
    """Compare an open session with an engine over all examples of a dataset; `verify` with the connection made.

    Args:
        places: names of a step's ops, for the first difference.
        meter: measures fidelity on the first `fidelity` puzzles.
        done: results of an earlier run, which are taken over.
        on_op: called with puzzle, step and op while the first difference is traced.
        tokens: keep what the device predicts at the end in the results, and so in the journal.

    Raises:
        UsageError: more steps than the firmware was compiled for. DeviceUnreachableError: it stopped answering.
    """
    info = session.info or session.hello()
    if session.expected is None:
        session.expect(Expected(model_fields(engine.info)))
    steps = info.steps if steps is None else steps
    _check_device(info, dataset, steps)
    known, results = done or {}, list[PuzzleResult]()
    tracer = None if any(r.difference for r in known.values()) else Tracer(session, engine, places, on_op)
    runner = Comparison(session, engine, steps, halt, records, tracer)
    for i, (row, labels, identifier, valid) in enumerate(
        zip(dataset.inputs, dataset.labels, dataset.puzzle_ids, dataset.valid, strict=True), start=offset
    ):
        if i in known:
            results.append(known[i])
            progress(i, known[i].steps)
            continue
        view = partial(StepView, input=row, labels=labels, valid=valid) if i == offset else None
        if show is not None and view is not None:
            show(view(0, np.asarray(row)))

        def on_step(step: int, i: int = i, view: Callable[[int, np.ndarray], StepView] | None = view) -> None:
            if show is not None and view is not None:
                show(view(step, session.read_tensor("tokens")))
            progress(i, step)

        stops = range(1, steps) if show is not None and view is not None else ()
        measured = meter if i < offset + fidelity else None
        cells, puzzle_id = np.asarray(row), int(identifier) if info.puzzles else 0
        outcome = session.persist(partial(runner.puzzle, i, cells, puzzle_id, on_step, stops, (1,) if measured else ()))
        first_phi, last_phi = measured.measure(cells, puzzle_id, outcome.carries) if measured else (None, None)
        right = int((outcome.tokens == labels)[valid].sum())
        results.append(PuzzleResult(
            i, outcome.steps, outcome.halted, outcome.difference is None, right, int(valid.sum()), outcome.ticks,
            outcome.equal_steps, outcome.stack_used, first_phi, last_phi, outcome.difference,
            tuple(outcome.tokens.tolist()) if tokens else None,
        ))  # fmt: skip
        on_result(results[-1])
    first = next((r.difference for r in results if r.difference), None)
    stack = max((r.stack_used for r in results), default=0)
    resumed = sum(r.puzzle in known for r in results)
    return VerifyResult(on, board, info, tuple(results), first, stack, session.retries, resumed=resumed)


def _table_memory(build: Build, board: Board) -> tuple[tuple[Path, int], ...]:
    """Where a board's memory-mapped puzzle table lies, for an emulator to load it there."""
    place = (build.details["boards"][board.name].get("plan") or {}).get("table") or {}
    if place.get("address") is None:
        return ()
    assert build.table_path is not None  # what is placed is there
    return ((build.table_path, place["address"]),)


def build_places(build: Build) -> tuple[Place, ...]:
    """Names of the ops of a build's supervision step (see `step_places`)."""
    from recurc.ir.lower import lower

    return step_places(lower(build.config, steps=build.steps, h_cycles=build.h_cycles, l_cycles=build.l_cycles))


@dataclass(frozen=True)
class OpenDevice:
    """A device that runs a build's firmware: the session, the board and artifact that answered, the records of the streamed
    puzzle table by index (None where the model has none), and what the device proved of its memory."""

    session: DeviceSession
    board: Board
    artifact: BoardArtifact
    records: Callable[[int], bytes] | None
    proof: Proof


@contextmanager
def open_device(build: Build, on: str) -> Iterator[OpenDevice]:
    """Connect to the device that `on` means for a build; check that it runs that build, with its weights. Closed on leaving.

    Raises:
        UntrustedBuildError, InputError, UsageError, ToolchainError, DeviceUnreachableError, MismatchError: as of `verify`.
    """
    if on in ("qemu", "host"):
        where = "in an emulator" if on == "qemu" else "as a process of this computer"
        check_trusted(build, f"its firmware would be run {where}")
    board, artifact = resolve(build, on)
    with build.open_table() or nullcontext() as table:
        with connect(board, artifact.elf, on, memory=_table_memory(build, board)) as session:
            hello = session.hello()
            if on not in ("qemu", "host"):
                board, artifact = on_device(build, hello, board, artifact)
                session.places = _places(artifact.elf)  # a crash is looked up in the firmware that really runs
                session.step_timeout = EMULATOR_STEP_SECONDS if board.emulator else session.step_timeout
            check_identity(hello, artifact)
            session.expect(expected_hello(build, board, artifact))
            proof = prove(session, build, board, artifact)
            yield OpenDevice(session, board, artifact, table.record if table else None, proof)


def check_trusted(build: Build, action: str) -> None:
    """That native code of a build folder may be run. Raises UntrustedBuildError."""
    if isinstance(build, Build):
        build.may_run(action)


def _check_unchanged(build: Build) -> None:
    """That a build folder still holds the build that was opened. Raises InputError."""
    from recurc.build.manifest import manifest_digest

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
    build: Build | Path | str,
    on: str = "qemu",
    dataset: Dataset | None = None,
    limit: int | None = None,
    steps: int | None = None,
    halt: Halt | None = None,
    progress: Callable[[int, int], None] = _no_progress,
    show: Callable[[StepView], None] | None = None,
    offset: int = 0,
    *,
    meter: FidelityMeter | None = None,
    fidelity: int = 4,
    open_journal: Callable[[Board, BoardArtifact], Journal | None] = _no_journal,
    on_result: Callable[[PuzzleResult], None] = _no_result,
    on_op: Callable[[int, int, int], None] = _no_op,
    tokens: bool = False,
    trust: bool = False,
) -> VerifyResult:
    """Run a dataset's puzzles on a build's firmware and compare each supervision step with the host, bit for bit.

    After every step: the checksums of carry, logits and predicted tokens, and both halting logits. After the last step:
    all logits and tokens. At the first difference the puzzle is run again op by op on both sides, down to the element.

    Args:
        build: a `recurc.build.manifest.Build` or the path of one.
        on: "qemu" (the target, or its emulated twin), "host" (the firmware as a process), or a port: tcp://HOST:PORT,
            /dev/ttyACM0, any pyserial URL.
        dataset: what to run, all of it; see `recurc.dataset.load_dataset`.
        limit: only the first so many.
        steps: supervision steps a puzzle, as compiled when None.
        halt: stop early on the halting head.
        progress: called after each step with puzzle and step.
        show: called for the first puzzle before the first and after each step.
        offset: number of the dataset's first example, for reports.
        meter: z_H is read back from the device and held against the fp32 model on the first `fidelity` puzzles.
        open_journal: called with the board that answered and its artifact of the build; gives the journal that results are
            appended to as they arrive, and from which those that are there are taken, or None. It is closed at the end.
        on_result: called with each result as it arrives, not with those from the journal.
        on_op: called with puzzle, step and op while the first difference is traced.
        tokens: keep what the device predicts at the end in the results, and so in the journal.
        trust: the build's native code may be run although this user did not build it on this computer.

    Raises:
        UntrustedBuildError: it may not.
        InputError: the build is missing or stale, or the dataset is not the model's; the journal cannot be written.
        ToolchainError: the emulator is missing. DeviceUnreachableError: no device, or it stopped answering.
        MismatchError: the device runs another build, or its weights are not the build's (see `recurc.verify.proof`).
            (A difference of results is in the VerifyResult, not raised.)
    """
    from recurc.targets.host import HostEngine

    build = as_build(build, trust, 1)
    if dataset is None:
        raise UsageError(
            "no puzzles to run", where=argument("dataset", option="data"), why="none was given", next="Pass a dataset"
        )
    if limit is not None and limit < 1:
        raise UsageError(
            f"{limit} puzzles cannot be run",
            where=argument("limit"),
            why="at least one is",
            next="Leave it out for all of them",
        )
    data = dataset if limit is None else dataset.take(limit)
    check_trusted(build, "its host engine would be loaded into this process")
    with _of_one_build(build, on), open_device(build, on) as device:
        engine = HostEngine(build.host_library, build.host_image, device.records)
        _check_unchanged(build)  # between `load_build` and here another build may have taken its place
        with open_journal(device.board, device.artifact) or nullcontext() as journal:

            def keep(result: PuzzleResult) -> None:
                if journal is not None:
                    journal.append(result)
                on_result(result)

            result = verify_session(
                device.session, engine, data, board=device.board, on=on, steps=steps, halt=halt, progress=progress, show=show,
                offset=offset, records=device.records, places=build_places(build), meter=meter, fidelity=fidelity,
                done=None if journal is None else dict(journal.results), on_result=keep, on_op=on_op,
                tokens=tokens,
            )  # fmt: skip
            return replace(result, proof=device.proof, journal=None if journal is None else journal.path)
