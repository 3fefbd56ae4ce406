"""Flashes a build through PlatformIO, then asks the board who it is and lets it prove that it holds what was written."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from recurc.arguments import argument
from recurc.build.inside import files_below
from recurc.build.manifest import PROJECT, BoardArtifact, Build, file_sha256
from recurc.device.session import DeviceSession
from recurc.device.transports import open_transport
from recurc.doctor.ports import boards_of, list_ports
from recurc.errors import DeviceUnreachableError, InputError, RecurcError, UsageError
from recurc.package.platformio import BOARDS, environment_name
from recurc.resources import resource_dir
from recurc.targets.boards import Board
from recurc.targets.platformio import Environment, environment, run
from recurc.verify.identity import expected_hello
from recurc.verify.proof import Proof, memory_files, prove, sums
from recurc.verify.run import check_identity

START_SECONDS = 10.0  # a board restarts, and its serial port may vanish and come back
_CACHE = ".pio"  # PlatformIO's, with compiled objects and packages
_EMULATED = re.compile(r"emulated board on (\S+) \(process (\d+)\)")


@dataclass(frozen=True)
class Piece:
    """Something in the board's memory: bytes, CRC-32 as on this computer and as the board told it (None: not asked)."""

    name: str
    bytes: int
    crc: int
    told: int | None


@dataclass(frozen=True)
class FlashResult:
    """A finished upload.

    `port` is where the firmware answers ("" when that is not known), `process` the emulator that was left running,
    `same_elf` whether PlatformIO's ELF is the build's own (None where the build has none: it was not compiled here),
    `checked` whether the board itself was asked, `proof` what it proved then.
    """

    board: Board
    environment: str
    port: str
    process: int | None
    elf: Path
    same_elf: bool | None
    checked: bool
    pieces: tuple[Piece, ...]
    seconds: float
    proof: Proof | None = None


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


def choose_environment(build: Build, board: Board, stock: bool = False) -> Environment:
    """The environment of the build's project that uploads to a board.

    Raises:
        InputError: the build has no project. UsageError: no stock platform is known for the board.
    """
    name = environment_name(board.name) + ("-stock" if stock else "")
    return environment(build.path / PROJECT, name)


def flash(build: Build, board: str | None = None, *, port: str = "", disk: str = "", stock: bool = False,
          firmware_only: bool = False, echo: Callable[[str], None] = lambda line: None) -> FlashResult:  # fmt: skip
    """Upload a build's firmware and what lies apart from it, and check on the board that it is there.

    An emulated board is left running with its UART on `port`; `stop` ends it.

    Args:
        board: of the build's boards; its target when None.
        port: where the firmware will answer: a serial port, found by its USB ids when empty; for an emulated board
            socket://127.0.0.1:NUMBER (the project's default when empty) or pty.
        disk: folder of the boot loader's or probe's disk, where there is one; found by itself when empty.
        stock: use PlatformIO's own platform and uploader.
        firmware_only: leave weights and tables in external flash as they are.
        echo: told each line that PlatformIO says.

    Raises:
        UntrustedBuildError: this user did not build it here, and has not said that it may be run.
        InputError, UsageError, ToolchainError. DeviceUnreachableError: nothing answers after the upload.
        MismatchError: what answers is not this build, or its memory does not hold what was written, by the sha256 that it
            computes.
    """
    started = time.monotonic()
    build.may_run("its project's scripts would be run and its sources compiled")
    chosen, artifact = choose_board(build, board)
    env = choose_environment(build, chosen, stock and not chosen.written)  # a written project has no other platform
    emulated = chosen.emulator is not None
    if disk and (emulated or not (chosen.flash and chosen.flash.disk)):
        raise UsageError(
            f"{chosen.name} shows no disk", where=argument("disk"), why="it is flashed in another way", next="Leave it out"
        )
    if stock and not chosen.written and not firmware_only and (lying := apart(chosen, env)):
        raise UsageError(
            "PlatformIO's own uploader writes the firmware only", where=argument("stock", True),
            why=f"{', '.join(lying)} would be missing on the board",
            next=f"Add {argument('firmware_only', True)}, or leave {argument('stock')} out",
        )  # fmt: skip
    upload_port = (port or env.options.get("upload_port", "")) if emulated else disk
    variables = {"RECURC_UPLOAD": "firmware" if firmware_only else "all"}
    with only_listed(build):
        said = run(env, "upload", port=upload_port, variables=variables, echo=echo)
    process = None
    if emulated:
        found = _EMULATED.search(said)
        if found is None:
            raise RecurcError("the upload does not say where the emulated board is", where=env.name)
        port, process = found[1], int(found[2])
    port = port or wire_port(chosen)
    checked = bool(port)
    try:
        proof = _ask(build, chosen, artifact, port) if checked else None
    except RecurcError:
        if emulated:
            stop(build, port, chosen.name)
        raise
    told = {} if proof is None else {piece.name: piece.crc for piece in proof.pieces}
    pieces = tuple(Piece(name, *sums(path)[:2], told.get(name)) for name, path in memory_files(build, chosen, artifact).items())
    same = None if artifact.elf is None else file_sha256(env.elf) == file_sha256(artifact.elf)
    return FlashResult(chosen, env.name, port, process, env.elf, same, checked, pieces, time.monotonic() - started, proof)


@contextmanager
def only_listed(build: Build) -> Iterator[None]:
    """PlatformIO sees the build's own files and no others: not what an earlier run, or whoever sent the folder, left there.

    Its cache is removed before; what it leaves beside the sources is removed afterwards.

    Raises:
        InputError: something else lies in the project, which it would use.
    """
    project, cache = build.path / PROJECT, build.path / PROJECT / _CACHE

    def others() -> set[str]:
        known = build.details["files"]
        return {n for n in files_below(project) if f"{PROJECT}/{n}" not in known and not n.startswith(_CACHE + "/")}

    try:
        found = sorted(others())
    except OSError as e:
        raise InputError(
            "the project's folder cannot be listed",
            where=str(e.filename or project),
            why=e.strerror or str(e),
            next="Check your permissions and its disk, then try again",
        ) from None
    if found:
        raise InputError(
            "the project has a file that the build did not make",
            where=str(project / found[0]),
            why="PlatformIO would use it, and the firmware would be another one",
            next="Remove it",
        )
    try:
        if cache.is_dir():
            shutil.rmtree(cache)
    except OSError as e:
        raise InputError(
            "the project's folder cannot be written",
            where=str(e.filename or project),
            why=e.strerror or str(e),
            next="Copy the build to a folder that you may write",
        ) from e
    try:
        yield
    finally:
        for name in others():
            with suppress(OSError):
                (project / name).unlink()


def stop(build: Build, port: str = "", board: str | None = None) -> bool:
    """End the emulated board that `flash` left on a port; whether there was one.

    Raises:
        UsageError: the board is not emulated.
    """
    chosen, _ = choose_board(build, board)
    if chosen.emulator is None:
        raise UsageError(f"{chosen.name} is no emulated board", where=argument("stop", True), why="there is no process to end")
    port = port or choose_environment(build, chosen).options["upload_port"]
    script = resource_dir("templates") / "platformio" / "upload.py"  # ours: ending an emulator runs nothing of the build's
    done = subprocess.run([sys.executable, str(script), "--stop", port], capture_output=True, text=True)
    if done.returncode:
        raise UsageError("the emulated board cannot be ended", where=port, why=done.stderr.strip().removeprefix("Error: "))
    return done.stdout.strip() == "stopped"


def apart(board: Board, env: Environment) -> list[str]:
    """Files of a project that lie in the board's memory apart from the firmware."""
    recipe = json.loads((env.project / BOARDS / f"{environment_name(board.name)}.json").read_text())["recurc"]
    return [file["file"] for file in recipe.get("apart", ())]


def wire_port(board: Board) -> str:
    """The board's serial port by its USB identity, when exactly one can be meant; else ""."""
    found = [p.device for p in list_ports() if boards_of(p, [board])]
    return found[0] if len(found) == 1 else ""


def _ask(build: Build, board: Board, artifact: BoardArtifact, port: str) -> Proof:
    """Ask the board for its identity, and let it prove what its memory holds.

    Raises:
        DeviceUnreachableError: it does not answer. MismatchError: it is another build's, or holds other bytes.
    """
    with _session(board, port) as session:
        check_identity(session.hello(), artifact)
        session.expect(expected_hello(build, board, artifact))
        return prove(session, build, board, artifact)


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


__all__ = ["FlashResult", "Piece", "choose_board", "choose_environment", "flash", "stop"]
