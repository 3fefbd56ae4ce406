"""What the linker really put where: sizes by region and part, read from the ELF."""

from __future__ import annotations

from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.constants import SH_FLAGS
from elftools.elf.elffile import ELFFile

from recurc.errors import InputError
from recurc.targets.boards import Board

# Output section -> part of the firmware it counts as.
_PARTS = {
    ".text": "code", ".ARM.exidx": "code", ".rodata": "code", ".recurc_image": "image", ".data": "data", ".bss": "data",
    ".recurc_arena": "arena", ".stack": "stack",
}


def section_report(elf: Path, board: Board) -> dict[str, dict[str, int]]:
    """Region name -> part -> bytes, of every allocated section; .data counts where it runs and where it is loaded from.

    Raises:
        InputError: not an ELF file, or a section outside every region of the board.
    """
    report: dict[str, dict[str, int]] = {}

    def add(address: int, size: int, part: str) -> None:
        region = next((r for r in board.regions if r.base <= address and address + size <= r.end), None)
        if region is None:
            raise InputError("the firmware lies outside the board's memory", where=f"{elf.name} at {address:#010x}",
                             why=f"no region of {board.name} holds {size} bytes there", next="check the board file")
        parts = report.setdefault(region.name, {})
        parts[part] = parts.get(part, 0) + size

    try:
        with open(elf, "rb") as f:
            file = ELFFile(f)
            segments = [s for s in file.iter_segments() if s["p_type"] == "PT_LOAD" and s["p_filesz"]]
            for section in file.iter_sections():
                size = section["sh_size"]
                if not section["sh_flags"] & SH_FLAGS.SHF_ALLOC or not size:
                    continue
                part = _PARTS.get(section.name, "other")
                add(section["sh_addr"], size, part)
                if section.name == ".data":
                    load = next(s for s in segments if s["p_vaddr"] <= section["sh_addr"] < s["p_vaddr"] + s["p_memsz"])
                    add(load["p_paddr"] + section["sh_addr"] - load["p_vaddr"], size, "data load image")
    except (OSError, ELFError) as e:
        raise InputError("the firmware cannot be read", where=str(elf), why=str(e), next="build it again") from e
    return report
