"""Solving puzzles with restarts in the device's arithmetic: better than all steps of one run, and counted truthfully."""

from __future__ import annotations

import numpy as np
import pytest

import recurc
from recurc.dataset import load_dataset
from recurc.evaluate.halting import margin
from recurc.evaluate.solving import solve_puzzle, solve_puzzles
from recurc.resources import bundled_models
from recurc.solve import Policy
from recurc.symmetries import draw, named
from tests.tools import need

RULE = "q_halt>0"


@pytest.fixture(scope="module")
def engine():
    """A model of 6x6 sudokus that solves six of seven in all its steps."""
    need("host")
    return recurc.load("sudoku6-attn").quantize("int8").engine


@pytest.fixture(scope="module")
def data():
    return load_dataset(bundled_models()["sudoku6-attn"] / "data", "test").take(64)


@pytest.fixture(scope="module")
def forms(data):
    return draw(named("sudoku:2x3", data.seq_len, data.vocab_size), 8, 0)


def plain(engine, tokens, steps):
    """(tokens, margin) after each step of one run, stepped by hand."""
    engine.begin(tokens, 0)
    found = []
    for _ in range(steps):
        engine.step()
        found.append((engine.tensor("tokens").copy(), float(margin(engine.tensor("q"), RULE))))
    return found


def test_restarts_give_whole_puzzles_back_in_fewer_steps(engine, data, forms):
    steps = 16
    alone = solve_puzzles(engine, data, (), Policy(steps, threshold=1e9))
    asked = solve_puzzles(engine, data, forms, Policy(8, 8, 8))
    assert alone.steps.tolist() == [steps] * len(data) and not alone.solved.any()
    assert asked.scores.exact > alone.scores.exact + 2 * alone.scores.exact_error
    assert asked.mean_steps < alone.mean_steps / 2 and asked.restarts.max() > 0


def test_each_answer_is_that_of_the_run_that_was_accepted(engine, data, forms):
    policy = Policy(4, 3, 5)
    found = solve_puzzles(engine, data.take(24), forms, policy)
    assert {0, 1} <= set(found.restarts.tolist()), "some puzzles take restarts, and some do not"
    for i in range(24):
        run = int(found.restarts[i])
        if not found.solved[i]:
            continue
        form = forms[run - 1] if run else None
        tokens = data.inputs[i] if form is None else form.present(data.inputs[i])
        taken = int(found.steps[i]) - (0 if run == 0 else 4 + 5 * (run - 1))
        trajectory = plain(engine, tokens, taken)
        answer, last = trajectory[-1]
        assert last > 0 and (answer == trajectory[-2][0]).all() and last == found.margins[i]
        assert (found.tokens[i] == (answer if form is None else form.back(answer))).all()


def test_numbers_do_not_depend_on_threads(engine, data, forms):
    one, four = (solve_puzzles(engine, data.take(16), forms, Policy(3, 4, 3), threads=n) for n in (1, 4))
    for name in ("tokens", "solved", "steps", "restarts", "margins"):
        assert (getattr(one, name) == getattr(four, name)).all()
    assert one.as_dict() == four.as_dict()


def test_what_is_counted(engine, data, forms):
    part = data.take(24)
    told = []
    found = solve_puzzles(engine, part, forms, Policy(3, 2, 2, accept="agreement"), progress=told.append)
    right = (found.tokens == part.labels).all(axis=1)
    document = found.as_dict()
    assert sum(told) == 24 and document["exact"] == right.mean() == found.scores.exact
    assert document["solved"] == found.solved.sum() and document["wrong_solved"] == (found.solved & ~right).sum()
    assert (
        document["right_unsure"] == (~found.solved & right).sum() and document["worst_steps"] <= found.policy.worst_steps == 7
    )
    assert document["mean_steps"] == pytest.approx(found.steps.mean()) and document["restarted"] == (found.restarts > 0).sum()


def test_an_answer_of_one_puzzle(engine, data, forms):
    answer = solve_puzzle(engine, data.inputs[0], 0, forms, Policy(4, 8, 4))
    assert answer.tokens.shape == (36,) and answer.tokens.dtype == np.uint8
