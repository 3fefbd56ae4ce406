"""Build folders: sources, images and firmware for a target, its emulated twin and this computer."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from recurc import __version__
from recurc.build.folder import check_output, fresh_folder
from recurc.build.manifest import BOARD_FILE, TABLE_FILE, Build, load_build, table_entry, write_manifest
from recurc.build.trust import remember
from recurc.emit.code import emit_model, firmware_name
from recurc.emit.image import Image, build_image
from recurc.emit.linker import render_main
from recurc.errors import InputError
from recurc.files import put
from recurc.ir.program import Program
from recurc.package.espidf import write_espidf
from recurc.package.firmware import (
    ArenaTooLargeError,
    Firmware,
    Sources,
    compile_firmware_for,
    engine_files,
    firmware_id,
    plan_entry,
    summary_entry,
)
from recurc.package.platformio import BoardFirmware, write_platformio
from recurc.plan.kernels import KernelSet, choose_kernels, kernel_set
from recurc.plan.layout import Layout, make_layout
from recurc.plan.planner import MemoryPlan, make_plan
from recurc.quant.model import QuantizedModel
from recurc.resources import resource_dir
from recurc.storage.form import Forms
from recurc.targets.boards import Board, load_board, whole_board_text
from recurc.targets.fit import early_plan, refusal
from recurc.targets.host import HostEngine, cpu_signature
from recurc.targets.toolchain import (
    check_buildable,
    compile_firmware,
    compile_shared,
    port_include_dirs,
    runtime_sources,
    shared_objects,
)

HOST_SCRATCH = 256 * 1024  # tiles that stay in a core's second-level cache, beside the weights that pass by
LIBRARY, _LIBRARY_DIGEST = "librecurc.so", "sources.sha256"
Note = Callable[[str], None]


def _write_sources(folder: Path, model: QuantizedModel, image: Image, kernels: KernelSet, layout: Layout) -> Sources:
    folder.mkdir(parents=True, exist_ok=True)
    files = emit_model(model, image, kernels, layout)
    digest = hashlib.sha256(image.data)
    for name, text in files.items():
        put(folder / name, text)
        digest.update(text.encode())
    put(folder / "model.rcm", image.data)
    return Sources(folder, kernels, image, layout.arena_bytes, digest.hexdigest())


def _copy_runtime(folder: Path) -> Path:
    shutil.copytree(resource_dir("runtime_c"), folder, ignore=shutil.ignore_patterns("*.md", "CMakeLists.txt", "tests"))
    return folder


def _host_sources(folder: Path, model: QuantizedModel) -> Sources:
    kernels = kernel_set("host")
    image = build_image(model, kernels)
    layout = make_layout(model.program, model.forms, kernels, HOST_SCRATCH)
    return _write_sources(folder, model, image, kernels, layout)


def _host_library(folder: Path, sources: Sources, runtime: Path, compiled: Path | None) -> Path:
    """The host engine's library in `folder`: the one in folder `compiled` when it was made of the same sources."""
    library = folder / LIBRARY
    if compiled is not None and (compiled / _LIBRARY_DIGEST).read_text() == sources.digest:
        shutil.copyfile(compiled / LIBRARY, library)
        shutil.copymode(compiled / LIBRARY, library)
        return library
    compile_shared(sources.model_files(runtime), [sources.folder, runtime / "include"], library)
    shutil.rmtree(folder / (LIBRARY + ".obj"), ignore_errors=True)
    return library


def compile_engine_parts(folder: Path) -> tuple[Path, ...]:
    """Compile what all host engines share into objects in `folder`.

    Raises:
        ToolchainError: no host compiler.
    """
    runtime = resource_dir("runtime_c")
    return tuple(shared_objects(engine_files(kernel_set("host"), runtime), [runtime / "include"], folder))


def compile_host_engine(folder: Path, model: QuantizedModel, parts: Sequence[Path] = ()) -> HostEngine:
    """Emit and compile the host engine of a model into `folder`.

    Args:
        parts: what `compile_engine_parts` gave, where several engines are compiled.

    Raises:
        ToolchainError: no host compiler.
    """
    sources = _host_sources(folder / "src", model)
    runtime = resource_dir("runtime_c")
    files = [sources.folder / "model.c"] if parts else sources.model_files(runtime)
    library = compile_shared(files, [sources.folder, runtime / "include"], folder / LIBRARY, objects=parts)
    put(folder / _LIBRARY_DIGEST, sources.digest)
    return HostEngine(library, sources.folder / "model.rcm", model.puzzles.record if model.puzzles else None)


def _keep_board(path: Path, folder: Path) -> None:
    """The board's file, whole: `verify` must know a board that is not bundled, or that another recurc has otherwise."""
    (folder / BOARD_FILE).write_text(whole_board_text(path), encoding="utf-8")


def _firmware(
    folder: Path, board: Board, sources: Sources, runtime: Path, plan: MemoryPlan | None
) -> tuple[Firmware, dict[str, Any]]:
    """Compile one board's firmware; returns it with its manifest entry (paths relative to the build folder)."""
    board_folder = folder / board.name
    if plan is None:
        firmware = _host_program(board_folder, board, sources, runtime)
    else:
        firmware = compile_firmware_for(board_folder, board, sources, runtime, plan)
    if board.path is not None:
        _keep_board(board.path, board_folder)
    return firmware, {"elf": str(firmware.elf.relative_to(folder)), **_entry(folder, sources, firmware.build_id),
                      **plan_entry(firmware)}  # fmt: skip


def _entry(folder: Path, sources: Sources, identity: str) -> dict[str, Any]:
    """What the manifest says of any firmware, whoever compiles it."""
    return {"image": str((sources.folder / "model.rcm").relative_to(folder)), "model_sha256": sources.image.sha256,
            "build_id": identity, "kernels": sources.kernels.name, "arena_bytes": sources.arena_bytes}  # fmt: skip


def _written(
    folder: Path, model: QuantizedModel, board: Board, runtime: Path, details: Mapping[str, Any]
) -> tuple[dict[str, Any], Sources]:
    """The project of a board that only its SDK compiles; its manifest entry, without an ELF, and its sources.

    Raises:
        DoesNotFitError: it does not fit with the estimate of its code, which nothing measures here.
    """
    kernels = choose_kernels(board.features)
    plan = make_plan(model.program, model.forms, board, kernels)
    if not plan.fits:
        raise refusal(plan, board)
    sources = _write_sources(folder / "src", model, build_image(model, kernels), kernels, plan.layout)
    firmware = write_espidf(folder, board, sources, runtime, plan, details)
    if board.path is not None:
        (folder / board.name).mkdir()
        _keep_board(board.path, folder / board.name)
    return {board.name: {"elf": None, **_entry(folder, sources, firmware.build_id), **summary_entry(plan)}}, sources


def _host_program(folder: Path, board: Board, sources: Sources, runtime: Path) -> Firmware:
    """The firmware as a process of this computer."""
    folder.mkdir(parents=True, exist_ok=True)
    identity = firmware_id(board, sources, runtime)
    main = folder / "main.c"
    put(main, render_main(identity))
    files = [main, *sources.model_files(runtime), sources.folder / "weights.S", *runtime_sources(board, runtime)]
    includes = [sources.folder, *port_include_dirs(board, runtime)]
    elf = compile_firmware(board, list(dict.fromkeys(files)), includes, {}, None, folder)
    shutil.rmtree(folder / "obj", ignore_errors=True)
    return Firmware(elf, identity, None)


def _check_name(board: Board) -> None:
    """That a board's name can be a folder in a build beside the build's own.

    Raises:
        InputError: it cannot.
    """
    taken = board.name in ("src", "runtime", "tables", "project") or (board.name == "host") != (board.family == "host")
    if taken or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]*", board.name):
        raise InputError(
            "the board's name cannot be used",
            where=str(board.path),
            why=f"{board.name!r} names a folder of the "
            "build, so it is one word and none of src, runtime, tables, project, host",
            next="Rename the board",
        )


def _plans(program: Program, forms: Forms, target: Board, layout: Layout | None = None) -> list[tuple[Board, MemoryPlan]]:
    """Plans of the target and of its emulated twin, which runs the very code of its board.

    Raises:
        DoesNotFitError: one of them cannot fit.
    """
    if target.family == "host":
        return []
    plan = early_plan(program, forms, target, choose_kernels(target.features), layout)
    twin = load_board(target.twin) if target.twin else None
    return [(target, plan), *([(twin, early_plan(program, forms, twin, plan.kernels, plan.layout))] if twin else [])]


def _board_firmware(
    folder: Path, model: QuantizedModel, target: Board, runtime: Path, note: Note
) -> tuple[dict[str, Any], Sources | None, list[BoardFirmware]]:
    """Manifest entries of the target's and its twin's firmware, their common sources, and the firmware itself.

    When the measured code leaves less room than the estimate said, all starts over with smaller tiles.
    """
    layout: Layout | None = None
    for _ in range(4):
        boards = _plans(model.program, model.forms, target, layout)
        if not boards:
            return {}, None, []
        plan = boards[0][1]
        image = build_image(model, plan.kernels)
        sources = _write_sources(folder / "src", model, image, plan.kernels, plan.layout)
        entries: dict[str, Any] = {}
        made: list[BoardFirmware] = []
        try:
            for board, board_plan in boards:
                note(f"compiling for {board.name} ...")
                firmware, entries[board.name] = _firmware(folder, board, sources, runtime, board_plan)
                made.append(BoardFirmware(board, firmware.plan or board_plan, firmware.build_id))
            return entries, sources, made
        except ArenaTooLargeError as e:
            layout = e.plan.layout
    raise AssertionError("tiles do not settle")


def build_project(
    model: QuantizedModel,
    target: Board,
    out: Path,
    *,
    details: Mapping[str, Any],
    note: Note = lambda text: None,
    engine: Path | None = None,
) -> Build:
    """Build firmware for a board, its emulated twin and this computer into the folder `out`.

    Nothing is left half-written: the folder appears whole, or not at all. What lies in it beside an older build stays there.

    Args:
        details: entries for the manifest (fidelity, calibration, checkpoint).
        note: told what is being done, for people.
        engine: folder in which `compile_host_engine` has compiled this very model already.

    Raises:
        DoesNotFitError, ToolchainError, InputError, UsageError.
    """
    out = Path(os.path.abspath(out))
    _check_name(target)
    _plans(model.program, model.forms, target)  # before anything is written
    check_buildable(target)
    kept: list[str] = []
    with fresh_folder(out, model.name, note, kept.extend) as folder:
        runtime = _copy_runtime(folder / "runtime")
        if model.puzzles:
            note(f"writing the puzzle table, {model.puzzles.file_bytes:,} bytes ...")
            (folder / TABLE_FILE).parent.mkdir()
            model.puzzles.write(folder / TABLE_FILE)
        told = {"name": model.name, "precision": model.precision.name, "target": target.name}
        sources: Sources | None
        if target.written:
            note(f"writing the project for {target.name} ...")
            entries, sources = _written(folder, model, target, runtime, told)
        else:
            entries, sources, made = _board_firmware(folder, model, target, runtime, note)
            if sources:
                write_platformio(folder, sources, runtime, made, told)
        note("compiling the host engine ...")
        host = _host_sources(folder / "host" / "src", model)
        _, entries["host"] = _firmware(folder, load_board("host"), host, runtime, None)
        library = _host_library(folder / "host", host, runtime, engine)
        main = sources or host
        digest = write_manifest(
            folder,
            {
                "recurc": __version__,
                "name": model.name,
                "target": target.name,
                "twin": target.twin,
                "precision": model.precision.name,
                "layers": {name: p.name for name, p in model.layers.items()},
                "method": model.method,
                "label": model.label,
                "steps": model.program.steps,
                "h_cycles": model.program.h_cycles,
                "l_cycles": model.program.l_cycles,
                "carry": model.program.carry,
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
