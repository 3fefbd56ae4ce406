"""The device that a build is verified on: chosen, connected to, and checked to run that build."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from recurc.arguments import argument
from recurc.build.manifest import BoardArtifact, Build, mapped_table
from recurc.device import frames as f
from recurc.device.session import DeviceSession
from recurc.device.transports import ProcessTransport, Transport, open_transport
from recurc.errors import MismatchError, UsageError
from recurc.reading import is_there
from recurc.targets.boards import Board
from recurc.targets.qemu import QemuTransport
from recurc.targets.sourcemap import SourceMap
from recurc.verify.identity import expected_hello
from recurc.verify.proof import Proof, prove

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
    name = build.target
    check_place(on)
    if on == "host":
        name = "host"
    elif on == "qemu" and build.board(build.target).emulator is None:
        if build.twin is None:
            raise UsageError(
                f"{build.target} is not emulated",
                where=argument("on", "qemu"),
                why="it has no emulated twin",
                next=f"Use {argument('on', 'PORT')} with a board",
            )
        name = build.twin
    artifact = build.boards.get(name)
    if artifact is None:
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
    if on in ("qemu", "host") and elf is None:
        raise UsageError(
            f"there is no firmware of {board.name} to start", where=argument("on", on), why="none is compiled in this build",
            next=f"Use {argument('on', 'host')}, or {argument('on', 'PORT')} with the board that it was flashed to; of a "
            "library its own program says whether it computes right (NAME_selftest)",
        )  # fmt: skip
    if on == "qemu":
        assert elf is not None
        transport = QemuTransport(board, elf, memory=memory)
    elif on == "host":
        transport = ProcessTransport([str(elf)])
    else:
        transport = open_transport(on, board.uart.baud or 115200)
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


def _table_memory(build: Build, board: Board) -> tuple[tuple[Path, int], ...]:
    """Where a board's memory-mapped puzzle table lies, for an emulator to load it there."""
    table = mapped_table(build, board.name)
    return (table,) if table else ()


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
