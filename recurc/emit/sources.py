"""Generated sources of a model in a folder, and the files that a firmware is made of."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from recurc import __version__
from recurc.emit.code import emit_model
from recurc.emit.image import Image
from recurc.emit.linker import Placement, render_linker_script, render_main
from recurc.files import put
from recurc.plan.hook import HOOK_MACS
from recurc.plan.kernels import KernelSet
from recurc.plan.layout import Layout
from recurc.plan.planner import MemoryPlan
from recurc.quant.model import QuantizedModel
from recurc.reading import matching
from recurc.targets.boards import Board
from recurc.targets.toolchain import board_defines, port_include_dirs, runtime_sources

ENGINE_SOURCES = (
    *(f"image/rc_{part}.c" for part in ("image", "crc32", "sha256", "status", "table", "choose")),
    *(f"solve/rc_{part}.c" for part in ("grids", "known", "noise", "solve")),
)


@dataclass(frozen=True)
class Sources:
    """Generated sources of one kernel set, in a folder, with what they were made from. digest: of all; code: of what is
    compiled but the weights, which are equal for a retrained model. hook_macs: multiply-adds between two calls of the hook."""

    folder: Path
    kernels: KernelSet
    image: Image
    arena_bytes: int
    digest: str
    code: str
    hook_macs: int

    def model_files(self, runtime: Path) -> list[Path]:
        """C files of the model itself: generated code, kernels, image reader."""
        return [self.folder / "model.c", *engine_files(self.kernels, runtime)]


def engine_files(kernels: KernelSet, runtime: Path) -> list[Path]:
    """C files that every model of a kernel set shares: kernels, image reader, the procedure that answers puzzles."""
    return [*(runtime / "kernels" / name for name in kernels.sources), *(runtime / name for name in ENGINE_SOURCES)]


def write_sources(
    folder: Path, model: QuantizedModel, image: Image, kernels: KernelSet, layout: Layout, hook_macs: int = HOOK_MACS
) -> Sources:
    """Write a model's sources and its image for a kernel set into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    files = emit_model(model, image, kernels, layout, hook_macs)
    digest, code = hashlib.sha256(image.data), hashlib.sha256()
    for name, text in files.items():
        put(folder / name, text)
        digest.update(text.encode())
        if name != "weights.S":
            code.update(text.encode())
    put(folder / "model.rcm", image.data)
    return Sources(folder, kernels, image, layout.arena_bytes, digest.hexdigest(), code.hexdigest(), hook_macs)


def firmware_id(board: Board, sources: Sources, runtime: Path, *more: str) -> str:
    """32 hexadecimal digits that name a firmware by all that it is made of: the model's sources, the runtime's, the board.

    Args:
        runtime: the runtime_c folder, or a build's copy of it; of its C files those that the firmware holds count, and headers.
        more: linker script, macros: what else decides about the firmware.
    """
    library, _ = firmware_sources(board, sources, runtime)
    folders = port_include_dirs(board, runtime)
    headers = sorted({h for folder in (*folders, runtime / "kernels") for h in matching(folder, "*.h", deep=True)})
    macros = str(sorted(board_defines(board).items()))
    parts = [__version__, sources.digest, *board.cpu_flags, macros, render_main("0" * 32), *more]
    parts += [f"{file.relative_to(runtime)} {hashlib.sha256(file.read_bytes()).hexdigest()}" for file in (*library, *headers)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def linker_script(board: Board, plan: MemoryPlan) -> str:
    return render_linker_script(board, Placement(plan.placement, {"stack": plan.stack_bytes}))


def table_defines(plan: MemoryPlan) -> Mapping[str, int]:
    """Macros of main.c that say where a memory-mapped puzzle table lies; none when rows come over the wire."""
    if plan.table is None:
        return {}
    return {"RC_TABLE_ADDRESS": plan.table.address, "RC_TABLE_BYTES": plan.table.bytes}


def firmware_sources(board: Board, sources: Sources, runtime: Path) -> tuple[list[Path], list[Path]]:
    """Files of the runtime and of the model that a firmware is made of, each in the order of linking.

    PlatformIO links a library's files, sorted, before the project's own; so does recurc, and both give the same bytes.
    main.c comes between them.
    """
    files = {*sources.model_files(runtime), *runtime_sources(board, runtime)}
    library = sorted((f for f in files if f.is_relative_to(runtime)), key=lambda f: str(f.relative_to(runtime)))
    return library, [*sorted(f for f in files if not f.is_relative_to(runtime)), sources.folder / "weights.S"]
