"""What the linker really put where, read from the ELF: sizes for the planner, and the proof that plan and firmware agree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from elftools.elf.constants import SH_FLAGS

from recurc.errors import PlanMismatchError
from recurc.plan.layout import align_up
from recurc.plan.pieces import SECTION_PARTS, SectionSize
from recurc.plan.planner import Measured, MemoryPlan
from recurc.reading import Unreadable, not_read
from recurc.targets.boards import Board
from recurc.targets.elffile import open_elf

READ_ONLY_SECTIONS = (".recurc_image", ".rodata", ".text")


@dataclass(frozen=True)
class LinkedSection:
    """An allocated output section: where it runs, its size, alignment, and where .data's initial values lie (0: none)."""

    name: str
    address: int
    bytes: int
    align: int
    load_address: int = 0

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Difference:
    """A section that is not where or not as large as planned; None where one side does not have it."""

    section: str
    what: str  # "address", "bytes" or "load address"
    planned: int | None
    linked: int | None
    align: int

    @property
    def beyond_padding(self) -> bool:
        """Whether alignment alone cannot explain it."""
        if self.planned is None or self.linked is None:
            return True
        return abs(self.planned - self.linked) >= max(self.align, 1)

    def __str__(self) -> str:
        shown = [
            ("nothing" if v is None else f"{v:,}" if self.what == "bytes" else f"{v:#010x}")
            for v in (self.planned, self.linked)
        ]
        return f"{self.section} {self.what}: planned {shown[0]}, linked {shown[1]}"


def linked_sections(elf: Path) -> tuple[LinkedSection, ...]:
    """Sections that take memory, in the linker's order; empty ones are left out.

    Raises:
        InputError: not an ELF file.
    """
    try:
        with open_elf(elf) as file:
            segments = [s for s in file.iter_segments() if s["p_type"] == "PT_LOAD" and s["p_filesz"]]
            found = []
            for section in file.iter_sections():
                if not section["sh_flags"] & SH_FLAGS.SHF_ALLOC or not section["sh_size"]:
                    continue
                load, address = 0, section["sh_addr"]
                if section.name == ".data":
                    segment = next((s for s in segments if s["p_vaddr"] <= address < s["p_vaddr"] + s["p_memsz"]), None)
                    if segment is None:
                        raise Unreadable("its section .data is in no segment")
                    load = segment["p_paddr"] + address - segment["p_vaddr"]
                found.append(LinkedSection(section.name, address, section["sh_size"], section["sh_addralign"], load))
            return tuple(found)
    except Unreadable as e:
        raise not_read(e, elf, "the firmware", "the firmware cannot be read", "Build it again") from None


def measure(elf: Path, board: Board, placement: Mapping[str, str]) -> Measured:
    """Section sizes of a trial link, as the planner takes them; what the linker script leaves free on purpose is a gap."""
    cursor = {r.name: r.base for r in board.regions}
    sizes = []
    for s in linked_sections(elf):
        region = placement[SECTION_PARTS.get(s.name, "code")]
        gap = s.address - align_up(cursor[region], s.align)
        sizes.append(SectionSize(s.name, s.bytes, s.align, max(gap, 0)))
        cursor[region] = s.address + s.bytes
        if s.load_address:
            cursor[placement["code"]] = s.load_address + s.bytes
    return Measured(tuple(sizes))


def differences(plan: MemoryPlan, elf: Path) -> tuple[Difference, ...]:
    """Every section whose address or size is not exactly what was planned."""
    planned = {s.name: s for s in plan.sections if s.bytes}
    linked = {s.name: s for s in linked_sections(elf)}
    found = []
    for name in dict.fromkeys((*planned, *linked)):
        p, q = planned.get(name), linked.get(name)
        align = q.align if q else 1
        for what, key in (("address", "address"), ("bytes", "bytes"), ("load address", "load_address")):
            a, b = getattr(p, key, None), getattr(q, key, None)
            if a != b:
                found.append(Difference(name, what, a, b, align))
    return tuple(found)


def check_link(plan: MemoryPlan, elf: Path, board: Board) -> tuple[Difference, ...]:
    """That the linked firmware is the planned one; returns differences that alignment explains.

    Raises:
        PlanMismatchError: a section elsewhere or of another size than planned, or weights, tables or constants in RAM.
    """
    found = differences(plan, elf)
    if bad := [d for d in found if d.beyond_padding]:
        raise PlanMismatchError(
            "the linked firmware differs from its plan",
            where=elf.name,
            why="; ".join(map(str, bad)),
            next="This is a mistake in recurc: please report it with the command that you ran",
        )
    for s in linked_sections(elf) if board.emulator is None else ():
        region = next((r for r in board.regions if r.base <= s.address < r.end), None)
        if s.name in READ_ONLY_SECTIONS and (region is None or region.writable):
            raise PlanMismatchError(
                f"{s.name} lies in RAM",
                where=f"{elf.name} at {s.address:#010x}",
                why=f"it is read only, and {region.name if region else 'no region'} of {board.name} is empty after power-on",
                next="This is a mistake in recurc: please report it with the command that you ran",
            )
    return found
