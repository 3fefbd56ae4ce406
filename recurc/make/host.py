"""Engines of this computer: a shared library that Python drives, and the firmware as a process."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from recurc.emit.image import build_image
from recurc.emit.linker import render_main
from recurc.emit.sources import Sources, engine_files, firmware_id, write_sources
from recurc.files import put
from recurc.package.linking import Firmware
from recurc.plan.kernels import kernel_set
from recurc.plan.layout import make_layout
from recurc.quant.model import QuantizedModel
from recurc.resources import resource_dir
from recurc.targets.boards import Board
from recurc.targets.host import HostEngine
from recurc.targets.toolchain import compile_firmware, compile_shared, port_include_dirs, runtime_sources, shared_objects

HOST_SCRATCH = 256 * 1024  # tiles that stay in a core's second-level cache, beside the weights that pass by
LIBRARY, _LIBRARY_DIGEST = "librecurc.so", "sources.sha256"


def host_sources(folder: Path, model: QuantizedModel) -> Sources:
    """Write a model's sources for this computer's kernels into `folder`."""
    kernels = kernel_set("host")
    image = build_image(model, kernels)
    layout = make_layout(model.program, model.forms, kernels, HOST_SCRATCH)
    return write_sources(folder, model, image, kernels, layout)


def host_library(folder: Path, sources: Sources, runtime: Path, compiled: Path | None) -> Path:
    """The host engine's library in `folder`: the one in folder `compiled` when it was made of the same code."""
    library = folder / LIBRARY
    made = compiled / _LIBRARY_DIGEST if compiled is not None else None
    if compiled is not None and made is not None and made.is_file() and made.read_text() == sources.code:
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
    sources = host_sources(folder / "src", model)
    runtime = resource_dir("runtime_c")
    files = [sources.folder / "model.c"] if parts else sources.model_files(runtime)
    library = compile_shared(files, [sources.folder, runtime / "include"], folder / LIBRARY, objects=parts)
    put(folder / _LIBRARY_DIGEST, sources.code)
    return HostEngine(library, sources.folder / "model.rcm", model.puzzles.record if model.puzzles else None)


def host_program(folder: Path, board: Board, sources: Sources, runtime: Path) -> Firmware:
    """Compile the firmware as a process of this computer into `folder`.

    Raises:
        ToolchainError: no host compiler.
    """
    folder.mkdir(parents=True, exist_ok=True)
    identity = firmware_id(board, sources, runtime)
    main = folder / "main.c"
    put(main, render_main(identity))
    files = [main, *sources.model_files(runtime), sources.folder / "weights.S", *runtime_sources(board, runtime)]
    includes = [sources.folder, *port_include_dirs(board, runtime)]
    elf = compile_firmware(board, list(dict.fromkeys(files)), includes, {}, None, folder)
    shutil.rmtree(folder / "obj", ignore_errors=True)
    return Firmware(elf, identity, None)
