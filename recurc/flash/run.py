"""Flashes a build as its package format does, then asks the board who it is and lets it prove what it holds."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from recurc.arguments import argument
from recurc.build.listing import file_sha256
from recurc.build.manifest import BoardArtifact, Build
from recurc.device.session import DeviceSession
from recurc.device.transports import open_transport
from recurc.doctor.ports import boards_of, list_ports
from recurc.errors import DeviceUnreachableError, RecurcError, UsageError
from recurc.package.base import Package, UploadOptions
from recurc.package.registry import package_named
from recurc.targets.boards import Board
from recurc.verify.device import check_identity
from recurc.verify.identity import expected_hello
from recurc.verify.known import meet_known
from recurc.verify.proof import Proof, memory_files, prove, sums

START_SECONDS = 10.0  # a board restarts, and its serial port may vanish and come back


@dataclass(frozen=True)
class Piece:
    """Something in the board's memory: bytes, CRC-32 as on this computer and as the board told it (None: not asked)."""

    name: str
    bytes: int
    crc: int
    told: int | None


@dataclass(frozen=True)
class Asked:
    """What a board answered: the proof of what its memory holds, and whether it met the known answer of its image (False: it
    was not asked for that)."""

    proof: Proof | None = None
    known: bool = False


@dataclass(frozen=True)
class FlashResult:
    """A finished upload.

    `port` is where the firmware answers ("" when that is not known), `process` the emulator that was left running,
    `same_elf` whether PlatformIO's ELF is the build's own (None where the build has none: it was not compiled here),
    `checked` whether the board itself was asked, `asked` what it said then. `model_sha256`: of the written
    weights, hex. `weights_only`: the firmware was left as it is; `elf` is then the build's, None where it has none.
    """

    board: Board
    environment: str
    port: str
    process: int | None
    elf: Path | None
    same_elf: bool | None
    checked: bool
    pieces: tuple[Piece, ...]
    seconds: float
    model_sha256: str
    asked: Asked = Asked()
    weights_only: bool = False


def choose_board(build: Build, name: str | None = None) -> tuple[Board, BoardArtifact]:
    """The board to flash, by default the build's target, and the build's firmware for it.

    Raises:
        UsageError: the build has no firmware for it, or it is this computer.
    """
    known = [n for n in build.boards if n != "host"]
    name = name or build.target
    if name not in known:
        why = "this computer needs no flashing" if name == "host" else f"it has {', '.join(known) or 'none for a board'}"
        raise UsageError(
            f"the build has nothing to flash for {name}",
            where=str(build.path),
            why=why,
            next=f"Build for a board, or name one with {argument('board')}",
        )
    return build.board(name), build.boards[name]


def flashing(build: Build) -> Package:
    """The format of a build that puts its firmware on a board: the last one that can, or one that says why it cannot.

    Raises:
        InputError: the build has a format that is not installed here.
    """
    made = [package_named(name, str(build.path)) for name in reversed(build.packages)]
    return next((package for package in made if package.uploads), made[0])


def flash(build: Build, board: str | None = None, *, port: str = "", disk: str = "", stock: bool = False,
          firmware_only: bool = False, echo: Callable[[str], None] = lambda line: None) -> FlashResult:  # fmt: skip
    """Upload a build's firmware and what lies apart from it, and check on the board that it is there.

    An emulated board is left running with its UART on `port`; `stop` ends it.

    Args:
        board: of the build's boards; its target when None.
        port: where the firmware will answer: a serial port, found by its USB ids when empty; for an emulated board
            socket://127.0.0.1:NUMBER (the project's default when empty) or pty.
        disk: folder of the boot loader's or probe's disk, where there is one; found by itself when empty.
        stock: use PlatformIO's own platform and uploader, where the build is its project.
        firmware_only: leave weights and tables in external flash as they are.
        echo: told each line that the uploader says.

    Raises:
        UntrustedBuildError: this user did not build it here, and has not said that it may be run.
        InputError, UsageError, ToolchainError. DeviceUnreachableError: nothing answers after the upload.
        MismatchError: what answers is not this build, or its memory does not hold what was written, by the sha256 that it
            computes.
    """
    started = time.monotonic()
    package, options = flashing(build), UploadOptions(port, disk, stock, firmware_only, echo)
    if not package.uploads:  # it says what to do instead
        package.upload(build, build.board(build.target), options)
    build.may_run("its project's scripts would be run and its sources compiled")
    chosen, artifact = choose_board(build, board)
    done = package.upload(build, chosen, options)
    port = done.port or wire_port(chosen)
    checked = bool(port)
    try:
        asked = ask(build, chosen, artifact, port) if checked else Asked()
    except RecurcError:
        if done.process is not None:
            package.stop(build, chosen, port)
        raise
    told = {} if asked.proof is None else {piece.name: piece.crc for piece in asked.proof.pieces}
    pieces = tuple(Piece(name, *sums(path)[:2], told.get(name)) for name, path in memory_files(build, chosen, artifact).items())
    same = None if artifact.elf is None else file_sha256(done.elf) == file_sha256(artifact.elf)
    return FlashResult(
        chosen, done.environment, port, done.process, done.elf, same, checked, pieces, time.monotonic() - started,
        artifact.model_sha256, asked,
    )  # fmt: skip


def stop(build: Build, port: str = "", board: str | None = None) -> bool:
    """End the emulated board that `flash` left on a port; whether there was one.

    Raises:
        UsageError: the board is not emulated.
    """
    chosen, _ = choose_board(build, board)
    return flashing(build).stop(build, chosen, port)


def wire_port(board: Board) -> str:
    """The board's serial port by its USB identity, when exactly one can be meant; else ""."""
    found = [p.device for p in list_ports() if boards_of(p, [board])]
    return found[0] if len(found) == 1 else ""


def ask(build: Build, board: Board, artifact: BoardArtifact, port: str) -> Asked:
    """Ask the board for its identity, and let it prove what its memory holds, and that its program computes right.

    Raises:
        DeviceUnreachableError: it does not answer. MismatchError: it is another build's, holds other bytes, or computes other
            results.
    """
    with _session(board, port) as session:
        check_identity(session.hello(), artifact)
        session.expect(expected_hello(build, board, artifact))
        proof = prove(session, build, board, artifact)
        return Asked(proof, meet_known(session, build, board, artifact.image))


def _session(board: Board, port: str) -> DeviceSession:
    """A session with a board that may still be starting."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            session = DeviceSession(open_transport(port, board.uart.baud or 115200), timeout=2.0)
            try:
                session.hello()
                return session
            except BaseException:
                session.close()
                raise
        except DeviceUnreachableError as e:
            if time.monotonic() > deadline:
                raise DeviceUnreachableError(
                    "the upload went through, and the firmware does not answer", where=f"{board.name} on {port}", why=e.why,
                    next="Check that the port is the board's wire: " + (board.uart.note or "`recurc boards show` tells it"),
                ) from e  # fmt: skip
            time.sleep(0.1)


__all__ = ["FlashResult", "Piece", "choose_board", "flash", "flashing", "stop"]
