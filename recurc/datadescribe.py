"""What a dataset holds, in numbers: sizes, tokens in use, labels that count, examples that stand in both splits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from recurc.dataset import Dataset
from recurc.symmetries import Laws, Symmetry, check, draw, named
from recurc.symmetries.groups import GROUPS

FORMS = 16  # of each group that are held against the answers


def describe_splits(splits: Mapping[str, Dataset]) -> dict[str, Any]:
    """{columns, splits: {name: {column: value}}, remarks: [sentences]}. Shares are 0..1."""
    rows = {name: _row(data) for name, data in splits.items()}
    return {"columns": list(next(iter(rows.values()))), "splits": rows, "remarks": _remarks(splits)}


def _row(data: Dataset) -> dict[str, Any]:
    counts = data.valid.sum(axis=1)
    return {
        "examples": len(data), "cells": data.seq_len, "vocabulary": data.vocab_size, "tokens used": len(np.unique(data.inputs)),
        "identifiers": data.num_puzzle_identifiers, "in use": len(np.unique(data.puzzle_ids)),
        **({"symbols": data.symbols} if data.symbols else {}),
        "labelled": int((counts > 0).sum()), "cells that count": float(counts.sum() / max(1, data.valid.size)),
    }  # fmt: skip


def _remarks(splits: Mapping[str, Dataset]) -> list[str]:
    remarks = []
    for name, data in splits.items():
        unique = len(np.unique(data.inputs, axis=0))
        if unique < len(data):
            remarks.append(f"{len(data) - unique:,} of {len(data):,} examples of {name} have the inputs of an earlier one")
        if not data.valid.any():
            remarks.append(f"{name} has no labels: accuracy on it is not known")
        else:
            given = (data.inputs == data.labels) & data.valid
            share = 100 * given.sum() / data.valid.sum()
            remarks.append(f"{name}: {share:.1f} % of the cells that count stand in the inputs already")
    if len(splits) == 2:
        train, test = splits["train"], splits["test"]
        known = {row.tobytes() for row in train.inputs}
        both = sum(row.tobytes() in known for row in test.inputs)
        remarks.append(
            f"{both:,} of {len(test):,} test examples have inputs that stand in train too"
            if both
            else "no test example's inputs stand in train"
        )
    else:
        remarks.append(f"there is only a {next(iter(splits))} split")
    return remarks


def symmetries(splits: Mapping[str, Dataset], name: str | None = None) -> dict[str, str]:
    """Symmetry -> "" where the labels of all splits allow it, else the counterexample as a clause that names the split.

    Args:
        name: only this one; None: every one that puzzles of this size may have. Empty where no split's labels could refute any.

    Raises:
        UsageError: there is no symmetry of this name, or none for such puzzles.
    """
    first = next(iter(splits.values()))
    seq, vocab = first.seq_len, first.vocab_size
    names = [name] if name else [n for group in GROUPS for n in group.candidates(seq, vocab)]
    forms = {n: draw(named(n, seq, vocab), FORMS, 0) for n in names}
    laws = {split: Laws.of(data.inputs, data.labels, ~data.valid, vocab) for split, data in splits.items()}
    known = {split: found for split, found in laws.items() if found.any}
    return {n: _refuted(forms[n], known) for n in names} if known else {}


def _refuted(forms: tuple[Symmetry, ...], laws: Mapping[str, Laws]) -> str:
    found = ((split, known.broken(form)) for split, known in laws.items() for form in forms)
    return next((f"in another form, {why} ({split})" for split, why in found if why), "")


def allowed_symmetry(splits: Mapping[str, Dataset]) -> str:
    """The name of the largest symmetry that puzzles of this size may have and the labels allow; "none" where there is none."""
    first = next(iter(splits.values()))
    sizes = {n: named(n, first.seq_len, first.vocab_size).size for n, why in symmetries(splits).items() if not why}
    return max(sizes, key=sizes.__getitem__, default="none")


def tells_symmetry(data: Dataset) -> bool:
    """Whether the labels are enough to refute a symmetry."""
    return Laws.of(data.inputs, data.labels, ~data.valid, data.vocab_size).any


def check_symmetry(name: str, forms: tuple[Symmetry, ...], splits: Mapping[str, Dataset]) -> None:
    """That labels allow these forms.

    Raises:
        InputError: they do not; the counterexample is named.
    """
    for split, data in splits.items():
        check(forms, Laws.of(data.inputs, data.labels, ~data.valid, data.vocab_size), f"{name}, {split}")
