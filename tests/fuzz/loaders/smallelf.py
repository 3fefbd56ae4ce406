"""A small ELF made without a compiler - .text, .data, symbols, and the line table of one file - and what reads it."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from pathlib import Path
from unittest import mock

from elftools.elf.elffile import ELFFile
from elftools.elf.structs import ELFStructs

from recurc.reading import Unreadable, not_read
from recurc.targets import elf, elffile, sourcemap

_SECTION = struct.Struct("<10I")


def _abbreviations() -> bytes:
    # One unit: DW_TAG_compile_unit without children, DW_AT_stmt_list (sec_offset), DW_AT_name (string).
    return bytes([1, 0x11, 0, 0x10, 0x17, 0x03, 0x08, 0, 0, 0])


def _unit() -> bytes:
    body = struct.pack("<HIB", 4, 0, 4) + bytes([1]) + struct.pack("<I", 0) + b"main.c\0"
    return struct.pack("<I", len(body)) + body


def _lines(address: int) -> bytes:
    lengths = bytes([0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1])
    header = struct.pack("<BBBbBB", 1, 1, 1, -5, 14, 13) + lengths + b"\0" + b"main.c\0\0\0\0" + b"\0"
    program = bytes([0, 5, 2]) + struct.pack("<I", address) + bytes([3, 10, 1, 2, 8, 3, 1, 1, 2, 8, 0, 1, 1])
    rest = struct.pack("<HI", 4, len(header)) + header + program
    return struct.pack("<I", len(rest)) + rest


def small_elf() -> bytes:
    """The file's bytes; code from 0x1000, data at 0x20000000."""
    names = ["", ".text", ".data", ".symtab", ".strtab", ".shstrtab", ".debug_info", ".debug_abbrev", ".debug_line"]
    strings = b"\0main\0"
    symbols = bytes(16) + struct.pack("<IIIBBH", 1, 0x1001, 16, 0x12, 0, 1)
    shstr, places = b"", []
    for name in names:
        places.append(len(shstr))
        shstr += name.encode() + b"\0"
    bodies = [b"", bytes(16), b"\1\2\3\4", symbols, strings, shstr, _unit(), _abbreviations(), _lines(0x1000)]
    kinds, flags = [0, 1, 1, 2, 3, 3, 1, 1, 1], [0, 6, 3, 0, 0, 0, 0, 0, 0]
    addresses = [0, 0x1000, 0x20000000, 0, 0, 0, 0, 0, 0]
    at = 52 + 2 * 32
    offsets, data = [], b""
    for body in bodies:
        offsets.append(at + len(data))
        data += body + bytes(-len(body) % 4)
    table = b"".join(
        _SECTION.pack(
            places[i], kinds[i], flags[i], addresses[i], offsets[i], len(bodies[i]), 4 * (i == 3), i == 3, 4, 16 * (i == 3)
        )
        for i in range(len(names))
    )
    segments = struct.pack("<8I", 1, offsets[1], 0x1000, 0x1000, 16, 16, 5, 4)
    segments += struct.pack("<8I", 1, offsets[2], 0x20000000, 0x1010, 4, 4, 6, 4)
    head = b"\x7fELF\1\1\1" + bytes(9)
    head += struct.pack("<HHIIIIIHHHHHH", 2, 40, 1, 0x1001, 52, at + len(data), 0, 52, 32, 2, 40, len(names), 5)
    return head + segments + data + table


def write_elf(folder: Path) -> None:
    (folder / "a.elf").write_bytes(small_elf())


def load_elf(folder: Path) -> None:
    """All that is read of an ELF, from one that is opened once and whose section headers are read once."""
    with ExitStack() as stack:
        try:
            _opened.append(stack.enter_context(elffile.open_elf(folder / "a.elf")))
        except Unreadable as error:
            raise not_read(error, folder / "a.elf", "the firmware", "the firmware cannot be read", "Build it again") from None
        stack.callback(_opened.clear)
        _opened[0]._get_section_header = lru_cache(_opened[0]._get_section_header)
        places = sourcemap.SourceMap(folder / "a.elf")
        for address in (0x1008, 0x2000):  # the last line of the line table; none
            str(places.place(address))
        places.riscv  # noqa: B018
        elf.linked_sections(folder / "a.elf")


_opened: list[ELFFile] = []


@contextmanager
def _again(path: Path) -> Iterator[ELFFile]:
    with elffile.readable():
        yield _opened[0]


@contextmanager
def alike_structs(folder: Path) -> Iterator[None]:
    """pyelftools describes its records anew for each file, in a third of the time; all depends on these few values."""

    @lru_cache(maxsize=64)
    def made(little: bool, bits: int, *kinds: str | None) -> ELFStructs:
        found = ELFStructs(little, bits)
        basic(found)
        if kinds:
            advanced(found, *kinds)
        return found

    def known_basic(self: ELFStructs) -> None:
        vars(self).update(vars(made(self.little_endian, self.elfclass)))

    def known_advanced(self: ELFStructs, *kinds: str | None) -> None:
        vars(self).update(vars(made(self.little_endian, self.elfclass, *kinds)))

    basic, advanced = ELFStructs.create_basic_structs, ELFStructs.create_advanced_structs
    with (
        mock.patch.multiple(ELFStructs, create_basic_structs=known_basic, create_advanced_structs=known_advanced),
        mock.patch.object(sourcemap, "open_elf", _again),
        mock.patch.object(elf, "open_elf", _again),
    ):
        yield
