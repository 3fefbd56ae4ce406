"""Build folders: sources, images and firmware for a target, its emulated twin and this computer."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from recurc import __version__
from recurc.build.folder import check_output, fresh_folder
from recurc.build.listing import TABLE_FILE
from recurc.build.manifest import BOARD_FILE, PROJECT, Build, load_build, table_entry, write_manifest
from recurc.build.trust import remember
from recurc.emit.code import firmware_name
from recurc.emit.runtime import copy_runtime
from recurc.errors import InputError
from recurc.make.host import compile_engine_parts, compile_host_engine, host_library, host_program, host_sources
from recurc.package.base import NOTHING, OWN_FOLDERS, Asked, Made, Package, Work
from recurc.package.firmware import early_plans, linked_entry
from recurc.package.registry import packages_of
from recurc.quant.model import QuantizedModel
from recurc.resources import resource_dir
from recurc.storage.known import KnownAnswer
from recurc.targets.boards import COMPILED, Board, load_board, whole_board_text
from recurc.targets.host import cpu_signature

Note = Callable[[str], None]
HOSTED = (COMPILED, "library")  # formats that write for this computer


def _keep_board(board: Board, folder: Path) -> None:
    """The board's file, whole: `verify` must know a board that is not bundled, or that another recurc has otherwise."""
    if board.path is not None:
        folder.mkdir(exist_ok=True)
        (folder / BOARD_FILE).write_text(whole_board_text(board.path), encoding="utf-8")


def _check_folders(board: Board, delivered: Sequence[Package]) -> None:
    """That a board's name and its formats' folders can be folders of one build, beside the build's own.

    Raises:
        InputError: they cannot, or a format would write for this computer.
    """
    where, names = str(board.path or board.name), [package.name for package in delivered]
    if board.family == "host" and (board.name != "host" or not set(names) <= set(HOSTED)):
        raise InputError(
            'family = "host" is this computer and no board to build for', where=where,
            why=f"every build has its program, and of the package formats only {' and '.join(HOSTED)} write for it",
            next="Build for the board host; for C that runs elsewhere, give a board file of another family its memory",
        )  # fmt: skip
    folders = [package.folder for package in delivered if package.folder]
    taken = {*OWN_FOLDERS, PROJECT, *folders} - ({"host"} if board.family == "host" else set())
    if board.name in taken or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]*", board.name):
        raise InputError(
            "the board's name cannot be used", where=where,
            why=f"{board.name!r} names a folder of the build, so it is one word and none of {', '.join(sorted(taken))}",
            next="Rename the board",
        )  # fmt: skip
    if len(set(folders)) != len(folders):
        raise InputError(
            "two package formats write into one folder of the build", where=where,
            why=", ".join(f"{package.name} into {package.folder}" for package in delivered if package.folder),
            next="Leave one of them out of `packages`",
        )  # fmt: skip


def build_project(
    model: QuantizedModel,
    target: Board,
    out: Path,
    *,
    details: Mapping[str, Any],
    note: Note = lambda text: None,
    known: Callable[[], KnownAnswer | None] = lambda: None,
    engine: Path | None = None,
    asked: Asked = NOTHING,
) -> Build:
    """Build firmware for a board, its emulated twin and this computer into the folder `out`.

    Nothing is left half-written: the folder appears whole, or not at all. What lies in it beside an older build stays there.

    Args:
        details: entries for the manifest (fidelity, calibration, checkpoint).
        note: told what is being done, for people.
        known: computes what images hold for programs to test themselves; asked once the folder can be written.
        engine: folder in which `compile_host_engine` may have compiled this very model already.
        asked: what the formats that it is delivered in are to do beyond the board.

    Raises:
        DoesNotFitError, ToolchainError, InputError, UsageError.
    """
    out = Path(os.path.abspath(out))
    delivered = packages_of(target)
    _check_folders(target, delivered)
    if target.family != "host":
        early_plans(model.program, model.forms, target)  # before anything is written
    for package in delivered:
        package.check(target)
    kept: list[str] = []
    with fresh_folder(out, model.name, note, kept.extend) as folder:
        model = replace(model, known=known())
        runtime = folder / "runtime"
        copy_runtime(resource_dir("runtime_c"), runtime)
        if model.puzzles:
            note(f"writing the puzzle table, {model.puzzles.file_bytes:,} bytes ...")
            (folder / TABLE_FILE).parent.mkdir()
            model.puzzles.write(folder / TABLE_FILE)
        work = Work(folder, runtime, model, target, note, asked)
        host = host_sources(folder / "host" / "src", model)
        made = Made(host, (), {}) if target.family == "host" else None
        for package in delivered:
            if target.family != "host" or package.name != COMPILED:  # this computer's program every build has
                made = package.write(work, made)
        note("compiling the host engine ...")
        here = load_board("host")
        entries = dict(made.entries if made else {})
        entries["host"] = linked_entry(work, host, host_program(folder / "host", here, host, runtime))
        library = host_library(folder / "host", host, runtime, engine)
        for board in (*(f.board for f in (made.firmware if made else ())), here):
            _keep_board(board, folder / board.name)
        main = made.sources if made else host
        digest = write_manifest(
            folder,
            {
                "recurc": __version__,
                "name": model.name,
                "target": target.name,
                "twin": target.twin,
                "packages": {package.name: package.folder for package in delivered},
                "precision": model.precision.name,
                "layers": {name: p.name for name, p in model.layers.items()},
                "method": model.method,
                "label": model.label,
                **model.program.lowering.manifest(),
                "boards": entries,
                "firmware_name": firmware_name(model),
                "image_bytes": len(main.image.data),
                "arena_bytes": main.arena_bytes,
                "host_cpu": cpu_signature(),
                "host_library": str(library.relative_to(folder)),
                "host_image": "host/src/model.rcm",
                "table": table_entry(model.puzzles.header) if model.puzzles else None,
                **details,
            },
            model.config,
        )
    remember(digest, out)
    return replace(load_build(out, trust=True), kept=tuple(kept))


__all__ = ["build_project", "check_output", "compile_engine_parts", "compile_host_engine"]
