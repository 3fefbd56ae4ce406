"""What a dataset holds, in numbers: sizes, tokens in use, labels that count, examples that stand in both splits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from recurc.arguments import argument
from recurc.dataset import Dataset, dataset_names
from recurc.errors import InputError
from recurc.puzzlenames import read_names
from recurc.reading import user_path
from recurc.symmetries import ARC, LONGEST_SYMMETRY, Forms, Grids, Laws, NoForms, check, draw, is_arc, named
from recurc.symmetries.grids import VOCAB, contradiction
from recurc.symmetries.groups import GROUPS
from recurc.text import plain

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
    forms: dict[str, Forms] = {}
    unread: dict[str, str] = {}
    if not name:
        try:
            forms[ARC] = forms_named(ARC, first, FORMS, 0)
        except NoForms:
            pass  # its puzzles are others
        except InputError as error:  # they tell it, wrongly
            unread[ARC] = f"{error.what}: {error.why} ({error.where})"
    forms |= {n: forms_named(n, first, FORMS, 0) for n in names}
    return unread | {n: why for n, drawn in forms.items() if (why := _refuted(drawn, splits)) is not None}


def _refuted(forms: Forms, splits: Mapping[str, Dataset]) -> str | None:
    """The counterexample; "" where there is none, None where no split could have one."""
    if isinstance(forms, Grids):
        told = ((split, _contradiction(forms, data)) for split, data in splits.items())
        return next(
            (f"{why} ({split})" for split, why in told if why), "" if any(d.valid.any() for d in splits.values()) else None
        )
    laws = {split: _laws(data) for split, data in splits.items()}
    known = {split: found for split, found in laws.items() if found.any}
    found = ((split, law.broken(form)) for split, law in known.items() for form in forms)
    return next((f"in another form, {why} ({split})" for split, why in found if why), "" if known else None)


def _laws(data: Dataset) -> Laws:
    return Laws.of(data.inputs, data.labels, ~data.valid, data.vocab_size)


def _contradiction(forms: Grids, data: Dataset) -> str:
    return contradiction(forms, data.inputs, data.labels, ~data.valid, data.puzzle_ids)


def forms_named(name: str, data: Dataset, count: int, seed: int) -> Forms:
    """At most `count` other forms of the puzzles of a dataset.

    Raises:
        UsageError: there is no symmetry of this name, or none for such puzzles. InputError: a file of forms that holds
            something else; `arc` of puzzles that are no grids of ARC, or whose names tell no forms.
    """
    plain(name, "the symmetry's name", argument("symmetry"), LONGEST_SYMMETRY)
    if not is_arc(name):
        return draw(named(name, data.seq_len, data.vocab_size), count, seed)
    side, next_ = math.isqrt(data.seq_len), "Name another symmetry, or `none`"
    if data.vocab_size != VOCAB or side * side != data.seq_len:
        raise NoForms("these puzzles are no grids of ARC", where=str(data.path), next=next_,
                      why=f"those have a square canvas and {VOCAB} tokens; these have {data.seq_len} cells and "
                      f"{data.vocab_size} tokens")  # fmt: skip
    own = [] if data.in_memory else dataset_names(data.path)
    path = user_path(name.partition(":")[2]) if ":" in name else next(iter(own), None)
    if path is None:
        raise NoForms("nothing tells the forms of these puzzles", where=str(data.path), next="Name it: arc:PATH",
                      why="there is no identifiers.json beside the dataset, in which each row of the puzzle table has its "
                      "augmentation's name")  # fmt: skip
    names = read_names(Path(path))
    if len(names) != data.num_puzzle_identifiers:
        raise InputError("the names are those of other puzzles", where=str(path), next=next_,
                         why=f"there are {len(names)}, and the dataset has {data.num_puzzle_identifiers} rows")  # fmt: skip
    return Grids.of(names, count, str(path))


def allowed_symmetry(splits: Mapping[str, Dataset]) -> str:
    """The name of the largest symmetry that puzzles of this size may have and the labels allow, `arc` where the dataset's names
    tell it; "none" where there is none."""
    first = next(iter(splits.values()))
    allowed = [n for n, why in symmetries(splits).items() if not why]
    if ARC in allowed:
        return ARC
    sizes = {n: named(n, first.seq_len, first.vocab_size).size for n in allowed}
    return max(sizes, key=sizes.__getitem__, default="none")


def tells_symmetry(data: Dataset) -> bool:
    """Whether the labels are enough to refute a symmetry."""
    return _laws(data).any


def check_symmetry(name: str, forms: Forms, splits: Mapping[str, Dataset]) -> None:
    """That labels allow these forms.

    Raises:
        InputError: they do not; the counterexample is named.
    """
    for split, data in splits.items():
        if not isinstance(forms, Grids):
            check(forms, _laws(data), f"{name}, {split}")
        elif why := _contradiction(forms, data):
            raise InputError("the data contradicts the symmetry", where=f"{name}, {split}", why=why,
                             next="Correct the names of the identifiers, name another symmetry, or `none`")  # fmt: skip
