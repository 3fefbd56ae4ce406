"""Where in the source an address of a firmware is: function from the symbol table, file and line from DWARF's line table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from elftools.dwarf.dwarfinfo import DWARFInfo
from elftools.dwarf.lineprogram import LineProgram
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from recurc.reading import Unreadable
from recurc.targets.elffile import open_elf

_MACHINES_WITH_THUMB = ("EM_ARM",)


@dataclass(frozen=True)
class SourcePlace:
    """A place in the source; `file` and `line` are empty and 0 where the ELF has no line table for it (assembly, libgcc).

    `offset`: bytes from the function's first instruction.
    """

    address: int
    function: str
    offset: int
    file: str
    line: int

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.file else f"{self.address:#010x}"
        return f"{self.function or '?'} ({where})" if self.function or self.file else where


class SourceMap:
    """Looks addresses up in one ELF, opened anew each time: faults are rare.

    Args:
        elf: the firmware that was linked with -g; without line tables only functions are found.
    """

    def __init__(self, elf: Path) -> None:
        self.elf = Path(elf)

    @property
    def riscv(self) -> bool:
        """Whether the ELF is for RISC-V, whose fault registers mean something else."""
        try:
            with open_elf(self.elf) as file:
                return str(file["e_machine"]) == "EM_RISCV"
        except Unreadable:
            return False

    def place(self, address: int) -> SourcePlace | None:
        """Where an address is; None when it is in no function of this ELF, or the ELF cannot be read."""
        try:
            with open_elf(self.elf) as file:
                address &= ~1 if file["e_machine"] in _MACHINES_WITH_THUMB else ~0
                found = _function(file, address)
                if found is None:
                    return None
                name, start = found
                line = _line(file.get_dwarf_info(), address) if file.has_dwarf_info() else None
                return SourcePlace(address, name, address - start, *(line or ("", 0)))
        except Unreadable:
            return None

    def caller(self, return_address: int) -> SourcePlace | None:
        """Where the call is that a return address (lr, ra) belongs to: the instruction before it."""
        return self.place((return_address & ~1) - 2) if return_address else None


def _function(file: ELFFile, address: int) -> tuple[str, int] | None:
    """(name, start) of the function that holds an address; assembly without sizes reaches to the next function."""
    table = file.get_section_by_name(".symtab")
    code = [s for s in file.iter_sections() if s["sh_flags"] & 4 and s["sh_addr"] <= address < s["sh_addr"] + s["sh_size"]]
    if not isinstance(table, SymbolTableSection) or not code:
        return None
    low = code[0]["sh_addr"]
    best: tuple[int, int, str] | None = None
    for symbol in table.iter_symbols():
        kind, start = symbol["st_info"]["type"], symbol["st_value"] & ~1
        if not symbol.name or symbol.name.startswith("$") or not low <= start <= address:
            continue
        if kind == "STT_FUNC" and symbol["st_size"] and address >= start + symbol["st_size"]:
            continue
        if kind in ("STT_FUNC", "STT_NOTYPE") and not symbol.name.startswith("."):
            best = max(best or (-1, 0, ""), (start, kind == "STT_FUNC", symbol.name))
    return (best[2], best[0]) if best else None


def _programs(dwarf: DWARFInfo, address: int) -> Iterator[LineProgram]:
    """Line programs that may hold an address: the one that the range table names, or all."""
    ranges = dwarf.get_aranges()
    offset = ranges.cu_offset_at_addr(address) if ranges else None
    units = [dwarf.get_CU_at(offset)] if offset is not None else dwarf.iter_CUs()
    for unit in units:
        if (program := dwarf.line_program_for_CU(unit)) is not None:
            yield program


def _line(dwarf: DWARFInfo, address: int) -> tuple[str, int] | None:
    """(file, line) of an address."""
    for program in _programs(dwarf, address):
        before = None
        for entry in program.get_entries():
            state = entry.state
            if state is None:
                continue
            if before is not None and before.address <= address < state.address and before.line:
                return _file(program, before.file), before.line
            before = None if state.end_sequence else state
    return None


def _file(program: LineProgram, index: int) -> str:
    """A source file's path, as the compiler was told it."""
    header = program.header
    first = 0 if header["version"] >= 5 else 1
    entry = header["file_entry"][index - first]
    folder = header["include_directory"]
    at = entry["dir_index"] - first
    directory = folder[at].decode() if 0 < entry["dir_index"] and 0 <= at < len(folder) else ""
    name = entry["name"].decode()
    return name if name.startswith("/") or not directory else f"{directory}/{name}"
