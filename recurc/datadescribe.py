"""What a dataset holds, in numbers: sizes, tokens in use, labels that count, examples that stand in both splits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from recurc.dataset import Dataset


def describe_splits(splits: Mapping[str, Dataset]) -> dict[str, Any]:
    """{columns, splits: {name: {column: value}}, remarks: [sentences]}. Shares are 0..1."""
    rows = {name: _row(data) for name, data in splits.items()}
    return {"columns": list(next(iter(rows.values()))), "splits": rows, "remarks": _remarks(splits)}


def _row(data: Dataset) -> dict[str, Any]:
    counts = data.valid.sum(axis=1)
    return {
        "examples": len(data), "cells": data.seq_len, "vocabulary": data.vocab_size, "tokens used": len(np.unique(data.inputs)),
        "identifiers": data.num_puzzle_identifiers, "in use": len(np.unique(data.puzzle_ids)),
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
