"""Build folders: sources, images and compiled firmware for a target, its emulated twin and this computer."""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Iterator, Mapping, Optional

from recurc import __version__
from recurc.codegen.emit import emit_model
from recurc.codegen.image import Image, build_image
from recurc.codegen.manifest import MANIFEST, Build, load_build, write_manifest
from recurc.errors import InputError, UsageError
from recurc.plan.kernels import KernelSet, choose_kernels, kernel_set
from recurc.plan.layout import Layout, make_layout
from recurc.plan.planner import MemoryPlan, plan_memory
from recurc.quant.model import QuantizedModel
from recurc.resources import resource_dir
from recurc.targets.boards import Board, load_board
from recurc.targets.elf import section_report
from recurc.targets.host import HostEngine, cpu_signature
from recurc.targets.linker import Placement, render_linker_script, render_main
from recurc.targets.toolchain import compile_firmware, compile_shared, port_include_dirs, runtime_sources

HOST_SCRATCH = 256 * 1024  # tiles that stay in a core's second-level cache, beside the weights that pass by
_ENGINE_SOURCES = ("image/rc_image.c", "image/rc_crc32.c", "image/rc_status.c", "image/rc_table.c")
Note = Callable[[str], None]


@dataclass(frozen=True)
class Sources:
    """Generated sources of one kernel set, in a folder, with what they were made from."""

    folder: Path
    kernels: KernelSet
    image: Image
    arena_bytes: int
    digest: str


def _write_sources(folder: Path, model: QuantizedModel, image: Image, kernels: KernelSet, layout: Layout) -> Sources:
    folder.mkdir(parents=True, exist_ok=True)
    files = emit_model(model, image, kernels, layout)
    digest = hashlib.sha256(image.data)
    for name, text in files.items():
        (folder / name).write_text(text)
        digest.update(text.encode())
    (folder / "model.rcm").write_bytes(image.data)
    return Sources(folder, kernels, image, layout.arena_bytes, digest.hexdigest())


def _model_files(sources: Sources, runtime: Path) -> list[Path]:
    """C files of the model itself: generated code, kernels, image reader."""
    kernels = [runtime / "kernels" / name for name in sources.kernels.sources]
    return [sources.folder / "model.c", *kernels, *(runtime / name for name in _ENGINE_SOURCES)]


def _copy_runtime(folder: Path) -> Path:
    shutil.copytree(resource_dir("runtime_c"), folder, ignore=shutil.ignore_patterns("*.md", "tests"))
    return folder


def _host_sources(folder: Path, model: QuantizedModel) -> Sources:
    kernels = kernel_set("host")
    image = build_image(model, kernels)
    layout = make_layout(model.program, model.precision.bits, kernels, HOST_SCRATCH)
    return _write_sources(folder, model, image, kernels, layout)


def compile_host_engine(folder: Path, model: QuantizedModel) -> HostEngine:
    """Emit and compile the host engine of a model into `folder`.

    Raises:
        ToolchainError: no host compiler.
    """
    sources = _host_sources(folder / "src", model)
    runtime = resource_dir("runtime_c")
    library = compile_shared(_model_files(sources, runtime), [sources.folder, runtime / "include"],
                             folder / "librecurc.so")
    return HostEngine(library, sources.folder / "model.rcm", model.puzzles.record if model.puzzles else None)


def _build_id(parts: list[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def _firmware(folder: Path, board: Board, sources: Sources, runtime: Path, plan: Optional[MemoryPlan]) -> dict[str, Any]:
    """Compile one board's firmware; returns its manifest entry (paths relative to the build folder)."""
    board_folder = folder / board.name
    board_folder.mkdir(parents=True, exist_ok=True)
    script = None
    text = ""
    if plan is not None:
        text = render_linker_script(board, Placement(plan.placement, {"stack": plan.stack_bytes}))
        script = board_folder / "firmware.ld"
        script.write_text(text)
    build_id = _build_id([__version__, sources.digest, board.name, *board.cpu_flags, text])
    main = board_folder / "main.c"
    main.write_text(render_main(build_id))
    files = [main, *_model_files(sources, runtime), sources.folder / "weights.S", *runtime_sources(board, runtime)]
    includes = [sources.folder, *port_include_dirs(board, runtime)]
    elf = compile_firmware(board, list(dict.fromkeys(files)), includes, {}, script, board_folder)
    shutil.rmtree(board_folder / "obj", ignore_errors=True)
    return {
        "elf": str(elf.relative_to(folder)), "image": str((sources.folder / "model.rcm").relative_to(folder)),
        "model_sha256": sources.image.sha256, "build_id": build_id, "kernels": sources.kernels.name,
    }


def _regions(board: Board, plan: MemoryPlan, elf: Path) -> list[dict[str, Any]]:
    """Used bytes a region and part, read from the linked ELF; the arena and stack as planned parts of it."""
    report = section_report(elf, board)
    return [
        {"name": r.name, "kind": r.kind, "size": r.size, "used": sum(parts.values()), "parts": parts,
         "optional": r.optional, "note": r.note}
        for r in board.regions if (parts := report.get(r.name, {}))
    ]


@contextmanager
def _fresh_folder(out: Path) -> Iterator[Path]:
    """A temporary folder that becomes `out` when the block ends well, and disappears otherwise.

    Raises:
        InputError: `out` cannot be written. UsageError: it exists and is not a build of ours.
    """
    check_output(out)
    tag = f".{out.name}.partial-"
    partial = out.parent / f"{tag}{os.getpid()}-{uuid.uuid4().hex[:6]}"
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        for stale in list(out.parent.iterdir()):  # halves that an interrupted build left behind
            if stale.name.startswith(tag) and not _alive(stale.name[len(tag):].split("-")[0]):
                shutil.rmtree(stale, ignore_errors=True)
        partial.mkdir()
    except OSError as e:
        raise _not_writable(out, e.strerror or str(e)) from e
    try:
        yield partial
        _swap_in(partial, out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _swap_in(partial: Path, out: Path) -> None:
    """Make `partial` the folder `out` in place of what is there; of builds that end at once, the last one stays."""
    old = partial.with_name(partial.name + "-old")
    for attempt in range(100):
        with suppress(FileNotFoundError):
            out.rename(old)
        try:
            partial.rename(out)
            break
        except OSError:  # another build has put its folder there in between
            if attempt == 99:
                raise
        finally:
            shutil.rmtree(old, ignore_errors=True)


def check_output(out: Path) -> None:
    """That a build may be written to `out`, as far as that can be told without writing.

    Raises:
        InputError: no folder can be made there. UsageError: it exists and is not a build of ours.
    """
    if out.exists() and not ((out / MANIFEST).is_file() or (out.is_dir() and not any(out.iterdir()))):
        raise UsageError("the output folder holds something else", where=str(out),
                         why=f"it exists and has no {MANIFEST}", next="name another folder, or remove it yourself")
    above = Path(os.path.abspath(out)).parent
    while not above.exists():
        above = above.parent
    if not above.is_dir():
        raise _not_writable(out, f"{above} is not a folder")
    if not os.access(above, os.W_OK | os.X_OK):
        raise _not_writable(out, f"{above} may not be written")


def _not_writable(out: Path, why: str) -> InputError:
    return InputError("the output folder cannot be written", where=str(out), why=why,
                      next="name a folder that you may write with --out")


def _alive(pid: str) -> bool:
    return pid.isdigit() and Path(f"/proc/{pid}").exists()


def build_project(model: QuantizedModel, target: Board, out: Path, *, details: Mapping[str, Any],
                  note: Note = lambda text: None) -> Build:
    """Build firmware for a board, its emulated twin and this computer into the folder `out`.

    Nothing is left half-written: the folder appears whole, or not at all.

    Args:
        details: entries for the manifest (fidelity, calibration, checkpoint).
        note: told what is being done, for people.

    Raises:
        DoesNotFitError, ToolchainError, InputError, UsageError.
    """
    out = Path(os.path.abspath(out))
    bits = model.precision.bits
    boards: list[tuple[Board, MemoryPlan]] = []
    if target.family != "host":
        kernels = choose_kernels(target.features)
        image = build_image(model, kernels)
        plan = plan_memory(model.program, bits, len(image.data), target, kernels)
        boards.append((target, plan))
        if target.twin:
            twin = load_board(target.twin)
            boards.append((twin, plan_memory(model.program, bits, len(image.data), twin, kernels, plan.layout)))
    with _fresh_folder(out) as folder:
        runtime = _copy_runtime(folder / "runtime")
        entries: dict[str, Any] = {}
        sources = _write_sources(folder / "src", model, image, kernels, plan.layout) if boards else None
        for board, board_plan in boards:
            note(f"compiling for {board.name}")
            entries[board.name] = _firmware(folder, board, sources, runtime, board_plan)
            entries[board.name]["regions"] = _regions(board, board_plan, folder / entries[board.name]["elf"])
        note("compiling the host engine")
        host = _host_sources(folder / "host" / "src", model)
        entries["host"] = _firmware(folder, load_board("host"), host, runtime, None)
        library = compile_shared(_model_files(host, runtime), [host.folder, runtime / "include"],
                                 folder / "host" / "librecurc.so")
        shutil.rmtree(folder / "host" / "librecurc.so.obj", ignore_errors=True)
        main = sources or host
        write_manifest(folder, {
            "recurc": __version__, "name": model.name, "target": target.name, "twin": target.twin,
            "precision": model.precision.name, "method": model.method, "label": model.label, "steps": model.program.steps,
            "h_cycles": model.program.h_cycles, "l_cycles": model.program.l_cycles, "boards": entries,
            "image_bytes": len(main.image.data), "arena_bytes": main.arena_bytes,
            "host_cpu": cpu_signature(), "host_library": str(library.relative_to(folder)),
            "host_image": "host/src/model.rcm", **details,
        }, model.config)
    return load_build(out)
