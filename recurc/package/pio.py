"""Uploads through PlatformIO, of whatever project a build has for it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from recurc.arguments import argument
from recurc.build.inside import files_below
from recurc.build.manifest import PROJECT, Build
from recurc.errors import InputError, RecurcError, UsageError
from recurc.package.base import Upload, UploadOptions
from recurc.resources import resource_dir
from recurc.targets.boards import Board
from recurc.targets.platformio import Environment, environment, run

# The platform's own: in the project's folder they would hide stock boards of the same name.
PLATFORM = "pio/platform-recurc"
BOARDS = f"{PLATFORM}/boards"
TABLE_COPY = "data/puzzles.rct"
_CACHE = ".pio"  # PlatformIO's, with compiled objects and packages
_EMULATED = re.compile(r"emulated board on (\S+) \(process (\d+)\)")


def environment_name(board: str) -> str:
    """A board's name as PlatformIO takes it for an environment."""
    return re.sub(r"[^A-Za-z0-9_-]", "-", board)


def choose_environment(build: Build, board: Board, stock: bool = False) -> Environment:
    """The environment of the build's project that uploads to a board.

    Raises:
        InputError: the build has no project. UsageError: no stock platform is known for the board.
    """
    name = environment_name(board.name) + ("-stock" if stock else "")
    return environment(build.path / PROJECT, name)


def upload(build: Build, board: Board, options: UploadOptions) -> Upload:
    """Let PlatformIO compile a build's project and upload it.

    Raises:
        InputError: the build has no project, or it has files that are not the build's. UsageError: an option does not fit the
            board. ToolchainError: PlatformIO is missing or fails.
    """
    env = choose_environment(build, board, options.stock)
    emulated = board.emulator is not None
    if options.disk and (emulated or not (board.flash and board.flash.disk)):
        raise UsageError(
            f"{board.name} shows no disk", where=argument("disk"), why="it is flashed in another way", next="Leave it out"
        )
    if options.stock and not options.firmware_only and (lying := apart(board, env)):
        raise UsageError(
            "PlatformIO's own uploader writes the firmware only", where=argument("stock", True),
            why=f"{', '.join(lying)} would be missing on the board",
            next=f"Add {argument('firmware_only', True)}, or leave {argument('stock')} out",
        )  # fmt: skip
    upload_port = (options.port or env.options.get("upload_port", "")) if emulated else options.disk
    variables = {"RECURC_UPLOAD": "firmware" if options.firmware_only else "all"}
    with only_listed(build):
        said = run(env, "upload", port=upload_port, variables=variables, echo=options.echo)
    if not emulated:
        return Upload(env.name, env.elf, options.port)
    found = _EMULATED.search(said)
    if found is None:
        raise RecurcError("the upload does not say where the emulated board is", where=env.name)
    return Upload(env.name, env.elf, found[1], int(found[2]))


def stop(build: Build, board: Board, port: str) -> bool:
    """End the emulated board that `upload` left on a port; whether there was one. Raises UsageError."""
    if board.emulator is None:
        raise UsageError(f"{board.name} is no emulated board", where=argument("stop", True), why="there is no process to end")
    port = port or choose_environment(build, board).options["upload_port"]
    script = resource_dir("templates") / "platformio" / "upload.py"  # ours: ending an emulator runs nothing of the build's
    done = subprocess.run([sys.executable, str(script), "--stop", port], capture_output=True, text=True)
    if done.returncode:
        raise UsageError("the emulated board cannot be ended", where=port, why=done.stderr.strip().removeprefix("Error: "))
    return done.stdout.strip() == "stopped"


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


def apart(board: Board, env: Environment) -> list[str]:
    """Files of a project that lie in the board's memory apart from the firmware."""
    recipe = json.loads((env.project / BOARDS / f"{environment_name(board.name)}.json").read_text())["recurc"]
    return [file["file"] for file in recipe.get("apart", ())]
