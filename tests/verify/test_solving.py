"""Answers with restarts on a device that differs: where it is told, down to the op, in the run in which it differs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from recurc.dataset import Dataset
from recurc.device.frames import SolveResult, StepEvent
from recurc.device.session import DeviceSession
from recurc.errors import UsageError
from recurc.evaluate.halting import Halt
from recurc.solve import Policy
from recurc.targets.boards import load_board
from recurc.targets.host import HostEngine
from recurc.verify.compare import Comparison
from recurc.verify.courses import Solving
from recurc.verify.divergence import Tracer
from recurc.verify.options import Listener, RunOptions
from recurc.verify.result import PuzzleResult, StepView
from recurc.verify.run import Side, verify_session
from tests.device import dummy_build as dummy
from tests.device.inprocess import Clock, Line, build_server
from tests.tools import need

ASK_AGAIN = Policy(2, 2, 3, threshold=99.0)


@pytest.fixture(scope="module")
def libraries(tmp_path_factory):
    """A server that is right, one whose second step is wrong where the first cell is 2, one whose second noise is wrong."""
    need("host")
    return {
        name: build_server(tmp_path_factory.mktemp("server"), *defines)
        for name, defines in (("right", ()), ("wrong", ("DUMMY_BUG_STEP=2",)), ("noise", ("DUMMY_BUG_NOISE=1",)))
    }


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    folder = tmp_path_factory.mktemp("engine")
    (folder / "model.rcm").write_bytes(dummy.image_bytes())
    return HostEngine(dummy.build_dummy_library(folder / "engine.so"), folder / "model.rcm")


def puzzle(first: int, in_form: int) -> np.ndarray:
    """A puzzle whose first cell is `first`, and 2 in none of its forms but `in_form` (from 1)."""
    rng = np.random.default_rng(7)
    while True:
        row = rng.integers(0, 6, 16).astype(np.uint8)
        shown = [row, *(form.present(row) for form in dummy.FORMS)]
        if row[0] == first and [int(r[0]) == 2 for r in shown] == [i == in_form for i in range(3)]:
            return row


def run(library, engine, monkeypatch, rows, policy=ASK_AGAIN, listener=None, **options):
    clock = Clock().use(monkeypatch)
    tokens = np.stack(rows)
    data = Dataset(tokens, tokens.astype(np.int32), np.zeros(len(rows), np.int32), 16, 6, 3, None, Path("d"), "test")
    with DeviceSession(Line(library, clock)) as session:
        chosen = RunOptions(policy=policy, **options)
        return verify_session(session, engine, data, Side(load_board("host"), "host"), chosen, listener or Listener())


def test_a_device_that_computes_the_same_answers_the_same(libraries, engine, monkeypatch):
    found = run(libraries["right"], engine, monkeypatch, [puzzle(3, 1)], tokens=True)
    assert found.bit_exact and found.answered is not None
    (p,) = found.puzzles
    assert (p.steps, p.restarts, p.solved, p.halted, p.equal_steps) == (8, 2, False, False, 8)
    own = engine.solve(puzzle(3, 1), ASK_AGAIN)
    assert p.tokens == tuple(own.tokens.tolist())
    assert (found.answered.solved, found.answered.restarted, found.answered.mean_steps) == (0, 1, 8.0)


@pytest.mark.parametrize("form", [1, 2])
def test_a_difference_within_a_restart_is_found_there(libraries, engine, monkeypatch, form):
    row = puzzle(3, form)
    found = run(libraries["wrong"], engine, monkeypatch, [row])
    difference = found.first_difference
    assert difference is not None and not found.bit_exact
    assert (difference.run, difference.step, difference.tensor, difference.index) == (form, 2, "logits", (1, 1))
    assert f"restart {form}, step 2" in str(difference) and difference.place is not None and difference.reproduced
    assert found.puzzles[0].equal_steps == 2 + 3 * (form - 1) + 1
    assert type(difference).from_dict(difference.as_dict()) == difference


def test_a_run_that_has_a_row_of_its_own_is_traced_with_it(libraries, engine, monkeypatch):
    asked, real = [], Tracer.locate
    monkeypatch.setattr("recurc.targets.solving.Solving.row", property(lambda solving: 2 if solving.run else 0))
    monkeypatch.setattr(Tracer, "locate", lambda self, tokens, row, *more: asked.append(row) or real(self, tokens, row, *more))
    for form, row in ((1, 2), (0, 0)):
        run(libraries["wrong"], engine, monkeypatch, [puzzle(3 if form else 2, form)])
        assert asked.pop() == row


@pytest.mark.parametrize("at", ["start", "step"])
def test_noisy_restarts_are_equal_with_forms_and_after_them(libraries, engine, monkeypatch, at):
    policy = replace(ASK_AGAIN, restarts=9, noise=0.25, noise_at=at, seed=5)
    found = run(libraries["right"], engine, monkeypatch, [puzzle(3, 1)], policy)
    assert found.bit_exact and (found.puzzles[0].restarts, found.puzzles[0].steps) == (4, 14), "as many as there is room for"
    plain = run(libraries["right"], engine, monkeypatch, [puzzle(3, 1)])
    assert plain.puzzles[0].restarts == 2


@pytest.mark.parametrize("row", [puzzle(3, 1), puzzle(2, 0)])
def test_noise_that_differs_is_found_before_the_first_op(libraries, engine, monkeypatch, row):
    policy = replace(ASK_AGAIN, restarts=4, noise=0.25, noise_at="step")
    difference = run(libraries["noise"], engine, monkeypatch, [row], policy).first_difference
    assert difference is not None and difference.reproduced and difference.place is not None
    assert (difference.run, difference.step, difference.tensor, difference.index) == (1, 2, "z_H", (0, 5))
    assert "before the first op" in str(difference) and difference.differing == 1


def test_a_difference_in_a_step_after_noise_is_found_in_that_step(libraries, engine, monkeypatch):
    """In a run beyond the forms, of the puzzle itself."""
    row, policy = puzzle(2, 0), replace(ASK_AGAIN, steps=1, restarts=4, noise=0.25, noise_at="step")
    difference = run(libraries["wrong"], engine, monkeypatch, [row], policy).first_difference
    assert difference is not None and difference.reproduced
    assert (difference.run, difference.step, difference.tensor, difference.index) == (3, 2, "logits", (1, 1))


def test_a_difference_in_the_puzzle_itself_has_no_restart(libraries, engine, monkeypatch):
    row = puzzle(2, 0)
    found = run(libraries["wrong"], engine, monkeypatch, [row])
    difference = found.first_difference
    assert difference is not None and difference.run == 0 and "restart" not in str(difference)
    assert "run" not in difference.as_dict() and type(difference).from_dict(difference.as_dict()) == difference


def test_what_is_drawn_says_which_run_it_is_of(libraries, engine, monkeypatch):
    row, views = puzzle(3, 1), list[StepView]()
    assert run(libraries["right"], engine, monkeypatch, [row], listener=Listener(show=views.append)).bit_exact
    assert [(v.step, v.run) for v in views] == [(0, 0), (1, 0), (2, 0), (3, 1), (4, 1), (5, 1), (6, 2), (7, 2), (8, 2)]
    for view in views:
        wanted = row if view.run == 0 else dummy.FORMS[view.run - 1].present(row)
        assert view.input.tolist() == wanted.tolist() and view.valid.any() == (view.run == 0)


@pytest.mark.parametrize("options", [{"steps": 3}, {"halt": Halt()}])
def test_a_policy_excludes_what_it_decides(libraries, engine, monkeypatch, options):
    with pytest.raises(UsageError, match="by itself"):
        run(libraries["right"], engine, monkeypatch, [puzzle(3, 1)], **options)
    with pytest.raises(UsageError, match="too many steps"):
        run(libraries["right"], engine, monkeypatch, [puzzle(3, 1)], Policy(13))


class Told:
    """A session whose device tells something else than it does: other events and another answer."""

    def __init__(self, session: DeviceSession, events=lambda e: e, answer=lambda a: a) -> None:
        self.session, self.events, self.answer = session, events, answer

    def __getattr__(self, name: str):
        return getattr(self.session, name)

    def solve(self, policy: Policy, **options):
        return (self.events(event) for event in self.session.solve(policy, **options))

    def read_tensor(self, name: str) -> np.ndarray:
        found = self.session.read_tensor(name)
        return self.answer(found) if name == "answer" else found


def compared(libraries, engine, monkeypatch, **told):
    with DeviceSession(Line(libraries["right"], Clock().use(monkeypatch))) as session:
        session.hello()
        lying = Told(session, **told)
        course = Solving(lying, engine, ASK_AGAIN)
        return Comparison(lying, engine, course).puzzle(0, puzzle(3, 1), 0, lambda step: None).difference


def test_a_device_that_asks_again_otherwise_differs(libraries, engine, monkeypatch):
    def later(event):
        return replace(event, run=2) if isinstance(event, StepEvent) and event.run == 1 else event

    found = compared(libraries, engine, monkeypatch, events=later)
    assert found is not None and (found.tensor, found.host, found.device, found.step) == ("run", None, 2, 1)


def test_another_answer_than_the_hosts_is_a_difference(libraries, engine, monkeypatch):
    assert compared(libraries, engine, monkeypatch) is None
    found = compared(libraries, engine, monkeypatch, answer=lambda a: np.concatenate((a[:5], a[5:] ^ 1)))
    assert found is not None and (found.tensor, found.index, found.differing, found.run) == ("answer", (5,), 11, 2)


@pytest.mark.parametrize(
    ("field", "value"), [("solved", True), ("restarts", 1), ("run", 2), ("margin", 0.5), ("votes", 2), ("answer_crc", 5)]
)
def test_what_the_device_says_of_its_answer_is_compared(libraries, engine, monkeypatch, field, value):
    def other(event):
        return replace(event, **{field: value}) if isinstance(event, SolveResult) else event

    assert getattr(engine.solve(puzzle(3, 1), ASK_AGAIN), field, None) != value
    assert compared(libraries, engine, monkeypatch, events=other) is not None


def test_an_answer_that_ends_elsewhere_is_told_by_its_run(libraries, engine, monkeypatch):
    found = compared(libraries, engine, monkeypatch, answer=lambda a: a ^ 1)
    assert found is not None and (found.run, found.step) == (2, 3), "the third step of restart 2"


def test_a_journal_holds_what_belongs_together(libraries, engine, monkeypatch):
    (p,) = run(libraries["right"], engine, monkeypatch, [puzzle(3, 1)]).puzzles
    entry = json.loads(json.dumps(p.as_dict()))
    assert PuzzleResult.from_dict(entry) == p
    for wrong in ({"restarts": -5}, {"restarts": None}, {"solved": None}, {"solved": 1}, {"restarts": True}):
        with pytest.raises(ValueError):
            PuzzleResult.from_dict({**entry, **wrong})
