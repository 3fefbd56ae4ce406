"""Other weights for a firmware that is on its board: only the image is written, where the board's tool can write an address."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from recurc.arguments import argument
from recurc.build.manifest import Build
from recurc.emit.image import architecture_in, check_image
from recurc.emit.readback import IMAGE_LIMIT
from recurc.errors import InputError, ToolchainError, UsageError
from recurc.flash.run import Asked, FlashResult, Piece, ask, choose_board, wire_port
from recurc.reading import Unreadable, not_read, read_regular
from recurc.targets.boards import Board
from recurc.verify.proof import IMAGE, sums

_SHA256 = slice(40, 72)  # of its bytes, in an image's header


def write_weights(build: Build, image: Path, board: str | None = None, *, port: str = "",
                  echo: Callable[[str], None] = lambda line: None) -> FlashResult:  # fmt: skip
    """Write a weights image that `recurc build --update-of` made to a board that runs the build's firmware, and check it there.

    Args:
        image: of the same architecture as the build's own.
        board, port, echo: as `flash` takes them. Nothing of the build is run.

    Raises:
        InputError: the image cannot be read, is damaged, or is not for this firmware. UsageError: the board's way of being
        flashed writes no address. ToolchainError: its tool is missing or fails. DeviceUnreachableError: nothing answers
        after the upload. MismatchError: what answers is another build, or holds other weights.
    """
    started = time.monotonic()
    chosen, artifact = choose_board(build, board)
    data = _checked(build, image, artifact.image)
    words = command_for(chosen, build.details["boards"][chosen.name], image)
    echo(" ".join(words))
    _run(words, echo)
    given = replace(artifact, image=image, model_sha256=data[_SHA256].hex())
    port = port or wire_port(chosen)
    asked = ask(build, chosen, given, port) if port else Asked()
    told = asked.proof.pieces[0].crc if asked.proof else None
    pieces = (Piece(IMAGE, *sums(image)[:2], told),)
    return FlashResult(
        chosen, words[0], port, None, artifact.elf, None, bool(port), pieces, time.monotonic() - started, given.model_sha256,
        asked, True,
    )  # fmt: skip


def _checked(build: Build, image: Path, own: Path) -> bytes:
    """The image, once it is sure that the firmware takes it."""
    try:
        data, known = (read_regular(path, IMAGE_LIMIT) for path in (image, own))
    except Unreadable as error:
        raise not_read(error, image, "the weights image", "the weights image is not usable", "Make it again") from None
    check_image(data, str(image))
    if len(data) != len(known) or architecture_in(data) != architecture_in(known):
        raise InputError(
            "the weights image is not for this firmware", where=str(image),
            why=f"its architecture is {architecture_in(data).hex()[:16]}… in {len(data):,} bytes, the firmware takes "
            f"{architecture_in(known).hex()[:16]}… in {len(known):,}",
            next=f"Make one for the build, with {argument('update_of', str(build.path))}",
        )  # fmt: skip
    if build.table is not None:
        raise InputError(
            "the weights image would be without its puzzle table", where=str(image),
            why="an image takes no other table than its own, and the device has the build's",
            next="Build from the new checkpoint, and flash that",
        )  # fmt: skip
    return data


def command_for(board: Board, entry: Mapping[str, Any], image: Path) -> list[str]:
    """The command that writes an image to where a board's firmware has it.

    Args:
        entry: what the manifest says of the board's firmware.

    Raises:
        UsageError: there is none; says why.
    """
    regions = (entry.get("plan") or {}).get("regions", ())
    found = next((r for r in regions if "weights" in r["parts"]), None)
    route, cure = board.flash, "Build from the new checkpoint, and flash that"
    if board.emulator is not None:
        why = "an emulated board keeps nothing: it starts with what its ELF holds"
    elif found is None:
        why = "the build does not say where they lie"
    elif "code" in found["parts"]:
        how = "a disk" if route and route.disk else route.command[0] if route and route.command else "your tool"
        why = f"they lie in {found['name']} with the code, which {how} writes as a whole"
        cure += "; a program of your own can keep two images apart from its code (rc_choose)"
    else:
        address = min(p["address"] for p in found["pieces"])
        if route and route.external:
            values = {"file": str(image.absolute()), "address": f"{address:#x}"}
            return [_variable(word) if word.startswith("$") else word.format(**values) for word in route.external]
        why = f"no tool is known here that writes {found['name']}"
        cure = f"Write {image} to {address:#x} with your own tool"
    where = argument("image", str(image), option="weights-only")
    raise UsageError(f"weights alone cannot be written to {board.name}", where=where, why=why, next=cure)


def _variable(word: str) -> str:
    """What the user's environment gives for a word of a tool's command."""
    name = word[1:]
    if name not in os.environ:
        raise ToolchainError("the board's tool lacks a word", where=name, why="the variable is not set", next=f"Set {name}")
    return os.environ[name]


def _run(words: list[str], echo: Callable[[str], None]) -> None:
    try:
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
    except OSError as e:
        raise ToolchainError(
            "the board's tool cannot be run", where=words[0], why=e.strerror or str(e), next="Install it; the whole command is "
            + " ".join(words),
        ) from e  # fmt: skip
    said = (done.stdout + done.stderr).splitlines()
    for line in said:
        echo(line)
    if done.returncode:
        raise ToolchainError(
            "the board's tool failed", where=words[0],
            why=f"status {done.returncode}: {said[-1] if said else 'it said nothing'}",
            next="The whole command is " + " ".join(words),
        )  # fmt: skip


__all__ = ["command_for", "write_weights"]
