"""The procedure that asks again: when a run ends, what is believed, what is counted, in any order of events."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recurc.errors import UsageError
from recurc.solve import Answer, Policy, solve
from recurc.symmetries import Symmetry, draw, named

SEQ, VOCAB = 4, 6
FORMS = draw(named("square+tokens:2-5", SEQ, VOCAB), 3, 0)


def script(*runs: list[tuple[int, float]]):
    """Runs that show a grid full of one token at each step, in the original's names, with a margin; and what was asked for."""
    asked: list[list[int]] = []

    def steps(form: int):
        asked.append([form, 0])
        for token, margin in runs[form]:
            asked[-1][1] += 1
            grid = np.full(SEQ, token, np.uint8)
            yield (grid if form == 0 else FORMS[(form - 1) % len(FORMS)].present(grid)), margin

    return steps, asked


def told(answer: Answer) -> tuple[int, bool, int, int]:
    assert len(set(answer.tokens.tolist())) == 1 and answer.tokens.dtype == np.uint8
    return int(answer.tokens[0]), answer.solved, answer.steps, answer.restarts


def test_a_run_ends_where_the_margin_is_above_and_the_tokens_stay():
    steps, asked = script([(2, 5.0), (3, 5.0), (3, 0.5), (3, 1.5), (4, 9.0)])
    assert told(solve(steps, FORMS, Policy(5, 2, 5, threshold=1.0))) == (3, True, 4, 0)
    assert asked == [[0, 4]], "no step that nobody needs"
    steps, _ = script([(2, 5.0), (3, 5.0)])
    assert told(solve(steps, FORMS, Policy(2, 2, 2, threshold=1.0, patience=0))) == (2, True, 1, 0)
    steps, _ = script([(2, 5.0), (2, 5.0), (2, 5.0), (2, 5.0)])
    assert told(solve(steps, FORMS, Policy(4, 2, 2, threshold=1.0, patience=3))) == (2, True, 4, 0)


def test_a_margin_equal_to_the_threshold_does_not_halt():
    steps, _ = script([(2, 1.0), (2, 1.0)])
    assert told(solve(steps, (), Policy(2, threshold=1.0))) == (2, False, 2, 0)
    tenth = float(np.float32(0.1))  # the device compares float32
    steps, _ = script([(2, tenth), (2, tenth)])
    assert not solve(steps, (), Policy(2, threshold=0.1)).solved


def test_another_form_is_asked_and_its_answer_is_led_back():
    steps, asked = script([(2, -1.0)] * 3, [(4, -2.0)] * 2, [(5, 3.0)] * 2)
    found = solve(steps, FORMS, Policy(3, 2, 2, threshold=0.0))
    assert told(found) == (5, True, 3 + 2 + 2, 2) and found.margin == 3.0
    assert asked == [[0, 3], [1, 2], [2, 2]]


def test_where_nothing_is_accepted_the_surest_run_answers():
    steps, asked = script([(2, -1.0)] * 3, [(4, -0.5)] * 2, [(5, -0.5)] * 2, [(3, -2.0)] * 2)
    found = solve(steps, FORMS, Policy(3, 3, 2))
    assert told(found) == (4, False, 9, 3) and found.margin == -0.5, "the earlier of equal ones"
    assert Policy(3, 3, 2).worst_steps == 9 and [n for _, n in asked] == [3, 2, 2, 2]


def test_agreement_needs_two_runs_that_end_alike():
    runs = [(2, 9.0)] * 2, [(4, 9.0)] * 2, [(2, -9.0)] * 2
    steps, _ = script(*runs)
    assert told(solve(steps, FORMS, Policy(2, 3, 2, accept="agreement"))) == (2, True, 6, 2)
    steps, _ = script(*runs)
    assert told(solve(steps, FORMS, Policy(2, 1, 2, accept="agreement"))) == (2, False, 4, 1)


def test_a_vote_ends_with_more_than_half_of_all_runs():
    runs = [(2, -1.0)], [(3, 5.0)], [(2, -9.0)], [(2, -2.0)]
    steps, asked = script(*runs)
    found = solve(steps, FORMS, Policy(1, 3, 1, patience=0, accept="vote"))
    assert told(found) == (2, True, 4, 3) and (found.votes, found.run, found.margin) == (3, 3, -2.0)
    steps, asked = script([(2, -1.0)], [(2, 0.0)], [(3, 9.0)])
    assert told(solve(steps, FORMS[:2], Policy(1, 9, 1, accept="vote"))) == (2, True, 2, 1), "two of three: none can change it"
    assert len(asked) == 2
    assert solve(script([(2, 9.0)] * 2)[0], (), Policy(2, 3, 2, accept="vote")).solved is False, "one run is no majority"


def test_the_most_votes_answer_where_no_half_agrees():
    """Then the margin decides, of the runs with as many votes, and of equal ones the earliest."""
    for margins, answer, run in (((9.0, 1.0, 2.0, 0.0), 4, 2), ((9.0, 1.0, 2.0, 3.0), 3, 3), ((9.0, 1.0, 2.0, 2.0), 4, 2)):
        steps, _ = script(*([(token, margin)] for token, margin in zip((4, 3, 4, 3), margins)))
        found = solve(steps, FORMS, Policy(1, 3, 1, threshold=99.0, accept="vote"))
        assert (told(found), found.votes, found.run) == ((answer, False, 4, 3), 2, run)
    steps, _ = script([(2, 1.0)], [(3, 3.0)], [(4, 3.0)], [(5, float("nan"))])
    assert told(solve(steps, FORMS, Policy(1, 3, 1, threshold=99.0, accept="vote"))) == (3, False, 4, 3)


def test_without_forms_there_is_one_run():
    steps, asked = script([(2, -1.0)] * 2)
    assert told(solve(steps, (), Policy(2, 5, 2))) == (2, False, 2, 0) and asked == [[0, 2]]


def test_a_form_is_asked_once_and_agrees_with_no_copy_of_itself():
    steps, asked = script(*([(token, -1.0)] for token in (2, 3, 4, 5)))
    assert told(solve(steps, FORMS, Policy(1, 5, 1, accept="agreement"))) == (2, False, 4, 3)
    assert [form for form, _ in asked] == [0, 1, 2, 3]


def test_a_margin_that_is_no_number_is_less_than_all_else():
    steps, _ = script([(2, float("nan"))], [(3, -9.0)], [(4, float("nan"))])
    assert told(solve(steps, FORMS, Policy(1, 2, 1))) == (3, False, 3, 2)


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"steps": 0}, "steps"),
        ({"steps": 256}, "from 1 to 255"),
        ({"restarts": -1}, "restarts"),
        ({"restarts": 256}, "restarts"),
        ({"restart_steps": 300}, "restart_steps"),
        ({"patience": -1}, "patience"),
        ({"threshold": float("nan")}, "threshold"),
        ({"threshold": float("inf")}, "threshold"),
        ({"accept": "luck"}, "margin or agreement or vote"),
        ({"accept": "agreement"}, "agrees with nobody"),
        ({"accept": "vote"}, "no majority"),
    ],
)
def test_a_policy_out_of_range_is_refused(values, why):
    with pytest.raises(UsageError, match=why):
        Policy(**{"steps": 4} | values)


def test_restarts_are_as_long_as_the_first_run_unless_told():
    assert Policy(6, 2).restart_steps == 6 and Policy(6, 2).worst_steps == 18 and Policy(6, 2, 3).budget(1) == 3


def same_since(steps: list[tuple[int, float]]) -> int:
    """Steps before the last one, in a row, that had its token."""
    return len(list(itertools.takewhile(lambda step: step[0] == steps[-1][0], reversed(steps[:-1]))))


@given(
    st.lists(
        st.lists(st.tuples(st.integers(2, 4), st.sampled_from([-1.0, 0.0, 1.0])), min_size=3, max_size=3),
        min_size=4,
        max_size=4,
    ),
    st.integers(1, 3),
    st.integers(0, 3),
    st.integers(1, 3),
    st.integers(0, 2),
    st.sampled_from(["margin", "agreement", "vote"]),
)
def test_equal_to_the_words_of_its_specification(runs, first, restarts, later, patience, accept):
    """The procedure once more, written from SPEC over whole trajectories instead of one step after the other."""
    if accept != "margin" and not restarts:
        return
    policy = Policy(first, restarts, later, 0.0, patience, accept)
    ends, total = [], 0
    for k in range(restarts + 1):
        steps = runs[k][: first if k == 0 else later]
        unchanged = [same_since(steps[: i + 1]) for i in range(len(steps))]
        halts = [i for i in range(len(steps)) if steps[i][1] > 0 and unchanged[i] >= patience]
        last = halts[0] if halts else len(steps) - 1
        total += last + 1
        token, margin = steps[last]
        ends.append((token, margin, [t for t, *_ in ends].count(token) + 1))
        if {"margin": bool(halts), "agreement": ends[-1][2] == 2, "vote": ends[-1][2] > (restarts + 1) / 2}[accept]:
            expected = (token, True, total, k)
            break
    else:
        expected = (max(ends, key=lambda e: (e[2] * (accept == "vote"), e[1]))[0], False, total, restarts)
    assert told(solve(script(*runs)[0], FORMS, policy)) == expected


def test_forms_of_the_identity_change_nothing():
    same = (Symmetry.identity(SEQ, VOCAB),)
    grid = np.array([2, 3, 4, 5], np.uint8)
    assert solve(lambda form: [(grid, -1.0)], same, Policy(1, 1, 1)).tokens.tolist() == [2, 3, 4, 5]
