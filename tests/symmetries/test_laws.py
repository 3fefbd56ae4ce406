"""Labelled data contradicts a symmetry that is none, and names the counterexample; it contradicts no true one."""

from __future__ import annotations

import json

import numpy as np
import pytest

from recurc.cli.main import main
from recurc.datadescribe import allowed_symmetry, tells_symmetry
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


def test_describe_says_which_symmetries_the_labels_allow(capsys):
    folder = str(bundled_models()["sudoku6-mlp"] / "data")
    assert main(["dataset", "describe", folder]) == 0
    out = capsys.readouterr().out
    assert "symmetries that the labels allow: sudoku:2x3, tokens:2-7" in out
    assert "no symmetry: sudoku:3x2: in another form, example" in out and "no symmetry: square:" in out
    assert main(["dataset", "describe", folder, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["symmetries"]
    assert list(found) == ["sudoku:2x3", "sudoku:3x2", "square", "tokens:2-7"]
    assert [name for name, why in found.items() if why is None] == ["sudoku:2x3", "tokens:2-7"]


def test_describe_of_one_symmetry(capsys, tmp_path):
    folder = str(bundled_models()["maze11-mlp"] / "data")
    assert main(["dataset", "describe", folder, "--symmetry", "square"]) == 0
    out = capsys.readouterr().out
    assert "symmetries that the labels allow: square\n" in out and "no symmetry" not in out
    forms = tmp_path / "forms.json"
    forms.write_text(json.dumps({"symmetries": [{"cells": [1, 0, *range(2, 121)]}, {"cells": [*range(119), 120, 119]}]}))
    assert main(["dataset", "describe", folder, "--symmetry", f"file:{forms}"]) == 0
    assert "symmetries that the labels allow: file:" in capsys.readouterr().out, "two pieces of the wall around"
    assert main(["dataset", "describe", folder, "--symmetry", "sudoku:3x3"]) == 2
    assert "--symmetry" in capsys.readouterr().err


def test_data_without_labels_tells_no_symmetry(capsys, tmp_path):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).integers(0, 6, (300, 16)))
    assert main(["dataset", "make", str(tmp_path / "d"), "--inputs", str(tmp_path / "x.npy"), "--vocab", "6"]) == 0
    capsys.readouterr()
    assert main(["dataset", "describe", str(tmp_path / "d"), "--symmetry", "square"]) == 0
    assert "square: there are too few labels to tell" in capsys.readouterr().out
    assert main(["dataset", "describe", str(tmp_path / "d")]) == 0
    assert "symmetr" not in capsys.readouterr().out


def test_labels_that_do_not_count_may_be_any_number(tmp_path, capsys):
    found = laws("sudoku4-tiny")
    labels = found.labels.astype(np.int32)
    labels[5, 3] = -100
    np.save(tmp_path / "x.npy", found.inputs)
    np.save(tmp_path / "y.npy", labels)
    make = ["dataset", "make", str(tmp_path / "d"), "--inputs", str(tmp_path / "x.npy"), "--labels", str(tmp_path / "y.npy")]
    assert main([*make, "--vocab", "6"]) == 0
    assert main(["dataset", "describe", str(tmp_path / "d")]) == 0
    assert "symmetries that the labels allow: sudoku:2x2" in capsys.readouterr().out


def test_few_labels_allow_no_symmetry_by_themselves():
    """What forty mazes do not refute would exchange start, goal and path."""
    data = load_dataset(bundled_models()["maze11-mlp"] / "data", "train")
    assert allowed_symmetry({"train": data}) == "square"
    assert allowed_symmetry({"train": data.take(40)}) == "none" and not tells_symmetry(data.take(40))
