"""The device's procedure in C against the one in Python: whatever a model says, both answer the same after the same steps."""

from __future__ import annotations

import ctypes
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recurc.noise import NOISE_AT
from recurc.resources import resource_dir
from recurc.solve import ACCEPT, Policy, form_of, solve
from recurc.symmetries import Symmetry
from recurc.targets.solving import _Solver
from recurc.targets.toolchain import compile_shared
from tests.solve.scripted import ARGUMENT, OK, PUZZLE, SECTION, SOURCE, STATE, STEPS, STEPS_STATUS, TOKEN, Script
from tests.tools import need

FORMS, ROOM = 3, 5
SIZES = {"small": (4, 6), "wide": (300, 250)}


@pytest.fixture(scope="module")
def scripts(tmp_path_factory) -> dict[str, Script]:
    need("host")
    folder, runtime, made = tmp_path_factory.mktemp("script"), resource_dir("runtime_c"), {}
    rng = np.random.default_rng(3)
    for name, (seq, vocab) in SIZES.items():
        forms = tuple(Symmetry.of(rng.permutation(seq), rng.permutation(vocab)) for _ in range(FORMS))
        for known, room in ((forms, ROOM), ((), 0), ((), ROOM)):
            flags = [f"-DSEQ={seq}", f"-DVOCAB={vocab}", f"-DFORMS={len(known)}", f"-DRESTARTS={room}"]
            sources = [SOURCE, runtime / "solve" / "rc_solve.c"]
            library = compile_shared(sources, [runtime / "include"], folder / f"{name}{len(known)}{room}.so", flags)
            kind = name if known else f"{name} noisy" if room else f"{name} alone"
            made[kind] = Script(library, seq, vocab, known, room)
    return made


policies = st.builds(
    Policy,
    steps=st.integers(1, STEPS),
    restarts=st.integers(1, 5),
    restart_steps=st.integers(1, STEPS),
    threshold=st.sampled_from([-1.0, 0.0, 0.5, 2.0]),
    patience=st.integers(0, 3),
    accept=st.sampled_from(ACCEPT),
    noise=st.sampled_from([0.0, 0.5]),
    noise_at=st.sampled_from(NOISE_AT),
    seed=st.integers(0, 99),
)


@given(policy=policies, seed=st.integers(0, 2**32 - 1), kinds=st.integers(1, 3), data=st.sampled_from(["small", "wide"]),
       forms=st.sampled_from(["", " alone", " noisy"]))  # fmt: skip
@settings(max_examples=600, deadline=None)
def test_both_answer_the_same(scripts, policy, seed, kinds, data, forms):
    """Runs say one of a few answers (in the puzzle's names), so that they stay, change and agree often."""
    script = scripts[data + forms]
    if not script.room:
        policy = replace(policy, noise=0.0)
    rng = np.random.default_rng(seed)
    puzzle = rng.integers(0, script.vocab, script.seq).astype(np.uint8)
    answers = rng.integers(0, script.vocab, (kinds, script.seq)).astype(np.uint8)
    for run in range(script.runs):
        form = form_of(run, script.forms)
        for step in range(STEPS):
            said = answers[rng.integers(kinds)]
            script.tokens[run, step] = said if form is None else form.present(said)
            script.margins[run, step] = rng.choice([-2.0, -0.5, 0.0, 0.25, 0.5, 1.0, 3.0])
    tokens, margins = script.tokens.copy(), script.margins.copy()
    taken = []

    def told(form: int):
        for step in range(STEPS):
            taken.append(form)
            yield tokens[form, step], float(margins[form, step])

    wanted = solve(told, script.forms, policy)
    found, steps = script.solve(puzzle, policy)
    assert found.tokens.tobytes() == wanted.tokens.tobytes()
    for field in ("solved", "steps", "restarts", "run", "margin", "votes"):
        assert getattr(found, field) == getattr(wanted, field), field
    assert steps == taken and script.count("script_steps") == len(taken)
    assert script.count("script_begun") == wanted.restarts + 1
    added = np.zeros_like(script.noise)
    for run in range(wanted.restarts + 1):
        form = form_of(run, script.forms)
        assert script.asked[run].tobytes() == (puzzle if form is None else form.present(puzzle)).tobytes()
        for step in range(taken.count(run)):
            if policy.noisy is not None and policy.noisy.due(run, step):
                added[run, step] = policy.noise + policy.seed + 100 * NOISE_AT.index(policy.noise_at)
    assert (script.noise == added).all()


def test_what_is_no_policy_begins_nothing(scripts):
    script, puzzle, good = scripts["small"], np.zeros(4, np.uint8), Policy(4, 2, 3)
    assert script.begin(puzzle, good)[0] == OK and script.count("script_begun") == 1
    for changed in (
        {"steps": 0},
        {"restart_steps": 0},
        {"accept": 3},
        {"threshold": float("nan")},
        {"threshold": float("inf")},
        {"noise": -1.0},
        {"noise": float("nan")},
        {"noise": float("inf")},
        {"noise_at": 2},
    ):
        assert script.begin(puzzle, good, **changed)[0] == ARGUMENT and script.count("script_begun") == 0, changed
    for changed in ({"steps": STEPS + 1}, {"restart_steps": STEPS + 1}, {"steps": 0xFFFFFFFF}):
        assert script.begin(puzzle, good, **changed)[0] == STEPS_STATUS and script.count("script_begun") == 0, changed
    assert script.begin(np.full(4, 6, np.uint8), good)[0] == TOKEN and script.begin(puzzle, good, 1)[0] == PUZZLE
    status, solver = script.begin(puzzle, good, restarts=0xFFFFFFFF)
    assert status == OK and solver.policy.restarts == FORMS
    status, solver = script.begin(puzzle, good, restarts=0xFFFFFFFF, noise=0.5)
    assert status == OK and solver.policy.restarts == ROOM
    assert scripts["small alone"].begin(puzzle, good, noise=0.5)[0] == ARGUMENT
    assert script.lib.rc_solve_begin(None, None, None, None, 0) == script.lib.rc_solve_step(None) == ARGUMENT


def test_nothing_goes_on_after_the_end(scripts):
    script = scripts["small"]
    status, solver = script.begin(np.zeros(4, np.uint8), Policy(1))
    assert status == OK and script.lib.rc_solve_step(ctypes.byref(solver)) == OK and solver.done
    assert script.lib.rc_solve_step(ctypes.byref(solver)) == STATE and script.count("script_steps") == 1
    assert script.lib.rc_solve_step(ctypes.byref(_Solver())) == STATE


@pytest.mark.parametrize("at", ["cell", "name"])
@pytest.mark.parametrize("size", SIZES)
def test_forms_of_a_hostile_image_are_not_followed(scripts, size, at):
    """A cell beyond the puzzle would be read and written outside it; a name that is none has no way back."""
    script = scripts[size]
    good, wide = script.image.copy(), script.seq > 256
    try:
        if at == "cell":
            script.image[3 : 3 + (2 if wide else 1)] = (
                0xFF if not wide else np.frombuffer(np.uint16(script.seq).tobytes(), np.uint8)
            )
        else:
            start = 3 + script.seq * (2 if wide else 1)
            script.image[start : start + script.vocab] = 0
        script.margins[:] = -9.0
        script.tokens[:] = script.vocab - 1
        status, solver = script.begin(np.zeros(script.seq, np.uint8), Policy(1, 3, 1))
        found = [script.lib.rc_solve_step(ctypes.byref(solver)) for _ in range(2)]
        assert (status, *found) == (OK, OK, SECTION)
        assert script.lib.rc_solve_step(ctypes.byref(solver)) == STATE, "it is over"
    finally:
        script.image[:] = good
