"""Opening an ELF that somebody else may have made: pyelftools believes what headers say, so they are checked first."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from elftools.elf.elffile import ELFFile

from recurc.errors import RecurcError
from recurc.reading import Unreadable, clause, open_regular, size_of

_LONGEST = 1 << 28  # bytes; firmware with debug information has a few million
_SECTIONS, _SEGMENTS, _SYMBOLS = 2000, 200, 100_000  # firmware has 40, 5 and 2,000
_LINES = 8 << 20  # bytes of line tables: reading them takes 100 times that
_NO_BITS, _COMPRESSED, _SYMBOL_TABLES = "SHT_NOBITS", 0x800, ("SHT_SYMTAB", "SHT_DYNSYM")


@contextmanager
def open_elf(path: Path) -> Iterator[ELFFile]:
    """An open ELF file whose sections lie inside it.

    Raises:
        Unreadable: no ELF or a damaged one; also when reading inside the block finds that.
    """
    with open_regular(path) as file, readable():
        elf = ELFFile(file)
        _check(elf, size_of(file))
        yield elf


@contextmanager
def readable() -> Iterator[None]:
    """Turns whatever pyelftools raises inside the block, on a damaged file, into Unreadable."""
    try:
        yield
    except (RecurcError, Unreadable):
        raise
    except Exception as error:  # noqa: BLE001 - it ends in any way
        raise Unreadable(f"it is no ELF file, or a damaged one ({clause(error, 120)})") from None


def _check(elf: ELFFile, size: int) -> None:
    if size > _LONGEST or elf.num_sections() > _SECTIONS or elf.num_segments() > _SEGMENTS:
        raise Unreadable("it is damaged, or no firmware: too many sections or segments")
    for section in elf.iter_sections():
        if section["sh_type"] != _NO_BITS and section["sh_offset"] + section["sh_size"] > size:
            raise Unreadable("a section lies outside the file")
        if section["sh_flags"] & _COMPRESSED:
            raise Unreadable("a section is compressed")
        if section["sh_type"] in _SYMBOL_TABLES and section["sh_size"] > _SYMBOLS * max(section["sh_entsize"], 1):
            raise Unreadable(f"it has more than {_SYMBOLS:,} symbols")
        if section.name.startswith(".debug_line") and section["sh_size"] > _LINES:
            raise Unreadable("its line tables are too long")
