"""A small ELF made without a compiler: .text, .data, symbols, and the line table of one file."""

from __future__ import annotations

import struct

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
