"""Generated models compiled for this computer, the kernels only once a test process."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from recurc.emit.code import emit_model
from recurc.emit.image import Image, build_image
from recurc.emit.linker import render_linker_script, render_main
from recurc.emit.sources import ENGINE_SOURCES
from recurc.plan.kernels import KernelSet, choose_kernels, kernel_set
from recurc.plan.layout import Layout, make_layout
from recurc.quant.model import QuantizedModel
from recurc.resources import resource_dir
from recurc.targets.boards import Board
from recurc.targets.host import HostEngine
from recurc.targets.toolchain import compile_firmware, compile_shared, port_include_dirs, runtime_sources
from tests.placing import default_placement

RUNTIME = resource_dir("runtime_c")
COMMON = ENGINE_SOURCES
SHARED = tuple(s for s in COMMON if not s.startswith("solve/"))  # what calls no model, so that several may share it
HERE_SETS = ("portable", "host")


@lru_cache(maxsize=4)
def _kernels(name: str, folder: Path) -> Path:
    sources = [RUNTIME / "kernels" / s for s in kernel_set(name).sources] + [RUNTIME / s for s in SHARED]
    return compile_shared(sources, [RUNTIME / "include"], folder / f"lib{name}.so")


def write_sources(folder: Path, model: QuantizedModel, kernels: KernelSet, scratch: int) -> tuple[Image, Layout]:
    """Generated sources and image of a model in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    image = build_image(model, kernels)
    layout = make_layout(model.program, model.forms, kernels, scratch)
    for name, text in emit_model(model, image, kernels, layout).items():
        (folder / name).write_text(text)
    (folder / "model.rcm").write_bytes(image.data)
    return image, layout


def compile_model(
    folder: Path,
    model: QuantizedModel,
    kernels: str = "portable",
    scratch: int = 20_000,
    shared: Path | None = None,
    flags: Sequence[str] = ("-O1",),
) -> HostEngine:
    """The host engine of a model with a kernel set; `shared`: folder for the kernels that several models share."""
    write_sources(folder, model, kernel_set(kernels), scratch)
    library = _kernels(kernels, shared or folder.parent)
    links = (
        f"-L{library.parent}",
        f"-Wl,-rpath,{library.parent}",
        "-Wl,--no-as-needed",
        f"-l{kernels}",
        "-Wno-unused-command-line-argument",
    )  # Clang gets them when it compiles, too
    made = compile_shared(
        [folder / "model.c", *(RUNTIME / s for s in COMMON if s not in SHARED)],
        [folder, RUNTIME / "include"],
        folder / "model.so",
        (*flags, *links),
    )
    return HostEngine(made, folder / "model.rcm")


def emulated_firmware(
    folder: Path,
    board: Board,
    model: QuantizedModel,
    scratch: int = 20_000,
    more: Sequence[Path] = (),
    flags: Sequence[str] = (),
) -> Path:
    """A model's firmware for an emulated board, with `more` sources."""
    kernels = choose_kernels(board.features)
    write_sources(folder, model, kernels, scratch)
    (folder / "main.c").write_text(render_main("5e" * 16))
    (folder / "firmware.ld").write_text(render_linker_script(board, default_placement(board)))
    sources = [folder / n for n in ("main.c", "model.c", "weights.S")] + [RUNTIME / s for s in COMMON] + list(more)
    sources += [RUNTIME / "kernels" / s for s in kernels.sources] + list(runtime_sources(board, RUNTIME))
    includes = [folder, *port_include_dirs(board, RUNTIME)]
    return compile_firmware(board, list(dict.fromkeys(sources)), includes, {}, folder / "firmware.ld", folder, tuple(flags))
