"""What a model is asked, from the command line: tokens as text, a file of them, or examples of a dataset."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recurc.alphabet import Alphabet
from recurc.arrayfile import MAGIC, npy_of
from recurc.cli.common.grid import DIGITS, is_sudoku
from recurc.datafiles import SUFFIXES as EXAMPLES
from recurc.dataset import numbers_only
from recurc.errors import InputError, UsageError, printable
from recurc.filekinds import kind_of
from recurc.formats import parse_json
from recurc.reading import Unreadable, clause, enough_memory, read_regular

if TYPE_CHECKING:
    from recurc.dataset import Dataset

_LIMIT = 1 << 28  # bytes
_FORMS = (
    "an array of NumPy (.npy) [N, seq_len] or [seq_len], or JSON: a list of tokens, a list of such lists, or an object with "
    "inputs and, where the model has puzzle embeddings, puzzle_ids"
)


@dataclass(frozen=True)
class Inputs:
    """Tokens [N, seq_len], puzzle identifiers [N] (None: all zero), labels [N, seq_len] and the mask of those that count where
    they are known, and how they are numbered from (`first`)."""

    tokens: np.ndarray
    puzzle_ids: np.ndarray | None = None
    labels: np.ndarray | None = None
    valid: np.ndarray | None = None
    first: int = 0


def from_text(text: str, seq_len: int, vocab: int, symbols: str = "") -> Inputs:
    """Numbers with spaces or commas between them; one word of `symbols`, the characters of tokens 1, 2, ..., where they are
    known; of a sudoku also its cells as one word, a dot or 0 for an empty one.

    Raises:
        UsageError: neither, or another number of them.
    """
    if symbols and len(text) == seq_len > 1 and (named := Alphabet(symbols).tokens(text)) is not None:
        return Inputs(np.array([named]))
    words = re.split(r"[\s,]+", text.strip().strip("[]").strip())
    if len(words) == 1 and len(words[0]) == seq_len and seq_len > 1 and is_sudoku(seq_len, vocab) and not symbols:
        return Inputs(np.array([[_cell(c, vocab) for c in words[0]]]))
    try:
        tokens = [int(word) for word in words if word]
    except ValueError:
        why = (
            f"the model takes {seq_len}, and {len(words[0])} characters are given"
            if len(words) == 1
            else (f"{next(w for w in words if not w.lstrip('-').isdigit())[:40]!r} is no number")
        )
        raise UsageError("not a list of tokens", where="--tokens", why=why, next=_text_form(seq_len, vocab, symbols)) from None
    if len(tokens) != seq_len:
        raise UsageError(
            f"{len(tokens)} tokens are given",
            where="--tokens",
            why=f"the model takes {seq_len}",
            next=_text_form(seq_len, vocab, symbols),
        )
    if odd := [t for t in tokens if not 0 <= t < vocab]:
        raise UsageError(
            f"{odd[0]} is no token of this model",
            where="--tokens",
            why=f"its vocabulary is {vocab}",
            next=_text_form(seq_len, vocab, symbols),
        )
    return Inputs(np.array([tokens]))


def _cell(character: str, vocab: int) -> int:
    """The token of a sudoku's cell: 1 is an empty one, then the digits."""
    if character in ".·0_":
        return 1
    digit = DIGITS[: vocab - 2].find(character.upper())
    if digit < 0:
        raise UsageError(
            f"{character!r} is no cell of this puzzle",
            where="--tokens",
            why=f"its digits are {DIGITS[0]} to {DIGITS[vocab - 3]}",
            next="Write empty cells as dots",
        )
    return digit + 2


def _text_form(seq_len: int, vocab: int, symbols: str) -> str:
    numbers = f"Give {seq_len} numbers from 0 to {vocab - 1}, with spaces or commas between them"
    if symbols:
        return numbers + f", or one word of {seq_len} of the characters {symbols!r}"
    return numbers + (f", or the {seq_len} cells as one word with dots for empty ones" if is_sudoku(seq_len, vocab) else "")


def from_file(name: str) -> Inputs:
    """A .npy or JSON file, or - for either on stdin (told apart by how it begins).

    Raises:
        InputError: it cannot be read, or holds something else.
    """
    try:
        data = sys.stdin.buffer.read(_LIMIT + 1) if name == "-" else read_regular(Path(name), _LIMIT)
        if len(data) > _LIMIT:
            raise Unreadable(f"it has more than {_LIMIT:,} bytes")
    except (OSError, Unreadable) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise InputError(
            "the input file cannot be read", where=name, why=why, next="Name a file with --input, or - for stdin"
        ) from None
    where = "stdin" if name == "-" else name
    if odd := _other_kind(name, data):
        raise InputError("the input file is of another kind", where=where, why=odd, next=f"Give {_FORMS}")
    try:
        with enough_memory("the input file", where):
            if data.startswith(MAGIC):
                return Inputs(_rows(npy_of(data, "iuf")))
            return _from_document(parse_json(data.decode("utf-8-sig"), _LIMIT))
    except ValueError as error:
        raise InputError(
            "the input file is not what it should be", where=where, why=clause(error), next=f"Give {_FORMS}"
        ) from None


def _other_kind(name: str, data: bytes) -> str:
    """What a file holds that is neither a NumPy array nor JSON, as a clause; empty where it may be one of them."""
    if data.startswith(MAGIC):
        return ""
    suffix = Path(name).suffix.lower()
    if suffix in EXAMPLES and suffix != ".npy":
        return f"a {suffix} file holds examples of a dataset: `recurc dataset make` reads it, and --data takes what that writes"
    if kind := kind_of(data):
        return f"it is {kind}"
    try:
        return "" if data.decode("utf-8-sig").strip() else "it is empty"
    except UnicodeDecodeError:
        return "it is no text, and no array of NumPy"


def _from_document(document: Any) -> Inputs:
    if isinstance(document, dict):
        unknown = [printable(name, 40) for name in sorted(set(document) - {"inputs", "puzzle_ids"})[:10]]
        if unknown or "inputs" not in document:
            raise ValueError(f"unknown fields {', '.join(unknown)}" if unknown else "the field inputs is missing")
        ids = document.get("puzzle_ids")
        return Inputs(_rows(document["inputs"]), None if ids is None else np.atleast_1d(np.asarray(numbers_only(ids))))
    return Inputs(_rows(document))


def _rows(values: Any) -> np.ndarray:
    array = np.asarray(numbers_only(values))
    if array.dtype.kind not in "iuf" or array.ndim not in (1, 2):
        raise ValueError(f"it holds {array.dtype} in {array.ndim} dimensions, not whole numbers in one or two")
    return np.atleast_2d(array)


def from_dataset(data: Dataset, offset: int, limit: int | None) -> Inputs:
    """Examples of a split, from `offset` on: one when `limit` is None.

    Raises:
        UsageError: there are none so far on.
    """
    part = data.take(1 if limit is None else limit, offset)
    if not len(part):
        raise UsageError(
            "no example is there",
            where=f"--offset {offset}",
            why=f"the split has {len(data)} examples",
            next="Use a smaller offset",
        )
    return Inputs(part.inputs, part.puzzle_ids, part.labels, part.valid, offset)
