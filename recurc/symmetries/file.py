"""A file of symmetries: JSON, {"symmetries": [{"cells": [...], "tokens": [...]}, ...]}; what is left out stays as it is."""

from __future__ import annotations

from pathlib import Path

from recurc.errors import InputError
from recurc.formats import parse_json
from recurc.reading import Unreadable, read_text
from recurc.symmetries.symmetry import Symmetry, checked


def read_symmetries(path: Path, seq: int, vocab: int) -> tuple[Symmetry, ...]:
    """The symmetries of a file, for puzzles of `seq` cells and `vocab` tokens.

    Raises:
        InputError: the file cannot be read, or holds something else.
    """
    try:
        document = parse_json(read_text(path))
    except Unreadable as e:
        raise InputError(
            "the file of symmetries cannot be read", where=str(path), why=str(e), next="Correct the file"
        ) from None
    listed = document.get("symmetries") if isinstance(document, dict) else None
    if not isinstance(listed, list) or not listed or set(document) != {"symmetries"}:
        raise _wrong(path, "it has to be a table with one key, symmetries: a list of at least one")
    found = []
    for number, entry in enumerate(listed, 1):
        where = f"{path}, symmetry {number}"
        if not isinstance(entry, dict) or not entry or not set(entry) <= {"cells", "tokens"}:
            raise _wrong(path, f"symmetry {number} is no table of cells and tokens")
        symmetry = Symmetry.of(entry.get("cells", list(range(seq))), entry.get("tokens", list(range(vocab))), where)
        found.append(checked(symmetry, seq, vocab, where))
    return tuple(found)


def _wrong(path: Path, why: str) -> InputError:
    return InputError("this is no file of symmetries", where=str(path), why=why,
                      next='Write {"symmetries": [{"cells": [1, 0, ...], "tokens": [0, 1, ...]}, ...]}')  # fmt: skip
