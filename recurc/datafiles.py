"""Examples of one's own, from the files people have: NumPy arrays, CSV, JSON lines; as arrays of tokens.

A table has one example in a row. Its columns are told by name; a cell is whole numbers with spaces between them, or one word
whose characters are the tokens ("53..7...."), where `symbols` says which.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recurc.alphabet import Alphabet
from recurc.arguments import argument
from recurc.arrayfile import npy_of, read_npy
from recurc.dataset import whole_numbers
from recurc.errors import InputError, UsageError, printable
from recurc.formats import parse_json
from recurc.reading import Unreadable, clause, enough_memory, open_regular, read_text, shown, size_of
from recurc.zipread import ZipMembers

# Column -> names it goes by, the first that is there counts.
COLUMNS = {
    "inputs": ("inputs", "input", "question", "puzzle", "quizzes", "x"),
    "labels": ("labels", "label", "answer", "solution", "solutions", "y"),
    "ids": ("ids", "puzzle_ids", "puzzle_identifiers", "puzzle_id", "id"),
}
SUFFIXES = (".npy", ".npz", ".csv", ".jsonl")
_MOST_PROBLEMS = 10
_KINDS = "iubf"  # numbers that may be whole
_LIMIT = 1 << 30  # bytes of a table
_LINE = 1 << 24  # characters of a line
_UNPACKED = 1 << 28  # bytes that a .npz may have unpacked, or 16 times its own
_COLUMNS = 5000
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}


@dataclass(frozen=True)
class Examples:
    """Tokens [N, seq] int64, labels [N, seq] or None, puzzle identifiers [N] or None; `told`: which columns they were."""

    inputs: np.ndarray
    labels: np.ndarray | None = None
    ids: np.ndarray | None = None
    told: str = ""


def read_examples(inputs: Path, labels: Path | None = None, ids: Path | None = None, symbols: str = "") -> Examples:
    """Examples of a table (CSV, JSON lines, .npz with several arrays), or of one file for each column.

    Args:
        inputs: the tokens, or a table of everything.
        labels, ids: files of their own.
        symbols: characters in the order of their tokens from 1 on (0 is padding), for cells of text.

    Raises:
        InputError: a file cannot be read or holds something else (all problems of the first rows are named).
        UsageError: a column is in two files, or of an unknown kind.
    """
    try:
        alphabet = Alphabet(symbols) if symbols else None
    except ValueError as error:
        raise UsageError(
            str(error),
            where=argument("symbols"),
            why="each stands for one token, numbered in their order from 1 on",
            next="Name each character once",
        ) from None
    found = _table(inputs, alphabet)
    if "inputs" not in found:
        raise InputError(
            "no column of inputs",
            where=str(inputs),
            why="it has " + ", ".join(found["names"]),
            next="Name the column inputs; it also goes by " + ", ".join(COLUMNS["inputs"][1:]),
        )
    own = {"inputs": inputs}
    for name, file in (("labels", labels), ("ids", ids)):
        if file is None:
            continue
        if name in found:
            raise UsageError(
                f"{name} are in two files",
                where=f"{inputs} and {file}",
                why="the table has that column too",
                next=f"Leave out {argument(name)}, or take the column out of the table",
            )
        other = _table(file, None if name == "ids" else alphabet)
        found[name] = other.get(name, other.get("inputs"))
        own[name] = file
    arrays = {
        name: _numbers(found[name], own.get(name, inputs), 1 if name == "ids" else 2)
        for name in COLUMNS
        if found.get(name) is not None
    }
    rows = {name: len(a) for name, a in arrays.items()}
    if len(set(rows.values())) > 1:
        raise InputError(
            "the columns have different lengths",
            where=str(inputs),
            why=", ".join(f"{n} {name}" for name, n in rows.items()),
            next="Give one row for each example",
        )
    if "labels" in arrays and arrays["labels"].shape != arrays["inputs"].shape:
        raise InputError(
            "inputs and labels have different shapes",
            where=str(own.get("labels", inputs)),
            why=f"{arrays['inputs'].shape} and {arrays['labels'].shape}",
            next="Give a label for every cell; -100 where a cell does not count",
        )
    return Examples(arrays["inputs"], arrays.get("labels"), arrays.get("ids"), found.get("told", ""))


Column = np.ndarray | list[Any]  # of what the file has: numbers, or rows of them


def _table(path: Path, symbols: Alphabet | None) -> dict[str, Any]:
    """Columns by their standard names; "names": all that the file has, "told": which were taken."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise UsageError(
            f"files of the kind {suffix or 'without suffix'} are not read",
            where=str(path),
            why="they are told apart by their suffix",
            next="Give one of " + ", ".join(SUFFIXES),
        )
    try:
        open_regular(path).close()
    except Unreadable as error:
        raise InputError("the file cannot be read", where=str(path), why=str(error), next="Name a file of examples") from None
    try:
        with enough_memory("the file", str(path)):
            if suffix == ".npy":
                return {"inputs": read_npy(path, _KINDS), "names": ["one array"]}
            separated = ""
            if suffix == ".npz":
                columns: Mapping[str, Column] = _npz(path)
            elif suffix == ".jsonl":
                columns = _json_lines(read_text(path, _LIMIT), symbols)
            else:
                columns, separated = _csv(read_text(path, _LIMIT), symbols)
    except (ValueError, csv.Error) as error:
        raise InputError(
            "the file is not what it should be",
            where=str(path),
            why=clause(error, 300),
            next="See `recurc dataset make --help` for the forms",
        ) from None
    return {**_named(columns, separated), "names": [printable(name, 40) for name in list(columns)[:20]]}


def _npz(path: Path) -> dict[str, np.ndarray]:
    """Arrays of a .npz file by name."""
    with open_regular(path) as file:
        archive = ZipMembers(file, packed=True)
        left, columns = max(_UNPACKED, 16 * size_of(file)), {}
        for name in archive.members:
            if not name.endswith(".npy"):
                continue
            data = archive.read(name, left)
            left -= len(data)
            columns[name.removesuffix(".npy")] = npy_of(data, _KINDS)
    if not columns:
        raise ValueError("it holds no arrays")
    return columns


def _named(columns: Mapping[str, Column], separated: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    lower = {name.strip().lower(): name for name in columns}
    for standard, names in COLUMNS.items():
        for name in names:
            if name in lower:
                found[standard] = columns[lower[name]]
                break
    taken = {standard: next(lower[n] for n in COLUMNS[standard] if n in lower) for standard in found}
    found["told"] = ", ".join(f"{standard} from {name!r}" if standard != name else standard for standard, name in taken.items())
    found["told"] += separated
    return found


def _csv(text: str, symbols: Alphabet | None) -> tuple[dict[str, list[Any]], str]:
    """(columns of a table with a header, or, of numbers without one, everything as inputs; what to say of the separator).

    It is a comma, unless inputs are found with just one of the others and not with commas.
    """
    first = text.lstrip("\n").partition("\n")[0]
    found = [
        mark for mark in _SEPARATORS if _has_inputs([cell.strip() for cell in next(csv.reader([first], delimiter=mark), [])])
    ]
    mark = found[0] if len(found) == 1 else ","
    columns = _columns([row for row in csv.reader(io.StringIO(text), delimiter=mark) if row], symbols)
    return columns, "" if mark == "," else f"; columns are separated by {_SEPARATORS[mark]}"


def _has_inputs(header: list[str]) -> bool:
    """Whether a first line names a column of inputs, or is several numbers."""
    return any(cell.lower() in COLUMNS["inputs"] for cell in header) or (len(header) > 1 and all(map(_is_number, header)))


def _columns(rows: list[list[str]], symbols: Alphabet | None) -> dict[str, list[Any]]:
    """The columns of a table's rows."""
    if not rows:
        raise ValueError("it has no rows")
    header = [cell.strip() for cell in rows[0]]
    if all(_is_number(cell) for cell in header):
        return {"inputs": [_cells(" ".join(row), symbols, n) for n, row in enumerate(rows, start=1)]}
    twice = next((name for name in header if header.count(name) > 1), None) if len(header) <= _COLUMNS else "too many"
    if twice is not None:
        raise ValueError(f"the column {shown(twice)} is there twice, or there are more than {_COLUMNS}")
    short = [n for n, row in enumerate(rows[1:], start=2) if len(row) != len(header)]
    if short:
        raise ValueError(f"line {short[0]} has {len(rows[short[0] - 1])} columns, the header {len(header)}")
    wanted = {name for names in COLUMNS.values() for name in names}
    return {
        name: [_cells(row[i], _symbols_of(name, symbols), n) for n, row in enumerate(rows[1:], start=2)]
        if name.lower() in wanted
        else []
        for i, name in enumerate(header)
    }


def _symbols_of(column: str, symbols: Alphabet | None) -> Alphabet | None:
    """Identifiers are numbers, whatever characters stand for tokens."""
    return None if column.lower() in COLUMNS["ids"] else symbols


def _is_number(cell: str) -> bool:
    return cell.strip().lstrip("+-").isdigit()


def _json_lines(text: str, symbols: Alphabet | None) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {}
    for n, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = parse_json(line, _LINE)
        except Unreadable as error:
            raise ValueError(f"line {n}: {str(error).removeprefix('line 1, ').removeprefix('line 1: ')}") from None
        if not isinstance(row, dict):
            row = {"inputs": row}
        if columns and set(row) != set(columns):
            one, first = (printable(", ".join(list(names)[:20]), 120) for names in (row, columns))
            raise ValueError(f"line {n} has the fields {one}, the first line {first}")
        for name, value in row.items():
            told = _cells(value, _symbols_of(name, symbols), n) if isinstance(value, str) else value
            columns.setdefault(name, []).append(told)
    if not columns:
        raise ValueError("it has no lines")
    return columns


def _cells(cell: str, symbols: Alphabet | None, line: int) -> list[int] | int:
    """The tokens of a cell of text: one word of symbols, which may be spaces too, or else numbers."""
    words = cell.replace(",", " ").split()
    if symbols is not None:
        tokens = symbols.tokens(cell)
        if tokens is None and len(words) <= 1:
            unknown = sorted({c for c in cell if symbols.tokens(c) is None})
            raise ValueError(f"line {line} has {shown(''.join(unknown))}, which {argument('symbols')} does not name")
        if tokens is not None:
            return tokens
    if not all(map(_is_number, words)):
        bad = next(w for w in words if not _is_number(w))
        hint = "" if symbols else f"; where characters are tokens, name them with {argument('symbols')}"
        raise ValueError(f"line {line}: {bad[:40]!r} is not a whole number{hint}")
    if not symbols and len(words) == 1 and len(words[0]) > 18:
        raise ValueError(
            f"line {line}: one word of {len(words[0])} digits; where characters are tokens, name them with "
            f"{argument('symbols')}"
        )
    return [int(w) for w in words]


def _numbers(values: Any, path: Path, ndim: int) -> np.ndarray:
    """An array of whole numbers. Raises InputError: rows of different lengths, or no numbers."""
    if isinstance(values, list):
        lengths = [len(v) if isinstance(v, list) else 1 for v in values]
        if len(set(lengths)) > 1:
            bad = [i for i, length in enumerate(lengths) if length != lengths[0]]
            raise InputError(
                "rows have different lengths",
                where=str(path),
                why=f"row {bad[0]} has {lengths[bad[0]]} tokens, row 0 has {lengths[0]} ({len(bad)} rows differ)",
                next="Pad them to one length, with a padding token and labels of -100",
            )
    array = whole_numbers(values, "tokens", str(path))
    if ndim == 1 and array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if ndim == 2 and array.ndim > 2:
        array = array.reshape(len(array), -1)  # grids, row by row
    if array.ndim != ndim or not array.size:
        raise InputError(
            "an array has the wrong shape",
            where=str(path),
            why=f"it is {array.shape}",
            next="Inputs and labels are [examples, cells], identifiers [examples]",
        )
    return array


def first_problems(problems: Iterable[str]) -> str:
    """Several problems as one text, cut after the first ones."""
    listed = list(problems)
    more = len(listed) - _MOST_PROBLEMS
    return "; ".join(listed[:_MOST_PROBLEMS]) + (f"; and {more} more" if more > 0 else "")
