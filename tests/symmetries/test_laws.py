"""Labelled data contradicts a symmetry that is none, and names the counterexample; it contradicts no true one."""

from __future__ import annotations

import numpy as np
import pytest

from recurc.dataset import load_dataset
from recurc.errors import InputError
from recurc.resources import bundled_models
from recurc.symmetries import Laws, check, draw, named

TRUE = {
    "sudoku9-mlp": ["sudoku:3x3", "square", "tokens:2-10"],
    "sudoku6-mlp": ["sudoku:2x3", "tokens:2-7"],
    "sudoku6-attn": ["sudoku:2x3"],
    "sudoku4-tiny": ["sudoku:2x2", "square"],
    "maze11-mlp": ["square"],
}
FALSE = {
    "sudoku9-mlp": ["tokens:1-10"],
    "sudoku6-mlp": ["sudoku:3x2", "square", "tokens:1-7"],
    "maze11-mlp": ["tokens:2-5", "tokens:1-2"],
}


def laws(model: str, split: str = "train") -> Laws:
    data = load_dataset(bundled_models()[model] / "data", split)
    return Laws.of(data.inputs, data.labels, np.zeros(data.labels.shape, bool), data.vocab_size)


def pairs(table):
    return [(model, name) for model, names in table.items() for name in names]


@pytest.mark.parametrize(("model", "name"), pairs(TRUE))
def test_a_true_symmetry_passes(model, name):
    for split in ("train", "test"):
        found = laws(model, split)
        forms = draw(named(name, found.inputs.shape[1], len(found.answers)), 16, 0)
        check(forms, found, name)


@pytest.mark.parametrize(("model", "name"), pairs(FALSE))
def test_a_false_one_is_refused_with_an_example(model, name):
    found = laws(model)
    forms = draw(named(name, found.inputs.shape[1], len(found.answers)), 8, 0)
    with pytest.raises(InputError, match=r"in form \d, example \d+ gets"):
        check(forms, found, name)


def test_cells_without_a_label_say_nothing():
    rng = np.random.default_rng(0)
    inputs = rng.integers(1, 3, (500, 4))
    labels = inputs.copy()
    labels[:, 3] = 0  # wherever there is a label in the last cell, it is 0
    everywhere, nowhere = np.zeros((500, 4), bool), np.ones((500, 4), bool)
    swapped = draw(named("square", 4, 3), 7, 0)
    with pytest.raises(InputError):
        check(swapped, Laws.of(inputs, labels, everywhere, 3), "square")
    check(swapped, Laws.of(inputs, labels, nowhere, 3), "square")


def test_few_examples_prove_nothing():
    found = laws("sudoku6-mlp")
    few = Laws.of(found.inputs[:3], found.labels[:3], found.ignored[:3], 8)
    assert not few.unlike.any() and not few.tokens.any()
