"""The format "firmware": ELF files of the board and of its emulated twin, compiled and linked here."""

from __future__ import annotations

from recurc.emit.image import build_image
from recurc.emit.sources import Sources, write_sources
from recurc.ir.program import Program
from recurc.package.base import BoardFirmware, Entry, Made, Package, Work, firmware_entry
from recurc.package.linking import ArenaTooLargeError, Firmware, compile_firmware_for, plan_entry
from recurc.plan.hook import hook_macs
from recurc.plan.kernels import choose_kernels
from recurc.plan.layout import Layout
from recurc.plan.planner import MemoryPlan
from recurc.storage.form import Forms
from recurc.targets.boards import COMPILED, Board, load_board
from recurc.targets.fit import early_plan
from recurc.targets.toolchain import check_linkable


def early_plans(program: Program, forms: Forms, target: Board, layout: Layout | None = None) -> list[tuple[Board, MemoryPlan]]:
    """Plans of the target and of its emulated twin, which runs the very code of its board.

    Raises:
        DoesNotFitError: one of them cannot fit.
    """
    plan = early_plan(program, forms, target, choose_kernels(target.features), layout)
    twin = load_board(target.twin) if target.twin else None
    return [(target, plan), *([(twin, early_plan(program, forms, twin, plan.kernels, plan.layout))] if twin else [])]


class FirmwarePackage(Package):
    """The firmware itself. Where the measured code leaves less room than was estimated, all starts over with smaller tiles."""

    name = COMPILED
    title = "firmware.elf"
    folder = ""

    def check(self, board: Board) -> None:
        check_linkable(board)

    def toolchains(self, board: Board) -> tuple[str, ...]:
        return (board.family,)

    def says(self) -> str:
        return "firmware, compiled here"

    def write(self, work: Work, made: Made | None) -> Made:
        layout: Layout | None = None
        for _ in range(4):
            plans = early_plans(work.model.program, work.model.forms, work.target, layout)
            try:
                return _compiled(work, plans)
            except ArenaTooLargeError as e:
                layout = e.plan.layout
        raise AssertionError("tiles do not settle")


def _compiled(work: Work, plans: list[tuple[Board, MemoryPlan]]) -> Made:
    """The boards' firmware, all with the target's sources. Raises ArenaTooLargeError."""
    first = plans[0][1]
    image = build_image(work.model, first.kernels)
    macs = hook_macs(first, work.target)
    sources = write_sources(work.folder / "src", work.model, image, first.kernels, first.layout, macs)
    firmware: list[BoardFirmware] = []
    entries: dict[str, Entry] = {}
    for board, plan in plans:
        work.note(f"compiling for {board.name} ...")
        linked = compile_firmware_for(work.folder / board.name, board, sources, work.runtime, plan)
        entries[board.name] = linked_entry(work, sources, linked)
        firmware.append(BoardFirmware(board, linked.plan or plan, linked.build_id))
    return Made(sources, tuple(firmware), entries)


def linked_entry(work: Work, sources: Sources, firmware: Firmware) -> Entry:
    """What the manifest says of a firmware that was linked here."""
    return {**firmware_entry(work.folder, sources, firmware.elf, firmware.build_id), **plan_entry(firmware)}


PACKAGE = FirmwarePackage()
