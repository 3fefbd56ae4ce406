"""Theta of a checkpoint: by the valley between two clusters of margins, or by labels; asked runs give what solving gives."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

import recurc
from recurc.dataset import load_dataset
from recurc.evaluate.asked import Asked
from recurc.evaluate.scores import Share
from recurc.evaluate.solving import Solved, solve_puzzles
from recurc.evaluate.stepping import EngineStepper, State
from recurc.evaluate.theta import by_labels, candidates, is_certificate, two_clusters
from recurc.resources import bundled_models
from recurc.solve import Policy
from recurc.symmetries import Symmetry, draw, named
from tests.tools import need


def normal(mean, spread, n, seed=0):
    return np.random.default_rng(seed).normal(mean, spread, n).astype(np.float32)


# -- without labels -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("solved, unsolved", [(240, 16), (128, 128), (30, 226)])
@pytest.mark.parametrize("high, low", [((7.5, 0.1), (-5.0, 1.5)), ((1.5, 0.1), (-0.1, 0.3)), ((5.0, 0.3), (0.5, 0.4))])
def test_theta_lies_in_the_valley(solved, unsolved, high, low):
    """Wherever the clusters lie: no constant would do."""
    above, below = normal(*high, solved), normal(*low, unsolved, 1)
    found = two_clusters(np.concatenate([above, below]))
    assert found is not None and below.max() < found.theta < above.min()
    assert found.theta > (below.max() + above.min()) / 2 - 0.5 * (high[0] - low[0]) / 2
    assert abs(found.below - unsolved) <= 2 and found.below + found.above == solved + unsolved


@pytest.mark.parametrize(
    "margins",
    [
        normal(7.5, 0.3, 256), np.concatenate([normal(7.5, 0.1, 254), normal(-5, 1, 2)]), np.linspace(-5, 5, 256),
        np.concatenate([normal(0, 1.5, 200), normal(4, 1.5, 200)]), np.full(64, 1.0), np.zeros(0), np.full(64, np.nan),
        np.array([1.0, -1.0]),
    ],
    ids=["all solved", "next to all", "even", "no valley", "equal", "none", "nan", "two"],
)  # fmt: skip
def test_where_there_are_no_two_clusters_nothing_is_found(margins):
    assert two_clusters(np.asarray(margins, np.float32)) is None


def test_numbers_that_are_none_do_not_count():
    margins = np.concatenate([normal(5, 0.1, 90), normal(-5, 0.1, 10)])
    assert two_clusters(np.append(margins, [np.nan, np.inf, -np.inf]).astype(np.float32)) == two_clusters(margins)


# -- runs that are asked for once ---------------------------------------------------------------------------------------


@dataclass
class Played:
    """A stepper of made-up runs: `runs[form][puzzle]` is a list of (token, margin); the puzzle's second cell tells the form."""

    runs: list
    most: int = 3
    asked: list = None  # type: ignore[assignment]

    def __post_init__(self):
        self.asked = []

    def fresh(self):
        return self

    def steps(self, inputs, puzzle_ids, steps, stir=None):
        form = int(inputs[0, 1])
        self.asked += [(form, int(p)) for p in puzzle_ids]
        for step in range(steps):
            now = [self.runs[form][int(p)][step] for p in puzzle_ids]
            tensors = {"tokens": np.array([[t, form] for t, _ in now], np.uint8),
                       "q": np.array([[m, 0] for _, m in now], np.float32)}  # fmt: skip
            yield State(step + 1, "q_halt>0", tensors.__getitem__)


SHIFT = Symmetry.of([0, 1], [1, 2, 0])  # form 1: every token is the next one


def test_a_form_is_run_when_a_policy_needs_it_and_once():
    sure, not_sure = [(1, 5.0)] * 3, [(1, -5.0)] * 3
    stepper = Played([[sure, not_sure], [[(2, 5.0)] * 3, [(2, 5.0)] * 3]])
    asked = Asked(stepper, np.array([[1, 0], [1, 0]], np.uint8), np.array([0, 1]), (SHIFT,), 3, 3)
    first = asked.answers(Policy(3, 1, 3))
    assert stepper.asked == [(0, 0), (0, 1), (1, 1)], "the first puzzle needs no other form"
    assert [(a.solved, a.restarts, a.steps) for a in first] == [(True, 0, 2), (True, 1, 5)]
    assert first[1].tokens.tolist() == [1, 0], "led back"
    asked.answers(Policy(2, 1, 2, threshold=9.0))
    assert stepper.asked == [(0, 0), (0, 1), (1, 1), (1, 0)]
    agreed = asked.answers(Policy(3, 1, 3, accept="agreement"))
    assert [a.solved for a in agreed] == [True, True] and len(stepper.asked) == 4
    assert [a.restarts for a in asked.answers(Policy(3, 0, 3))] == [0, 0]


def test_asked_runs_give_what_solving_gives():
    need("host")
    model = recurc.load("sudoku4-tiny").quantize("int8")
    data = load_dataset(bundled_models()["sudoku4-tiny"] / "data", "test").take(12)
    forms = draw(named("sudoku:2x2", 16, 6), 3, 0)
    asked = Asked(EngineStepper(model.engine), data.inputs, data.puzzle_ids, forms, 5, 3, threads=2)
    for policy in (Policy(2, 3, 3, 7.5), Policy(5, 2, 2, 8.4, 0), Policy(1, 3, 1, 1e9), Policy(2, 3, 2, 8.0, 0, "agreement"),
                   Policy(2, 3, 2, 8.0, 0, "vote")):  # fmt: skip
        expected = solve_puzzles(model.engine, data, forms, policy)
        found = Solved.of(policy, asked.answers(policy), data)
        for name in ("tokens", "solved", "steps", "restarts", "margins"):
            assert np.array_equal(getattr(found, name), getattr(expected, name)), (policy, name)
    assert asked.plain.tokens.shape == (5, 12, 16)


# -- with labels --------------------------------------------------------------------------------------------------------


class Puzzles:
    """As much of a dataset as scores need: the right token of every puzzle is 1."""

    def __init__(self, n):
        self.labels, self.valid = np.tile(np.array([[1, 0]]), (n, 1)), np.tile(np.array([[True, False]]), (n, 1))


def asked_of(first, second):
    n = len(first)
    stepper = Played([first, second], most=64)
    return Asked(stepper, np.tile(np.array([[1, 0]], np.uint8), (n, 1)), np.arange(n), (SHIFT,), 2, 2), Puzzles(n)


RIGHT, WRONG, AGAIN = [(1, 4.0)] * 2, [(0, 1.0)] * 2, [(2, 4.0)] * 2


def test_by_labels_theta_lies_above_what_is_wrong():
    asked, data = asked_of([RIGHT] * 20 + [WRONG] * 4, [AGAIN] * 24)
    assert candidates(asked, Policy(2, 1, 2))[0] == 0.0
    choice = by_labels(asked, data, Policy(2, 1, 2))
    assert choice.accept == "margin" and 1.0 <= choice.solved.policy.threshold < 4.0
    assert choice.solved.scores.exact == 1 and choice.solved.wrong_solved == 0


def test_agreement_where_the_margin_is_no_certificate():
    """Wrong answers with the margin of right ones; another form gets them right, and a third one confirms it."""
    sure_and_wrong = [(0, 4.0)] * 2
    asked, data = asked_of([RIGHT] * 20 + [sure_and_wrong] * 4, [AGAIN] * 24)
    asked.forms = (SHIFT, SHIFT)
    choice = by_labels(asked, data, Policy(2, 2, 2))
    assert choice.accept == "agreement" and choice.by_margin.wrong_solved == 4 and choice.solved.wrong_solved == 0
    assert is_certificate([choice.by_margin]) is False
    assert choice.tried["vote"].right.all() and choice.tried["agreement"].right.all(), "a tie goes to what is cheaper"
    asked.forms = ()
    assert by_labels(asked, data, replace(Policy(2, 2, 2))).accept == "margin", "there is nothing else"


def test_a_vote_where_two_runs_agree_on_what_is_wrong():
    """Two forms say the same wrong thing, and three the right one."""
    lines = [*[RIGHT] * 20, *[[(0, 4.0)] * 2] * 4]
    asked, data = asked_of(lines, lines)
    asked.forms = (Symmetry.identity(2, 3),) * 4
    tokens, margins = np.array([[1, 0]] * 2, np.uint8), np.array([4.0] * 2, np.float32)
    asked._runs = {(None, form, i): (tokens * (form > 1 or i < 20), margins) for form in range(5) for i in range(24)}
    choice = by_labels(asked, data, Policy(2, 4, 2))
    assert choice.accept == "vote" and choice.solved.right.all() and not choice.tried["agreement"].right.all()


def test_a_certificate_takes_enough_puzzles():
    def solved(right, wrong):
        return type("S", (), {"right_if_solved": Share(right, right + wrong)})()

    assert is_certificate([solved(60, 0)]) is None and is_certificate([solved(60, 0), solved(40, 0)]) is True
    assert (
        is_certificate([solved(199, 1)])
        and is_certificate([solved(197, 3)]) is False
        and is_certificate([solved(5, 1)]) is False
    )


def test_shares_have_wilsons_interval():
    low, high = Share(98, 100).interval
    assert (round(low, 4), round(high, 4)) == (0.93, 0.9945)
    assert Share(0, 0).interval == (0.0, 1.0) and np.isnan(Share(0, 0).value) and Share(5, 5).interval[1] == 1.0
