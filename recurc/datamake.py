"""Writes a dataset directory in the reference code's form from arrays of one's own."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from recurc.arguments import argument
from recurc.datafiles import Examples, first_problems
from recurc.dataset import IGNORED
from recurc.errors import InputError, UsageError
from recurc.files import write_whole
from recurc.types import BoolArray

SPLITS = ("train", "test")


@dataclass(frozen=True)
class Shape:
    """What a directory's splits have in common: cells of an example, tokens, puzzle identifiers (0 is the blank one), and the
    characters of tokens 1, 2, ..., where there are such."""

    seq_len: int
    vocab_size: int
    identifiers: int
    symbols: str = ""


def shape_of(examples: Examples, vocab: int | None = None, ignore: int | None = None, symbols: str = "") -> Shape:
    """The smallest shape that examples fit in; `vocab` tokens when given, or else one for each of the `symbols` and padding.

    Raises:
        InputError: tokens, labels or identifiers out of range; all kinds of them are named.
    """
    problems = []
    vocab = vocab if vocab is not None or not symbols else len(symbols) + 1
    labels = [] if examples.labels is None else [_counted(examples.labels, ignore)]
    tokens = np.concatenate([examples.inputs.ravel(), *labels])
    highest, lowest = int(tokens.max()), int(tokens.min())
    if lowest < 0:
        problems.append(f"a token is {lowest}; tokens are numbered from 0, and only a label may be {IGNORED}")
    if vocab is not None and highest >= vocab:
        problems.append(f"a token is {highest}, the vocabulary has {vocab}, numbered from 0")
    if vocab is None and highest >= 65536:
        problems.append(f"a token is {highest}; vocabularies of more than 65,536 tokens are named with {argument('vocab')}")
    if examples.ids is not None and int(examples.ids.min()) < 0:
        problems.append(f"a puzzle identifier is {int(examples.ids.min())}; they are numbered from 0")
    if symbols and vocab is not None and len(symbols) >= vocab:
        problems.append(f"{len(symbols)} characters and padding are more than a vocabulary of {vocab}")
    if problems:
        raise InputError(
            "the examples are not tokens of one vocabulary",
            why=first_problems(problems),
            next=f"Number the tokens from 0 on, or name their characters with {argument('symbols')}",
        )
    ids = 1 if examples.ids is None else int(examples.ids.max()) + 1
    return Shape(examples.inputs.shape[1], highest + 1 if vocab is None else vocab, ids, symbols)


def _counted(labels: np.ndarray, ignore: int | None) -> np.ndarray:
    """The labels that name tokens."""
    counted: BoolArray = (labels != IGNORED) & (labels != (IGNORED if ignore is None else ignore))
    return np.asarray(labels[counted])


def split_examples(examples: Examples, split: str, seed: int = 0) -> dict[str, Examples]:
    """Examples by split: all in "train" or "test", or a share of them (text of a number between 0 and 1) drawn for test.

    Raises:
        UsageError: no such split, or a share that leaves a split without examples.
    """
    if split in SPLITS:
        return {split: examples}
    n = len(examples.inputs)
    try:
        share = float(split)
    except ValueError:
        share = -1.0
    count = round(share * n) if 0 < share < 1 else 0
    if not 0 < count < n:
        what = "leaves a split without examples" if 0 < share < 1 else "is no split"
        raise UsageError(
            f"{argument('split', split)} {what}",
            where=f"{n} examples",
            why="it is train, test, or the share that becomes the test split, such as 0.2",
            next="Choose another",
        )
    order = np.random.default_rng(seed).permutation(n)
    return {"train": _select(examples, np.sort(order[count:])), "test": _select(examples, np.sort(order[:count]))}


def _select(examples: Examples, index: np.ndarray) -> Examples:
    labels, ids = (None if a is None else a[index] for a in (examples.labels, examples.ids))
    return Examples(examples.inputs[index], labels, ids, examples.told)


def write_dataset(out: Path, splits: Mapping[str, Examples], shape: Shape, ignore: int | None = None) -> list[Path]:
    """Write splits into the directory `out`; one that is there already stays, and must have the same shape.

    Args:
        ignore: the label of cells that do not count, beside -100; None: only -100.

    Raises:
        UsageError: a split is there already. InputError: one that is there has another shape, or a file cannot be written.
    """
    taken = [s for s in splits if (out / s).exists()]
    if taken:
        raise UsageError(
            f"the dataset has a {taken[0]} split already",
            where=str(out / taken[0]),
            why="nothing that exists is overwritten",
            next="Choose another folder, or remove it yourself",
        )
    for other in SPLITS:
        if (out / other / "dataset.json").exists():
            shape = _same_shape(out / other, shape)
    written, made = [], [] if out.exists() else [out]
    try:
        for split, examples in splits.items():
            try:
                (out / split).mkdir(parents=True)
            except OSError as error:
                raise InputError(
                    "the dataset cannot be written",
                    where=str(out / split),
                    why=error.strerror or str(error),
                    next="Choose another folder",
                ) from None
            made.append(out / split)
            written += _write_split(out / split, examples, shape, ignore)
    except BaseException:  # half a dataset is none: what was made here goes again
        for folder in made:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    return written


def _same_shape(folder: Path, shape: Shape) -> Shape:
    """The shape of a split that is added beside another one, whose symbols hold for it too. Raises InputError."""
    from recurc.dataset import read_metadata

    there = read_metadata(folder)
    differences = [
        f"{name} {b} where {folder.name} has {a}"
        for name, a, b in (
            ("sequences of", there.seq_len, shape.seq_len),
            ("a vocabulary of", there.vocab_size, shape.vocab_size),
            ("puzzle identifiers:", there.num_puzzle_identifiers, shape.identifiers),
            ("symbols", there.symbols or shape.symbols, shape.symbols or there.symbols),
        )
        if a != b
    ]
    if differences:
        raise InputError(
            "the new split does not belong to this dataset",
            where=str(folder),
            why="it has " + " and ".join(differences),
            next=f"Make both splits at once, or name the sizes with {argument('vocab')}",
        )
    return replace(shape, symbols=shape.symbols or there.symbols)


def _write_split(folder: Path, examples: Examples, shape: Shape, ignore: int | None) -> list[Path]:
    """One split; examples of one puzzle lie together, as the reference code wants them."""
    ids = np.zeros(len(examples.inputs), np.int64) if examples.ids is None else examples.ids
    order = np.argsort(ids, kind="stable")
    if examples.ids is None:  # every example is a puzzle of its own, all of the blank identifier
        puzzles, ends = np.zeros(len(ids), np.int64), np.arange(len(ids) + 1)
    else:
        puzzles, counts = np.unique(ids, return_counts=True)
        ends = np.concatenate(([0], np.cumsum(counts)))
    kind = np.uint8 if shape.vocab_size <= 256 else np.int32
    arrays = {
        "inputs": examples.inputs[order].astype(kind),
        "puzzle_identifiers": puzzles.astype(np.int32),
        "puzzle_indices": ends.astype(np.int32),
        "group_indices": np.arange(len(puzzles) + 1, dtype=np.int32),
    }
    if examples.labels is not None:
        labels = examples.labels[order]
        arrays["labels"] = labels.astype(kind if labels.min() >= 0 else np.int32)
    metadata = {
        "pad_id": 0,
        "ignore_label_id": ignore,
        "blank_identifier_id": 0,
        "vocab_size": shape.vocab_size,
        "seq_len": shape.seq_len,
        "num_puzzle_identifiers": shape.identifiers,
        "total_groups": len(puzzles),
        "mean_puzzle_examples": len(ids) / len(puzzles),
        "total_puzzles": len(puzzles),
        "sets": ["all"],
        **({"symbols": shape.symbols} if shape.symbols else {}),
    }
    next = "Make room, or choose another folder"
    written = []
    for name, array in arrays.items():
        data = io.BytesIO()
        np.save(data, array)
        written.append(write_whole(folder / f"all__{name}.npy", data.getvalue(), "the dataset", next))
    # Last, so that a split without it is an unfinished one.
    return [*written, write_whole(folder / "dataset.json", json.dumps(metadata) + "\n", "the dataset", next)]
