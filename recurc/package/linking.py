"""One board's firmware: compiled, measured by a trial link, planned exactly, linked, and compared with its plan."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from recurc.emit.linker import render_main
from recurc.emit.sources import Sources, firmware_id, firmware_sources, linker_script, table_defines
from recurc.files import put
from recurc.package.base import Entry, summary_entry
from recurc.plan.planner import Measured, MemoryPlan, make_plan, with_stack
from recurc.reading import matching
from recurc.targets.boards import Board
from recurc.targets.elf import Difference, check_link, linked_sections, measure
from recurc.targets.fit import refusal
from recurc.targets.stack import stack_use
from recurc.targets.toolchain import compile_objects, link_firmware, port_include_dirs

TRIAL_REGION_BYTES = 1 << 28  # in a trial link every region is at least this large, so that nothing overflows


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


def enlarged(script: str) -> str:
    """A linker script with regions in which everything has room, for a trial link: linking must not fail for size."""
    return re.sub(r"LENGTH = (0x[0-9A-Fa-f]+)", lambda m: f"LENGTH = {max(int(m[1], 16), TRIAL_REGION_BYTES):#x}", script)


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
        for file in matching(self.folder, "trial.*"):
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


def plan_entry(firmware: Firmware) -> Entry:
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
