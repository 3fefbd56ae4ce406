"""Datasets in the reference code's directory form: `<dir>/{train,test}/dataset.json` and `<set>__*.npy` beside it.

Tokens are small whole numbers. A puzzle may have several examples; each carries its puzzle's identifier. Where the files of
identifiers are missing, every example is a puzzle of its own with identifier 0.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from recurc.alphabet import Alphabet
from recurc.arguments import argument
from recurc.arrayfile import read_npy
from recurc.errors import InputError, UsageError
from recurc.formats import parse_json
from recurc.problems import Problems
from recurc.puzzlenames import check_names, names_in
from recurc.reading import Unreadable, enough_memory, is_file, is_folder, is_there, not_read, read_text, shown, user_path
from recurc.types import BoolArray
from recurc.words import words_for

IGNORED = -100  # a label that never counts, as in the reference code
_NO_LABEL = -1  # stands for every label where the dataset has none, and names no value to be ignored
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


@dataclass(frozen=True)
class Dataset:
    """One split of a dataset.

    `inputs` [N, seq_len] uint8 (int32 for vocabularies over 256), `labels` [N, seq_len] int32 as stored (cells equal to
    `ignore_label_id` or -100 do not count, see `valid`; without a file of labels none does), `puzzle_ids` [N] int32.
    """

    inputs: np.ndarray
    labels: np.ndarray
    puzzle_ids: np.ndarray
    seq_len: int
    vocab_size: int
    num_puzzle_identifiers: int
    ignore_label_id: int | None
    path: Path
    split: str
    in_memory: bool = False  # made of arrays: `path` names no folder
    symbols: str = ""  # characters of tokens 1, 2, ... (see `recurc.alphabet`); "": not known

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def valid(self) -> np.ndarray:
        """Mask [N, seq_len] of the cells that count for accuracy."""
        counts: BoolArray = self.labels != IGNORED
        return counts if self.ignore_label_id is None else counts & (self.labels != self.ignore_label_id)

    @classmethod
    def from_arrays(
        cls,
        inputs: np.ndarray,
        labels: np.ndarray | None = None,
        puzzle_ids: np.ndarray | None = None,
        *,
        vocab_size: int | None = None,
        num_puzzle_identifiers: int | None = None,
        ignore_label_id: int | None = None,
        split: str = "test",
        symbols: str = "",
    ) -> Dataset:
        """A dataset from arrays at hand.

        Args:
            inputs: tokens [N, seq_len].
            labels: [N, seq_len]; -100 and `ignore_label_id` mark cells that do not count. None: no labels.
            puzzle_ids: [N]; zeros when left out.
            vocab_size, num_puzzle_identifiers: default to the smallest numbers that fit.
            split: what it stands for, "train" or "test".
            symbols: the characters of tokens 1, 2, ..., for drawings and answers.

        Raises:
            InputError: arrays of other shapes, or of no whole numbers, or tokens out of range.
        """
        arrays = [_flat(inputs, "inputs", 2)]
        arrays.append(np.full(arrays[0].shape, _NO_LABEL) if labels is None else _flat(labels, "labels", 2))
        arrays.append(np.zeros(len(arrays[0]), int) if puzzle_ids is None else _flat(puzzle_ids, "puzzle_ids", 1))
        tokens, known, ids = arrays
        if known.shape != tokens.shape or len(ids) != len(tokens) or not tokens.size:
            raise InputError(
                "the arrays do not belong together",
                where="Dataset.from_arrays",
                why=f"inputs {tokens.shape}, labels {known.shape}, puzzle_ids {ids.shape}",
                next="Give inputs and labels [N, seq_len], and puzzle_ids [N]",
            )
        ignore = _NO_LABEL if labels is None and ignore_label_id is None else ignore_label_id
        named = known[(known != IGNORED) & (known != (IGNORED if ignore is None else ignore))]
        vocab = int(max(tokens.max(), named.max(initial=0))) + 1 if vocab_size is None else vocab_size
        puzzles = int(ids.max()) + 1 if num_puzzle_identifiers is None else num_puzzle_identifiers
        if symbols:
            try:
                Alphabet(symbols)
            except ValueError as error:
                raise InputError(str(error), where=argument("symbols"), next="Name each character once") from None
        for name, values, limit in (("inputs", tokens, vocab), ("labels", named, vocab), ("puzzle_ids", ids, puzzles)):
            if values.size and (values.min() < 0 or values.max() >= limit):
                raise InputError(
                    f"{name} are out of range",
                    where="Dataset.from_arrays",
                    why=f"they go from {values.min()} to {values.max()}, where 0 to {limit - 1} are allowed",
                    next="Number tokens and puzzles from 0 on, or give larger sizes",
                )
        return cls(
            tokens.astype(np.uint8 if vocab <= 256 else np.int32),
            known.astype(np.int32),
            ids.astype(np.int32),
            tokens.shape[1],
            vocab,
            puzzles,
            ignore,
            Path("arrays"),
            split,
            in_memory=True,
            symbols=symbols,
        )

    def __repr__(self) -> str:
        labels = "" if self.valid.any() else ", no labels"
        return (
            f"Dataset({self.path}/{self.split}: {len(self):,} examples of {self.seq_len} {words_for(self.seq_len).places}, "
            f"vocabulary {self.vocab_size}{labels})"
        )

    def labelled(self) -> Dataset:
        """The examples that accuracy counts: those with at least one such cell, as the reference code does.

        Raises:
            InputError: there are none.
        """
        counts = self.valid.any(axis=1)
        if not counts.any():
            raise InputError(
                "no example has labels, so there is no accuracy", where=f"{self.path}/{self.split}",
                why="all__labels.npy is missing, or all of it is ignore_label_id",
                next="Pass a dataset with labels; without any there are `recurc verify` and `recurc tune --min-fidelity PHI`",
            )  # fmt: skip
        return self if counts.all() else self._select(np.flatnonzero(counts))

    def take(self, n: int | None, offset: int = 0) -> Dataset:
        """`n` examples from `offset` on (all that follow when n is None; fewer when the split ends)."""
        return self._select(np.arange(offset, len(self) if n is None else min(offset + n, len(self))))

    def sample(self, n: int, seed: int) -> Dataset:
        """`n` examples drawn without replacement (all of them, shuffled, when the split has fewer)."""
        return self._select(self.order(seed)[:n])

    def order(self, seed: int) -> np.ndarray:
        """Indices of all examples in the order in which `sample` draws them."""
        return np.random.default_rng(seed).permutation(len(self))

    def unlike(self, seen: np.ndarray, rows: Sequence[int]) -> np.ndarray:
        """Those of `rows` whose input, with its puzzle, is none of the examples `seen`; indices, in their order."""
        known = {self._key(i) for i in seen}
        return np.array([i for i in rows if self._key(i) not in known], dtype=np.int64)

    def _key(self, i: int) -> tuple[int, bytes]:
        return int(self.puzzle_ids[i]), self.inputs[i].tobytes()

    def _select(self, index: np.ndarray) -> Dataset:
        return replace(self, inputs=self.inputs[index], labels=self.labels[index], puzzle_ids=self.puzzle_ids[index])


class ModelShape(Protocol):
    """What `check_compatible` needs of a model's configuration."""

    @property
    def seq_len(self) -> int: ...
    @property
    def vocab_size(self) -> int: ...
    @property
    def num_puzzle_identifiers(self) -> int: ...
    @property
    def puzzle_emb_ndim(self) -> int: ...


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


def load_dataset(directory: str | Path, split: str) -> Dataset:
    """Load one split, "train" or "test".

    Raises:
        InputError: missing or empty directory, arrays missing, pickled, of inconsistent lengths, or tokens out of range
            (the first one is named).
    """
    root = user_path(directory)
    folder = root / split
    if not is_folder(root):
        why = "it is a file" if is_there(root) else "there is no such directory"
        raise InputError("no dataset directory", where=str(root), why=why, next=_LAYOUT)
    if not is_folder(folder):
        try:
            there = sorted(p.name for p in root.iterdir())
        except OSError as error:
            raise InputError("the directory cannot be read", where=str(root), why=error.strerror or "", next=_LAYOUT) from None
        why = f"found {', '.join(there[:6])}" if there else "the directory is empty"
        if "dataset.json" in there:
            why = "this is a split's own folder; the dataset directory is the one above it"
        raise InputError(f"the dataset has no {split} split", where=str(root), why=why, next=_LAYOUT)
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
        _NO_LABEL if meta.ignore_label_id is None and labels.min() == _NO_LABEL else meta.ignore_label_id,
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


def check_compatible(dataset: Dataset, config: ModelShape, checkpoint: str | Path | None = None) -> None:
    """Check that a dataset's sequence length, vocabulary and puzzle identifiers are the model's.

    Args:
        checkpoint: its file, where it is known: names of identifiers beside it are those of its puzzle embeddings.

    Raises:
        InputError: they are not; all differences are named.
    """
    wrong = []
    if dataset.seq_len != config.seq_len:
        wrong.append(f"sequences of {dataset.seq_len} tokens where the model takes {config.seq_len}")
    if dataset.vocab_size != config.vocab_size:
        wrong.append(f"a vocabulary of {dataset.vocab_size} where the model's is {config.vocab_size}")
    if config.puzzle_emb_ndim > 0 and dataset.num_puzzle_identifiers != config.num_puzzle_identifiers:
        # A dataset rebuilt with more or fewer puzzles numbers them otherwise: each would get another one's embedding.
        wrong.append(
            f"{dataset.num_puzzle_identifiers:,} puzzle identifiers where the model has "
            f"{config.num_puzzle_identifiers:,} embeddings"
        )
    if not wrong and config.puzzle_emb_ndim > 0 and checkpoint is not None and not dataset.in_memory:
        check_names(
            [*names_in(Path(checkpoint).parent), *dataset_names(dataset.path)[:1]],
            "the dataset names its puzzles otherwise than the checkpoint",
            f"Pass the dataset that the checkpoint was trained on with {argument('data', 'DIR')}",
        )
    if wrong:
        raise InputError(
            "the dataset is not of this model",
            where=f"{dataset.path}/{dataset.split}",
            why="it has " + " and ".join(wrong),
            next=f"Pass the dataset that the checkpoint was trained on with {argument('data', 'DIR')}",
        )


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
        labels = np.full(inputs.shape, _NO_LABEL if extra is None else extra, dtype=np.int32)
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


def _flat(values: np.ndarray, name: str, ndim: int) -> np.ndarray:
    """An argument of `Dataset.from_arrays` as int64. Raises InputError: other dimensions, or no whole numbers."""
    array = whole_numbers(values, name, "Dataset.from_arrays")
    if array.ndim != ndim:
        raise InputError(
            f"{name} have the wrong shape",
            where=f"shape {array.shape}",
            why=f"it takes {ndim} dimension(s)",
            next="Give inputs and labels [N, seq_len], and puzzle_ids [N]",
        )
    return array


def whole_numbers(values: object, what: str, where: str) -> np.ndarray:
    """Anything that is whole numbers, as an int64 array of its own shape. Raises InputError."""
    try:
        array = np.asarray(numbers_only(values))
        if array.dtype.kind in "iub" or (
            array.dtype.kind == "f" and bool(np.all(np.abs(array) < 2**53)) and bool(np.all(array == np.floor(array)))
        ):
            return array.astype(np.int64)
        why = f"they are {array.dtype}"
    except (ValueError, TypeError, OverflowError) as error:
        why = " ".join(str(error).split())[:200]
    raise InputError(f"{what} are not whole numbers", where=where, why=why, next="Give integers, in an array or a list")


def numbers_only(values: object) -> object:
    """The values, when lists and tuples of them, however deep, hold numbers and arrays alone.

    NumPy makes an array of texts as wide as the longest: a few of them can ask for all memory. Raises ValueError.
    """
    todo = [values]
    while todo:
        value = todo.pop()
        if isinstance(value, (list, tuple)):
            todo += value
        elif not isinstance(value, (int, float, np.ndarray, np.generic)):
            raise ValueError(f"{shown(value)} is among them")
    return values


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
