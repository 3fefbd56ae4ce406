"""Datasets in the reference code's directory form: `<dir>/{train,test}/dataset.json` and `<set>__*.npy` beside it.

Tokens are small whole numbers. A puzzle may have several examples; each carries its puzzle's identifier. Where the files of
identifiers are missing, every example is a puzzle of its own with identifier 0.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np

from recurc.alphabet import Alphabet
from recurc.arguments import argument
from recurc.arrayfile import read_npy
from recurc.dataset.split import IGNORED, NO_LABEL, Dataset
from recurc.errors import InputError, UsageError
from recurc.formats import parse_json
from recurc.problems import Problems
from recurc.puzzlenames import check_names, names_in
from recurc.reading import Unreadable, enough_memory, is_file, is_folder, is_there, not_read, read_text, shown, user_path

_LARGEST = 2**31 - 1
_SETS = 64
_SET = re.compile(r"\w[\w.-]{0,99}")
_LAYOUT = (
    "A dataset directory holds train/ and test/, each with dataset.json and all__inputs.npy, "
    "as `recurc dataset make` and the reference code's build scripts write them"
)


@dataclass(frozen=True)
class Metadata:
    """`dataset.json`: lengths are counts; `ignore_label_id` marks cells that do not count (None: all count)."""

    seq_len: int
    vocab_size: int
    num_puzzle_identifiers: int
    pad_id: int
    ignore_label_id: int | None
    blank_identifier_id: int
    sets: tuple[str, ...]
    symbols: str = ""  # characters of tokens 1, 2, ...; "": not known


def read_metadata(folder: Path) -> Metadata:
    """Read `dataset.json` of one split.

    Raises:
        InputError: not there, not JSON, or fields missing.
    """
    path = folder / "dataset.json"
    try:
        text = read_text(path)
    except Unreadable as error:
        raise not_read(error, path, "dataset.json", "dataset.json cannot be read", _LAYOUT) from None
    try:
        raw = parse_json(text)
        if not isinstance(raw, dict):
            raise Unreadable(f"it holds {shown(raw)}, not a table of fields")
        _check_spelling(raw)
        return Metadata(
            seq_len=_count(raw, "seq_len", 1),
            vocab_size=_count(raw, "vocab_size", 1),
            num_puzzle_identifiers=_count(raw, "num_puzzle_identifiers", 1, absent=1),
            pad_id=_count(raw, "pad_id", 0, absent=0),
            ignore_label_id=None if raw.get("ignore_label_id") is None else _count(raw, "ignore_label_id", -_LARGEST),
            blank_identifier_id=_count(raw, "blank_identifier_id", 0, absent=0),
            sets=_sets(raw),
            symbols=_symbols(raw),
        )
    except Unreadable as error:
        raise InputError("dataset.json is not valid", where=str(path), why=str(error), next=_LAYOUT) from None


def _check_spelling(raw: dict[str, Any]) -> None:
    """That no field is meant and misspelt: it would be taken for missing. Others than ours are everybody's own.

    Raises:
        Unreadable: names the first one.
    """
    ours = [f.name for f in fields(Metadata)]
    absent = [name for name in ours if raw.get(name) is None]
    for name in raw:
        if name not in ours and (near := get_close_matches(name[:100].lower().replace("-", "_"), absent, n=1, cutoff=0.8)):
            raise Unreadable(f"{shown(name)} is no field that is known: {near[0]} is meant, or leave it out")


def _count(raw: dict[str, Any], name: str, least: int, absent: int | None = None) -> int:
    """A whole number of dataset.json; `absent` stands for one that is missing or null."""
    value = raw.get(name)
    if value is None:
        if absent is None:
            raise Unreadable(f"field {name!r} is missing")
        return absent
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= _LARGEST:
        raise Unreadable(f"{name} is {shown(value)}, not a whole number from {least} to {_LARGEST}")
    return value


def _sets(raw: dict[str, Any]) -> tuple[str, ...]:
    """Names of a split's sets, the first parts of its arrays' file names."""
    names = raw.get("sets") or ["all"]
    if not isinstance(names, list) or len(names) > _SETS:
        raise Unreadable(f"sets is {shown(names)}, not a list of at most {_SETS} names")
    wrong = [name for name in names if not isinstance(name, str) or not _SET.fullmatch(name) or names.count(name) > 1]
    if wrong:
        raise Unreadable(f"{shown(wrong[0])} is no name of a set, or stands there twice")
    return tuple(names)


def _symbols(raw: dict[str, Any]) -> str:
    """The characters that stand for tokens; none where the file does not say."""
    text = raw.get("symbols")
    if text is None or text == "":
        return ""
    try:
        if not isinstance(text, str) or len(text) >= int(raw["vocab_size"]):
            raise ValueError("no text of one character for each token from 1 on")
        return Alphabet(text).symbols
    except ValueError as error:
        raise Unreadable(f"symbols is {shown(text)}: {error}") from None


class NoSplit(InputError):
    """There is no such split, or no dataset at all: something that is absent, and nothing that is wrong or cannot be read."""


def load_dataset(directory: str | Path, split: str) -> Dataset:
    """Load one split, "train" or "test".

    Raises:
        NoSplit: it is not there. InputError: the directory cannot be read or is empty, arrays are missing, pickled, of
            inconsistent lengths, or tokens out of range (the first one is named).
    """
    root = user_path(directory)
    folder = root / split
    if not is_folder(root):
        why = "it is a file" if is_there(root) else "there is no such directory"
        raise NoSplit("no dataset directory", where=str(root), why=why, next=_LAYOUT)
    if not is_folder(folder):
        try:
            there = sorted(p.name for p in root.iterdir())
        except OSError as error:
            raise InputError("the directory cannot be read", where=str(root), why=error.strerror or "", next=_LAYOUT) from None
        why = f"found {', '.join(there[:6])}" if there else "the directory is empty"
        if "dataset.json" in there:
            why = "this is a split's own folder; the dataset directory is the one above it"
        raise NoSplit(f"the dataset has no {split} split", where=str(root), why=why, next=_LAYOUT)
    meta = read_metadata(folder)
    check_names(
        dataset_names(root),
        "the splits of the dataset name their puzzles differently",
        "Move away the split that is not of this dataset",
    )
    with enough_memory("the dataset", str(folder)):
        return _load(root, split, folder, meta)


def _load(root: Path, split: str, folder: Path, meta: Metadata) -> Dataset:
    problems, parts = Problems(), []
    for name in meta.sets:
        with problems:
            parts.append(_load_set(folder, name, meta))
    problems.raise_all(folder, _LAYOUT)
    inputs, labels, ids = (np.concatenate(arrays) if len(parts) > 1 else arrays[0] for arrays in zip(*parts, strict=True))
    if len(inputs) == 0:
        raise InputError("the dataset is empty", where=str(folder), why="it has no examples", next=_LAYOUT)
    return Dataset(
        inputs,
        labels,
        ids,
        meta.seq_len,
        meta.vocab_size,
        meta.num_puzzle_identifiers,
        NO_LABEL if meta.ignore_label_id is None and labels.min() == NO_LABEL else meta.ignore_label_id,
        root,
        split,
        symbols=meta.symbols,
    )


def examples(dataset: object, limit: object = None, split: str = "test") -> Dataset:
    """What a function was given as its `dataset` and `limit`: a dataset, or that split of a dataset directory, and of it the
    first so many.

    Raises:
        UsageError: neither, or no count. InputError: as of `load_dataset`.
    """
    if isinstance(dataset, (str, Path)):
        dataset = load_dataset(dataset, split)
    if not isinstance(dataset, Dataset):
        raise UsageError(
            f"dataset is no dataset: {shown(dataset)}",
            where=argument("dataset", option="data"),
            next=f"Pass recurc.load_dataset(DIR, {split!r}) or recurc.Dataset.from_arrays(inputs, labels)",
        )
    if limit is None:
        return dataset
    if not isinstance(limit, (int, np.integer)) or isinstance(limit, bool) or limit < 1:
        raise UsageError(
            f"limit is no number of puzzles: {shown(limit)}",
            where=argument("limit"),
            next="Give a whole number from 1, or leave it out for all of them",
        )
    return dataset.take(int(limit))


def dataset_symbols(root: Path) -> str:
    """The characters that stand for a dataset directory's tokens; "" where it does not say. Raises InputError."""
    splits = [root / split for split in ("test", "train") if is_file(root / split / "dataset.json")]
    return next((text for split in splits if (text := read_metadata(split).symbols)), "")


def dataset_names(root: Path) -> list[Path]:
    """The files that name a dataset directory's puzzle identifiers."""
    return names_in(root, root / "train", root / "test")


def load_splits(directory: str | Path) -> dict[str, Dataset]:
    """Both splits of a dataset directory, or the one that it has, by name.

    Raises:
        InputError: it has neither, or there is something wrong with one: all problems are named.
    """
    root = user_path(directory)
    there = [split for split in ("train", "test") if is_folder(root / split)]
    problems, found = Problems(), {}
    for split in there or ["train"]:
        with problems:
            found[split] = load_dataset(root, split)
    problems.raise_all(root, _LAYOUT)
    return found


def _load_set(folder: Path, name: str, meta: Metadata) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    problems = Problems()
    inputs, labels, puzzles, extra = None, None, None, meta.ignore_label_id
    with problems:
        inputs = _array(folder, f"{name}__inputs.npy", 2)
        _same(folder, f"{name}__inputs.npy columns", inputs.shape[1], "dataset.json seq_len", meta.seq_len)
        limit = f"the vocabulary has {meta.vocab_size}"
        _in_range(folder / f"{name}__inputs.npy", inputs, meta.vocab_size, "token", limit)
    if is_there(folder / f"{name}__labels.npy", follow=False):
        with problems:
            labels = _array(folder, f"{name}__labels.npy", 2)
            if inputs is not None:
                _same(folder, f"{name}__labels.npy shape", labels.shape, f"{name}__inputs.npy shape", inputs.shape)
            limit = f"the vocabulary has {meta.vocab_size}"
            _in_range(folder / f"{name}__labels.npy", labels, meta.vocab_size, "label", limit, (IGNORED, extra))
    elif inputs is not None:
        labels = np.full(inputs.shape, NO_LABEL if extra is None else extra, dtype=np.int32)
    with problems:
        puzzles = _puzzles(folder, name, meta, None if inputs is None else len(inputs))
    problems.raise_all(folder, _LAYOUT)
    assert inputs is not None and labels is not None and puzzles is not None
    tokens = inputs.astype(np.uint8 if meta.vocab_size <= 256 else np.int32, copy=False)
    return tokens, labels.astype(np.int32, copy=False), puzzles


def _puzzles(folder: Path, name: str, meta: Metadata, n: int | None) -> np.ndarray:
    """Each example's puzzle identifier, int32 [n]; n is None where the inputs cannot be read."""
    files = [folder / f"{name}__puzzle_{kind}.npy" for kind in ("identifiers", "indices")]
    if not any(is_there(f, follow=False) for f in files) and meta.num_puzzle_identifiers == 1:
        return np.zeros(n or 0, dtype=np.int32)
    identifiers, indices = (_array(folder, file.name, 1) for file in files)
    _same(folder, f"{name}__puzzle_indices.npy length", len(indices), "puzzle identifiers + 1", len(identifiers) + 1)
    if n is None:
        return identifiers
    ends_right = int(indices[0]) == 0 and int(indices[-1]) == n
    if not ends_right or bool(np.any(np.diff(indices.astype(np.int64)) < 0)):
        raise InputError(
            "dataset arrays disagree",
            where=str(files[1]),
            next=_LAYOUT,
            why=f"puzzle indices must rise from 0 to the {n} examples",
        )
    count = meta.num_puzzle_identifiers
    _in_range(files[0], identifiers, count, "puzzle identifier", f"there are {count}")
    return identifiers[np.searchsorted(indices, np.arange(n), side="right") - 1].astype(np.int32, copy=False)


def _array(folder: Path, name: str, ndim: int) -> np.ndarray:
    path = folder / name
    if not is_there(path):
        raise InputError("a dataset file is missing", where=str(path), why="", next=_LAYOUT)
    try:
        return read_npy(path, "iu", ndim)
    except Unreadable as error:
        raise not_read(error, path, "a dataset file", "a dataset file cannot be read", _LAYOUT) from None


def _same(folder: Path, name_a: str, a: object, name_b: str, b: object) -> None:
    if a != b:
        raise InputError("dataset arrays disagree", where=str(folder), why=f"{name_a}: {a}; {name_b}: {b}", next=_LAYOUT)


def _in_range(path: Path, array: np.ndarray, end: int, what: str, limit: str, extra: tuple[int | None, ...] = ()) -> None:
    """That values are 0 .. end - 1, or one of `extra`. Raises InputError: names the first one that is not."""
    if array.size == 0 or (array.min() >= 0 and array.max() < end):
        return
    bad = (array < 0) | (array >= end)
    for allowed in extra:
        if allowed is not None:
            bad &= array != allowed
    if bad.any():
        index = np.unravel_index(int(np.argmax(bad)), array.shape)
        at = ", ".join(str(int(i)) for i in index)
        raise InputError(
            f"a {what} is out of range",
            where=f"{path}[{at}]",
            why=f"{what} {int(array[index])}: {limit}, numbered from 0 ({int(bad.sum())} out of range in all)",
            next="Rebuild the dataset, or correct dataset.json",
        )
