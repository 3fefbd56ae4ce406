"""arc-mini: its dataset is the builder's, it reaches the stated figures, and it needs each puzzle's own row for that."""

import json

import numpy as np
import pytest

import recurc
from examples.training.arc_figures import other_augmentation, other_task, votes
from examples.training.recipe import read_recipe
from examples.training.tasks import EXAMPLES
from recurc.resources import bundled_models

FOLDER = EXAMPLES / "models/arc-mini"


@pytest.fixture(scope="module")
def metrics():
    return json.loads((FOLDER / "metrics.json").read_text())


@pytest.fixture(scope="module")
def data():
    return read_recipe(FOLDER / "recipe.toml").task.data()


@pytest.fixture(scope="module")
def test_set():
    return recurc.load_dataset(bundled_models()["arc-mini"] / "data", "test")


@pytest.fixture(scope="module")
def answers(test_set):
    return recurc.load("arc-mini").run(test_set.inputs, test_set.puzzle_ids)


def exact(tokens, dataset):
    return ((tokens == dataset.labels) | ~dataset.valid).all(1)


def test_the_shipped_dataset_is_the_builders(data, test_set):
    assert json.loads((FOLDER / "data/identifiers.json").read_text()) == data.names
    assert json.loads((FOLDER / "data/test_puzzles.json").read_text()).keys() == data.tasks.keys()
    held = data.held_out()
    assert np.array_equal(test_set.inputs, held.inputs) and np.array_equal(test_set.labels, held.labels)
    assert np.array_equal(test_set.puzzle_ids, held.ids)
    known = {p.name: [(a.tobytes(), b.tobytes()) for a, b in p.train] for group in data.groups for p in group}
    train = recurc.load_dataset(FOLDER / "data", "train")
    for x, y, identifier in zip(train.inputs, train.labels, train.puzzle_ids, strict=True):
        assert tuple(_cropped(t, data.canvas) for t in (x, y)) in known[data.names[identifier]]


def _cropped(tokens, canvas):
    rows, columns = np.nonzero(tokens.reshape(canvas, canvas) >= 2)
    square = tokens.reshape(canvas, canvas)[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    return (square - 2).astype(np.uint8).tobytes()


def test_every_identifier_has_a_row_of_its_own(data, metrics):
    rows = recurc.load("arc-mini").reasoner.tensors["puzzle_emb.weights"]
    assert rows.shape[0] == len(data.names) == metrics["identifiers"]
    assert not np.asarray(rows[0]).any()  # "<blank>" is no puzzle
    assert len(np.unique(np.asarray(rows), axis=0)) == len(rows)


def test_it_reaches_the_stated_figures(answers, test_set, data, metrics):
    right = exact(answers.tokens, test_set)
    held, steps = metrics["held_out"], recurc.load("arc-mini").config.halt_max_steps
    assert right.mean() == pytest.approx(held["exact"][str(steps)], abs=0.01)  # another order of fp32 sums
    plain = np.array([data.names[i] in data.tasks for i in test_set.puzzle_ids])
    assert right[plain].mean() == pytest.approx(metrics["plain_pairs"]["exact"], abs=1 / plain.sum() + 1e-9)
    found = votes(data, data.held_out(), answers.tokens, answers.q[-1, :, 0])
    assert abs(found["first"] - metrics["votes"]["first"]) <= 1 and found["first"] >= len(data.tasks) // 2


def test_another_puzzles_row_does_not_solve_it(answers, test_set, data, metrics):
    right = exact(answers.tokens, test_set).mean()
    model, every = recurc.load("arc-mini"), slice(None, None, 4)
    for name, other in (("other_task", other_task), ("other_augmentation", other_augmentation)):
        ids = other(data, test_set.puzzle_ids)
        tokens = model.run(test_set.inputs[every], ids[every]).tokens
        wrong = ((tokens == test_set.labels[every]) | ~test_set.valid[every]).all(1).mean()
        assert wrong == pytest.approx(metrics["wrong_rows"][name], abs=0.06)
        assert wrong < right / 3, name


def test_the_device_arithmetic_keeps_the_accuracy(answers, test_set):
    """`recurc eval arc-mini --precision int8 --limit 96`, within 4 of the 96 pairs of fp32."""
    some = test_set.take(96)
    fp32 = exact(answers.tokens[:96], some).mean()
    train = recurc.load_dataset(FOLDER / "data", "train")
    assert recurc.load("arc-mini").quantize("int8", train).accuracy(some).exact >= fp32 - 4 / 96
