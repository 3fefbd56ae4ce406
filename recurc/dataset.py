"""Datasets in the reference code's directory form: `<dir>/{train,test}/dataset.json` and `<set>__*.npy` beside it.

Tokens are small whole numbers. A puzzle may have several examples; each carries its puzzle's identifier.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Optional, Protocol

import numpy as np

from recurc.errors import InputError

_NO_LABEL = -1  # stands for every label where the dataset has none, and names no value to be ignored
_LAYOUT = (
    "A dataset directory holds train/ and test/, each with dataset.json and all__inputs.npy, "
    "as the reference code's build scripts write them"
)


@dataclass(frozen=True)
class Metadata:
    """`dataset.json`: lengths are counts; `ignore_label_id` marks cells that do not count (None: all count)."""

    seq_len: int
    vocab_size: int
    num_puzzle_identifiers: int
    pad_id: int
    ignore_label_id: Optional[int]
    blank_identifier_id: int
    sets: tuple[str, ...]


@dataclass(frozen=True)
class Dataset:
    """One split of a dataset.

    `inputs` [N, seq_len] uint8 (int32 for vocabularies over 256), `labels` [N, seq_len] int32 as stored (cells equal to
    `ignore_label_id` do not count, see `valid`; without a file of labels none does), `puzzle_ids` [N] int32.
    """

    inputs: np.ndarray
    labels: np.ndarray
    puzzle_ids: np.ndarray
    seq_len: int
    vocab_size: int
    num_puzzle_identifiers: int
    ignore_label_id: Optional[int]
    path: Path
    split: str

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def valid(self) -> np.ndarray:
        """Mask [N, seq_len] of the cells that count for accuracy."""
        if self.ignore_label_id is None:
            return np.ones(self.labels.shape, bool)
        return self.labels != self.ignore_label_id

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
                next="Pass a dataset with labels; without any there are `recurc verify` and `recurc tune --min-fidelity`",
            )  # fmt: skip
        return self if counts.all() else self._select(np.flatnonzero(counts))

    def take(self, n: Optional[int], offset: int = 0) -> Dataset:
        """`n` examples from `offset` on (all that follow when n is None; fewer when the split ends)."""
        return self._select(np.arange(offset, len(self) if n is None else min(offset + n, len(self))))

    def sample(self, n: int, seed: int) -> Dataset:
        """`n` examples drawn without replacement (all of them, shuffled, when the split has fewer)."""
        return self._select(np.random.default_rng(seed).permutation(len(self))[:n])

    def _select(self, index: np.ndarray) -> Dataset:
        return replace(self, inputs=self.inputs[index], labels=self.labels[index], puzzle_ids=self.puzzle_ids[index])


class ModelShape(Protocol):
    """What `check_compatible` needs of a model's configuration."""

    seq_len: int
    vocab_size: int
    num_puzzle_identifiers: int
    puzzle_emb_ndim: int


def read_metadata(folder: Path) -> Metadata:
    """Read `dataset.json` of one split.

    Raises:
        InputError: not there, not JSON, or fields missing.
    """
    path = folder / "dataset.json"
    try:
        raw = json.loads(path.read_text())
        ignore = raw.get("ignore_label_id")
        meta = Metadata(
            seq_len=int(raw["seq_len"]),
            vocab_size=int(raw["vocab_size"]),
            num_puzzle_identifiers=int(raw.get("num_puzzle_identifiers", 1)),
            pad_id=int(raw.get("pad_id") or 0),
            ignore_label_id=None if ignore is None else int(ignore),
            blank_identifier_id=int(raw.get("blank_identifier_id") or 0),
            sets=tuple(str(s) for s in raw.get("sets") or ["all"]),
        )
    except OSError as error:
        raise InputError(
            "dataset.json cannot be read", where=str(path), why=error.strerror or "", next=_LAYOUT
        ) from None
    except KeyError as error:
        raise InputError(
            "dataset.json is incomplete", where=str(path), why=f"field {error} is missing", next=_LAYOUT
        ) from None
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError("dataset.json is not valid", where=str(path), why=str(error), next=_LAYOUT) from None
    if min(meta.seq_len, meta.vocab_size, meta.num_puzzle_identifiers) < 1:
        raise InputError("dataset.json is not valid", where=str(path), why="a size in it is not positive", next=_LAYOUT)
    return meta


def load_dataset(directory: str | Path, split: str) -> Dataset:
    """Load one split, "train" or "test".

    Raises:
        InputError: missing or empty directory, arrays missing, pickled, of inconsistent lengths, or tokens out of range
            (the first one is named).
    """
    root = Path(directory).expanduser()
    folder = root / split
    if not root.is_dir():
        why = "it is a file" if root.exists() else "there is no such directory"
        raise InputError("no dataset directory", where=str(root), why=why, next=_LAYOUT)
    if not folder.is_dir():
        there = sorted(p.name for p in root.iterdir())
        why = f"found {', '.join(there[:6])}" if there else "the directory is empty"
        if "dataset.json" in there:
            why = "this is a split's own folder; the dataset directory is the one above it"
        raise InputError(f"the dataset has no {split} split", where=str(root), why=why, next=_LAYOUT)
    meta = read_metadata(folder)
    parts = [_load_set(folder, name, meta) for name in meta.sets]
    inputs, labels, ids = (
        np.concatenate(arrays) if len(parts) > 1 else arrays[0] for arrays in zip(*parts, strict=True)
    )
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
    )


def check_compatible(dataset: Dataset, config: ModelShape) -> None:
    """Check that a dataset's sequence length, vocabulary and puzzle identifiers are the model's.

    Raises:
        InputError: they are not; all differences are named.
    """
    wrong = []
    if dataset.seq_len != config.seq_len:
        wrong.append(f"sequences of {dataset.seq_len} cells where the model takes {config.seq_len}")
    if dataset.vocab_size != config.vocab_size:
        wrong.append(f"a vocabulary of {dataset.vocab_size} where the model's is {config.vocab_size}")
    if config.puzzle_emb_ndim > 0 and len(dataset.puzzle_ids):
        highest = int(dataset.puzzle_ids.max())
        if highest >= config.num_puzzle_identifiers:
            wrong.append(f"puzzle identifier {highest} where the model has {config.num_puzzle_identifiers} embeddings")
    if wrong:
        raise InputError(
            "the dataset is not of this model",
            where=f"{dataset.path}/{dataset.split}",
            why="it has " + " and ".join(wrong),
            next="Pass the dataset that the checkpoint was trained on with --data DIR",
        )


def _load_set(folder: Path, name: str, meta: Metadata) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    inputs = _array(folder, f"{name}__inputs.npy", 2)
    extra = meta.ignore_label_id
    if (folder / f"{name}__labels.npy").exists():
        labels = _array(folder, f"{name}__labels.npy", 2)
    else:
        extra = _NO_LABEL if extra is None else extra
        labels = np.full(inputs.shape, extra, dtype=np.int32)
    identifiers, indices = (_array(folder, f"{name}__puzzle_{kind}.npy", 1) for kind in ("identifiers", "indices"))
    n = len(inputs)
    _same(folder, f"{name}__inputs.npy columns", inputs.shape[1], "dataset.json seq_len", meta.seq_len)
    _same(folder, f"{name}__labels.npy shape", labels.shape, f"{name}__inputs.npy shape", inputs.shape)
    _same(folder, f"{name}__puzzle_indices.npy length", len(indices), "puzzle identifiers + 1", len(identifiers) + 1)
    ends_right = int(indices[0]) == 0 and int(indices[-1]) == n
    if not ends_right or bool(np.any(np.diff(indices.astype(np.int64)) < 0)):
        why = f"puzzle indices must rise from 0 to the {n} examples"
        raise InputError(
            "dataset arrays disagree", where=str(folder / f"{name}__puzzle_indices.npy"), why=why, next=_LAYOUT
        )
    _in_range(
        folder / f"{name}__inputs.npy", inputs, 0, meta.vocab_size, "token", f"the vocabulary has {meta.vocab_size}"
    )
    _in_range(
        folder / f"{name}__labels.npy",
        labels,
        0,
        meta.vocab_size,
        "label",
        f"the vocabulary has {meta.vocab_size}",
        extra,
    )
    count = meta.num_puzzle_identifiers
    _in_range(
        folder / f"{name}__puzzle_identifiers.npy", identifiers, 0, count, "puzzle identifier", f"there are {count}"
    )
    puzzle = np.searchsorted(indices, np.arange(n), side="right") - 1
    tokens = inputs.astype(np.uint8 if meta.vocab_size <= 256 else np.int32, copy=False)
    return tokens, labels.astype(np.int32, copy=False), identifiers[puzzle].astype(np.int32, copy=False)


def _array(folder: Path, name: str, ndim: int) -> np.ndarray:
    path = folder / name
    try:
        array = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise InputError("a dataset file is missing", where=str(path), why="", next=_LAYOUT) from None
    except (OSError, ValueError, EOFError) as error:
        why = "it holds pickled objects, which recurc never loads" if "pickle" in str(error).lower() else str(error)
        if path.stat().st_size == 0:
            why = "the file is empty"
        raise InputError("a dataset file cannot be read", where=str(path), why=why, next=_LAYOUT) from None
    if not isinstance(array, np.ndarray) or array.ndim != ndim or array.dtype.kind not in "iu":
        shape = getattr(array, "shape", "no array")
        why = f"expected whole numbers in {ndim} dimension(s), found {getattr(array, 'dtype', '')} {shape}"
        raise InputError("a dataset file is not what it should be", where=str(path), why=why, next=_LAYOUT)
    return array


def _same(folder: Path, name_a: str, a: object, name_b: str, b: object) -> None:
    if a != b:
        raise InputError(
            "dataset arrays disagree", where=str(folder), why=f"{name_a}: {a}; {name_b}: {b}", next=_LAYOUT
        )


def _in_range(
    path: Path, array: np.ndarray, low: int, high: int, what: str, limit: str, extra: Optional[int] = None
) -> None:
    if array.size == 0 or (array.min() >= low and array.max() < high):
        return
    bad = (array < low) | (array >= high)
    if extra is not None:
        bad &= array != extra
    if bad.any():
        index = np.unravel_index(int(np.argmax(bad)), array.shape)
        at = ", ".join(str(int(i)) for i in index)
        raise InputError(
            f"a {what} is out of range",
            where=f"{path}[{at}]",
            why=f"{what} {int(array[index])}: {limit}, numbered from 0 ({int(bad.sum())} out of range in all)",
            next="Rebuild the dataset, or correct dataset.json",
        )
