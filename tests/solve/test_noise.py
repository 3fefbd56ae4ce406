"""Restarts by noise: the same bits in Python, in the generated code, in the device's procedure and in the host's."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

from recurc.errors import InputError, UsageError
from recurc.evaluate.asked import Asked
from recurc.evaluate.solving import solve_puzzle
from recurc.evaluate.stepping import EngineStepper
from recurc.noise import DEVIATION, Noise, normals
from recurc.quant.model import quantize_model
from recurc.quant.twin import Twin
from recurc.quant.weights import precision_named
from recurc.solve import Policy, solve
from recurc.symmetries import draw, named
from recurc.threefry import threefry
from tests.codegen.builder import compile_model
from tests.randmodels import random_inputs, random_reasoner
from tests.tools import need

FORMS = draw(named("square+tokens:1-6", 9, 7), 2, 5)
NEVER = 1e30


def test_a_number_is_what_its_specification_says():
    """Four digits of 4 bits of a half word, less 30; blocks of four elements, rows of all states in order."""
    seed, run, step, state, rows, width = 77, 3, 2, 1, 5, 10
    found = normals(seed, run, step, state, rows, width)
    for row in range(rows):
        for element in range(width):
            words = threefry((seed, run), ((state * rows + row) * 3 + element // 4, step))
            half = words[element % 4 // 2] >> 16 * (element % 2) & 0xFFFF
            assert found[row, element] == sum(half >> 4 * digit & 15 for digit in range(4)) - 30
    assert DEVIATION == np.float32(1 / np.sqrt(85))


def test_numbers_are_normal_and_independent():
    x = normals(1, 1, 0, 0, 400, 128).astype(float) / np.sqrt(85)
    n = x.size
    assert abs(x.mean()) < 4 / np.sqrt(n) and abs(x.var() - 1) < 4 * np.sqrt(2 / n)
    assert abs((np.abs(x) < 1).mean() - 0.683) < 0.03 and abs((np.abs(x) < 2).mean() - 0.954) < 0.01
    for other in (normals(2, 1, 0, 0, 400, 128), normals(1, 2, 0, 0, 400, 128), normals(1, 1, 1, 0, 400, 128),
                  normals(1, 1, 0, 1, 400, 128), np.roll(normals(1, 1, 0, 0, 400, 128), 1, axis=1)):  # fmt: skip
        assert abs(np.corrcoef(x.ravel(), other.ravel())[0, 1]) < 4 / np.sqrt(n)


@pytest.mark.parametrize("values", [
    {"sigma": -1.0}, {"sigma": float("nan")}, {"sigma": float("inf")}, {"sigma": 1e39}, {"sigma": 0.0},
    {"at": "end"}, {"seed": -1}, {"seed": 1 << 32},
])  # fmt: skip
def test_what_is_no_noise_is_refused(values):
    with pytest.raises(UsageError):
        Noise(**{"sigma": 1.0} | values)
    if values != {"sigma": 0.0}:
        given = {{"sigma": "noise", "at": "noise_at"}.get(name, name): value for name, value in values.items()}
        with pytest.raises(UsageError):
            Policy(**{"steps": 2, "restarts": 1, "noise": 1.0} | given)


def test_what_float32_takes_for_0_is_none():
    for none in (1e-60, -1e-60, 0.0):
        assert str(Policy(2, 1, noise=none).noise) == "0.0" and Policy(2, 1, noise=none).noisy is None
    assert Policy(2, 1, noise=1e-45).noise > 0


def test_the_first_run_is_what_it_was():
    noisy = Noise(1.0)
    assert not noisy.due(0, 0) and noisy.due(1, 0) and not noisy.due(1, 1) and Noise(1.0, "step").due(2, 3)
    assert Policy(2, 3).runs(0) == 0 and Policy(2, 3).runs(2) == 2 and Policy(2, 3, noise=0.5).runs(0) == 3
    assert "noise" not in Policy(2, 3).as_dict() and Policy(2, 3, noise=0.5).as_dict()["noise_at"] == "start"


@pytest.fixture(scope="module")
def kernels_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("kernels")


@pytest.fixture(scope="module", params=["fp32", "fp16", "int8"])
def made(request, tmp_path_factory, kernels_folder):
    need("host")
    reasoner = random_reasoner(hidden=40, ndim=40, heads=5)
    model = quantize_model(reasoner, precision_named("int8"), carry=request.param, symmetries=FORMS, noisy_runs=5)
    return model, compile_model(tmp_path_factory.mktemp("noise") / request.param, model, shared=kernels_folder)


@pytest.mark.parametrize("at", ["start", "step"])
def test_the_generated_code_adds_what_the_twin_adds(made, at):
    model, engine = made
    (row,), (puzzle,) = random_inputs(random_reasoner(), 1)
    twin, noise = Twin(model), Noise(0.3, at, 9)
    twin.begin(row[None], np.array([puzzle]))
    engine.begin(row, int(puzzle))
    plain = engine.raw("z_H")
    for step in range(4):
        twin.add_noise(noise, 2)
        engine.add_noise(noise, 2)
        for name in ("z_H", "z_L"):
            assert engine.tensor(name).tobytes() == twin.states[name][0].tobytes(), (step, name)
        assert step or engine.raw("z_H") != plain
        twin.step()
        engine.step()
        assert engine.tensor("logits").tobytes() == twin.logits[0].tobytes()


POLICIES = (
    Policy(2, 4, 3, threshold=NEVER, noise=0.5),
    Policy(2, 5, 2, threshold=NEVER, noise=0.2, noise_at="step", seed=7),
    Policy(3, 255, 2, threshold=0.0, patience=2, accept="agreement", noise=1.0),
    Policy(2, 4, 2, threshold=NEVER),
)


def test_the_devices_procedure_is_the_hosts(made):
    """In C, in Python around the engine, and in Python around the twin; with forms and after them."""
    model, engine = made
    for puzzle in random_inputs(random_reasoner(), 2)[0]:
        asked = Asked(EngineStepper(engine), puzzle[None], np.array([1]), FORMS, 4, 4)
        for policy in POLICIES:
            found = engine.solve(puzzle, policy, 1)
            most = Policy(**vars(policy) | {"restarts": min(policy.restarts, 5)})

            def runs(run: int, puzzle: np.ndarray = puzzle, policy: Policy = policy):
                twin = Twin(model)
                twin.begin((FORMS[run - 1].present(puzzle) if 0 < run <= 2 else puzzle)[None], np.array([1]))
                for _ in range(4):
                    if policy.noisy is not None:
                        twin.add_noise(policy.noisy, run)
                    twin.step()
                    yield twin.tokens[0], float(twin.q[0, 0])

            for other in (solve_puzzle(engine, puzzle, 1, FORMS, most), solve(runs, FORMS, most), asked.answers(most)[0]):
                assert found.tokens.tobytes() == other.tokens.tobytes()
                assert vars(found) | {"tokens": None} == vars(other) | {"tokens": None}
            if policy.threshold == NEVER:
                assert found.restarts == min(policy.restarts, 5 if policy.noise else len(FORMS))


@pytest.mark.parametrize("sigma", [3.4e38, 1e20])
@pytest.mark.parametrize("at", ["start", "step"])
def test_noise_beyond_all_numbers_ends_the_puzzle(made, sigma, at):
    """But for fp16, which stores nothing beyond 65504, and what is none before that is no number there either."""
    model, engine = made
    (row,), _ = random_inputs(random_reasoner(), 1)
    policy = Policy(1, 2, 2, threshold=NEVER, noise=sigma, noise_at=at)
    twin = Twin(model)
    twin.begin(row[None], np.array([0]))
    twin.add_noise(Noise(sigma, at), 1)
    fits = model.program.carry == "fp16" and sigma == 1e20
    if fits:
        twin.step()
        assert engine.solve(row, policy).restarts == 2
        return
    for answer in (twin.step, lambda: engine.solve(row, policy), lambda: solve_puzzle(engine, row, 0, (), policy)):
        with pytest.raises(InputError, match="not a finite number"):
            answer()


def test_a_model_that_was_built_without_refuses(tmp_path, kernels_folder):
    need("host")
    engine = compile_model(tmp_path / "m", quantize_model(random_reasoner(), precision_named("int8")), shared=kernels_folder)
    (row,), _ = random_inputs(random_reasoner(), 1)
    assert engine.solve(row, Policy(2, 3, 2)).restarts == 0
    with pytest.raises(InputError):
        engine.solve(row, Policy(2, 3, 2, noise=1.0))
    engine.begin(row)
    with pytest.raises(InputError):
        engine.add_noise(Noise(1.0), 1)


def test_noise_is_added_between_steps_only(made):
    _, engine = made
    (row,), _ = random_inputs(random_reasoner(), 1)
    lib, context = engine._lib, ctypes.byref(engine._context)
    engine.begin(row)
    good = (0, 1.0, 0, 1)
    for wrong in ((2, 1.0, 0, 1), (0, -1.0, 0, 1), (0, float("nan"), 0, 1), (0, float("inf"), 0, 1)):
        assert lib.rc_noise(context, *wrong) == 1
    assert lib.rc_noise(None, *good) == 1 and lib.rc_noise(context, *good) == 0
    engine.run_ops(1)
    assert lib.rc_noise(context, *good) == 13
