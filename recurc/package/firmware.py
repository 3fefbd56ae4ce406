"""One board's firmware: compiled, measured by a trial link, planned exactly, linked, and compared with its plan."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recurc import __version__
from recurc.emit.image import Image
from recurc.emit.linker import Placement, render_linker_script, render_main
from recurc.files import put
from recurc.plan.kernels import KernelSet
from recurc.plan.planner import Measured, MemoryPlan, make_plan, with_stack
from recurc.plan.summary import plan_summary
from recurc.targets.boards import Board
from recurc.targets.elf import Difference, check_link, linked_sections, measure
from recurc.targets.fit import refusal
from recurc.targets.stack import stack_use
from recurc.targets.toolchain import board_defines, compile_objects, link_firmware, port_include_dirs, runtime_sources

TRIAL_REGION_BYTES = 1 << 28  # in a trial link every region is at least this large, so that nothing overflows
ENGINE_SOURCES = tuple(f"image/rc_{part}.c" for part in ("image", "crc32", "sha256", "status", "table"))


@dataclass(frozen=True)
class Sources:
    """Generated sources of one kernel set, in a folder, with what they were made from."""

    folder: Path
    kernels: KernelSet
    image: Image
    arena_bytes: int
    digest: str

    def model_files(self, runtime: Path) -> list[Path]:
        """C files of the model itself: generated code, kernels, image reader."""
        return [self.folder / "model.c", *engine_files(self.kernels, runtime)]


def engine_files(kernels: KernelSet, runtime: Path) -> list[Path]:
    """C files that every model of a kernel set shares: kernels, image reader."""
    return [*(runtime / "kernels" / name for name in kernels.sources), *(runtime / name for name in ENGINE_SOURCES)]


@dataclass(frozen=True)
class Firmware:
    """A linked firmware with its exact plan; `padding`: differences between the two that alignment explains."""

    elf: Path
    build_id: str
    plan: MemoryPlan | None
    padding: tuple[Difference, ...] = ()


class ArenaTooLargeError(Exception):
    """With the measured code and variables the compiled arena has no room in its region, but one with smaller tiles has."""

    def __init__(self, plan: MemoryPlan) -> None:
        super().__init__("the arena needs smaller tiles")
        self.plan = plan


def firmware_id(board: Board, sources: Sources, runtime: Path, *more: str) -> str:
    """32 hexadecimal digits that name a firmware by all that it is made of: the model's sources, the runtime's, the board.

    Args:
        runtime: the runtime_c folder, or a build's copy of it; of its C files those that the firmware holds count, and headers.
        more: linker script, macros: what else decides about the firmware.
    """
    library, _ = firmware_sources(board, sources, runtime)
    folders = port_include_dirs(board, runtime)
    headers = sorted({h for folder in (*folders, runtime / "kernels") for h in folder.rglob("*.h")})
    macros = str(sorted(board_defines(board).items()))
    parts = [__version__, sources.digest, *board.cpu_flags, macros, render_main("0" * 32), *more]
    parts += [f"{file.relative_to(runtime)} {hashlib.sha256(file.read_bytes()).hexdigest()}" for file in (*library, *headers)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def enlarged(script: str) -> str:
    """A linker script with regions in which everything has room, for a trial link: linking must not fail for size."""
    return re.sub(r"LENGTH = (0x[0-9A-Fa-f]+)", lambda m: f"LENGTH = {max(int(m[1], 16), TRIAL_REGION_BYTES):#x}", script)


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


class _Compilation:
    """Objects of one board's firmware; main.c, which carries the build id, and the ports depend on the plan."""

    def __init__(self, folder: Path, board: Board, sources: Sources, runtime: Path) -> None:
        self.folder, self.board, self.sources, self.runtime = folder, board, sources, runtime
        self.includes = [sources.folder, *port_include_dirs(board, runtime)]
        self.id, self.main, self.script = "", folder / "main.c", folder / "firmware.ld"
        self.library, self.own = firmware_sources(board, sources, runtime)
        self.ports = [f for f in self.library if f.is_relative_to(runtime / "ports")]
        rest = [*(f for f in self.library if f not in self.ports), *self.own]
        self.compiled = dict(zip(rest, compile_objects(board, rest, self.includes, {}, folder / "model")))
        self.defines: Mapping[str, int] | None = None
        self.text = ""

    def objects(self, plan: MemoryPlan) -> list[Path]:
        """All objects for a plan, in the order of linking; what the plan changes is compiled again."""
        text, defines = linker_script(self.board, plan), table_defines(plan)
        if defines != self.defines:  # a port starts the flash chip in which a puzzle table lies
            objects = compile_objects(self.board, self.ports, self.includes, defines, self.folder / "ports")
            self.compiled.update(zip(self.ports, objects))
        if (text, defines) != (self.text, self.defines):
            self.id = firmware_id(self.board, self.sources, self.runtime, text, str(defines))
            put(self.main, render_main(self.id))
            self.main_objects = compile_objects(self.board, [self.main], self.includes, defines, self.folder)
        self.text, self.defines = text, defines
        return [*(self.compiled[f] for f in self.library), *self.main_objects, *(self.compiled[f] for f in self.own)]

    def trial(self, plan: MemoryPlan) -> Path:
        """Link as `plan` has it, into regions without end."""
        put(self.script, enlarged(linker_script(self.board, plan)))
        # Regions that now reach into each other are no mistake here.
        return link_firmware(self.board, self.objects(plan), self.script, self.folder, ("-Wl,--no-check-sections",), "trial")

    def link(self, plan: MemoryPlan) -> Path:
        """The firmware itself."""
        put(self.script, linker_script(self.board, plan))
        return link_firmware(self.board, self.objects(plan), self.script, self.folder)

    def clean(self) -> None:
        """Remove objects and the trial."""
        for folder in (self.folder / "obj", self.folder / "model", self.folder / "ports"):
            shutil.rmtree(folder, ignore_errors=True)
        for file in self.folder.glob("trial.*"):
            file.unlink()


def _exact(plan: MemoryPlan, board: Board, measured: Measured) -> MemoryPlan:
    """The plan with measured sizes and the compiled arena.

    Raises:
        ArenaTooLargeError: smaller tiles would fit, or keep the arena out of a slower region. DoesNotFitError: nothing fits.
    """
    below = plan.table.address if plan.table else 0
    exact = make_plan(plan.program, plan.forms, board, plan.kernels, plan.layout, measured, table_not_below=below)
    if exact.fits and exact.placement["arena"] == plan.placement["arena"]:
        return exact
    other = make_plan(plan.program, plan.forms, board, plan.kernels, None, measured)
    if other.fits and other.layout.arena_bytes < plan.layout.arena_bytes:
        raise ArenaTooLargeError(other)
    if exact.fits:
        return exact
    raise refusal(other, board, measured)


def compile_firmware_for(folder: Path, board: Board, sources: Sources, runtime: Path, plan: MemoryPlan) -> Firmware:
    """Compile and link one microcontroller's firmware into `folder`; the exact plan decides whether it fits.

    Raises:
        DoesNotFitError: with the code's real size, or with its worst stack path, it does not fit.
        ArenaTooLargeError: it would with the layout of the plan that it carries.
        ToolchainError. PlanMismatchError, UnboundedStackError: mistakes of ours.
    """
    folder.mkdir(parents=True, exist_ok=True)
    compilation = _Compilation(folder, board, sources, runtime)
    try:
        while True:
            trial = compilation.trial(plan)
            exact = _exact(plan, board, measure(trial, board, plan.placement))
            settled = (exact.placement, exact.table) == (plan.placement, plan.table)
            plan = exact
            if settled:
                break
        plan = with_stack(plan, stack_use(trial, compilation.objects(plan), board))
        if not plan.fits:
            raise refusal(plan, board)
        elf = compilation.link(plan)
        return Firmware(elf, compilation.id, plan, check_link(plan, elf, board))
    finally:
        compilation.clean()


def plan_entry(firmware: Firmware) -> dict[str, Any]:
    """What the manifest says of a firmware's memory: the plan, the linked sections, and how they compare."""
    if firmware.plan is None:
        return {}
    return {
        **summary_entry(firmware.plan),
        "link": {
            "agrees": True,
            "differences": [str(d) for d in firmware.padding],
            "sections": [s.as_dict() for s in linked_sections(firmware.elf)],
        },
    }


def summary_entry(plan: MemoryPlan) -> dict[str, Any]:
    """What the manifest says of a plan."""
    summary = plan_summary(plan)
    return {"regions": [{k: v for k, v in r.items() if k != "pieces"} for r in summary["regions"]], "plan": summary}
