"""`identifiers.json`: the names of puzzle identifiers, in their order. Two that differ number the puzzles differently, and each
puzzle would get another one's embedding, which neither shapes nor fidelity show."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from recurc.errors import InputError
from recurc.formats import parse_json
from recurc.reading import Unreadable, is_file, not_read, read_regular, shown

NAMES_FILE = "identifiers.json"
_LIMIT = 1 << 28  # bytes: that of ARC-AGI-1 with all augmentations has 50 million


def names_in(*folders: Path) -> list[Path]:
    """The files of names in some folders, where there are such."""
    return [path for folder in folders if is_file(path := folder / NAMES_FILE, private=True)]


def difference(one: Path, other: Path) -> str:
    """In what two files of names differ, as a clause; empty where they say the same. Read are only files of which there are
    two, and parsed only those whose bytes differ.

    Raises:
        InputError: one cannot be read, or holds no names.
    """
    if one.samefile(other):
        return ""
    a, b = _bytes(one), _bytes(other)
    if a == b:
        return ""
    first, second = _names(a, one), _names(b, other)
    at = next((i for i, (x, y) in enumerate(zip(first, second)) if x != y), None)
    if at is not None:
        return f"identifier {at} is {shown(first[at])} in {one} and {shown(second[at])} in {other}"
    if len(first) != len(second):
        return f"there are {len(first):,} identifiers in {one} and {len(second):,} in {other}"
    return ""


def read_names(path: Path) -> list[str]:
    """Names by identifier. Raises InputError: the file cannot be read, or holds no names."""
    return _names(_bytes(path), path)


def check_names(files: Sequence[Path], what: str, next: str) -> None:
    """Raises InputError: some of the files name puzzle identifiers otherwise than the first one."""
    for other in files[1:]:
        if told := difference(files[0], other):
            raise InputError(
                what, where=f"{files[0]} and {other}", why=f"{told}: each puzzle would get another one's embedding", next=next
            )


def _bytes(path: Path) -> bytes:
    try:
        return read_regular(path, _LIMIT)
    except Unreadable as error:
        raise _no_names(error, path) from None


def _names(data: bytes, path: Path) -> list[str]:
    """Names by identifier: a list of them, or a table of name -> identifier."""
    try:
        found = parse_json(data.decode("utf-8-sig"), _LIMIT)
        if isinstance(found, dict) and sorted(found.values(), key=str) == sorted(range(len(found)), key=str):
            return sorted(found, key=lambda name: found[name])
        if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
            raise Unreadable("it is no list of names")
        return found
    except UnicodeDecodeError:
        raise _no_names(Unreadable("it is no UTF-8 text"), path) from None
    except Unreadable as error:
        raise _no_names(error, path) from None


def _no_names(error: Unreadable, path: Path) -> InputError:
    return not_read(
        error,
        path,
        "the names of the puzzle identifiers",
        "the names of the puzzle identifiers cannot be read",
        "Correct the file, or move it away where it is not of this dataset and checkpoint",
    )
