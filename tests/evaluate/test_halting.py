"""The halting rule is the device's: of margins, thresholds and the first step that is asked."""

from __future__ import annotations

import math

import numpy as np
import pytest

from recurc.api import Model
from recurc.errors import UsageError
from recurc.evaluate.halting import Halt, Stayed, as_halt, margin, stayed, stop_index
from recurc.evaluate.runs import Kept, record
from recurc.evaluate.stepping import EngineStepper, TorchStepper
from recurc.models.reasoner import HALT_RULES
from recurc.models.reference import Reference
from recurc.verify.answers import EngineAnswerer, answer
from tests.randmodels import random_inputs, random_reasoner
from tests.tools import need


@pytest.fixture(scope="module", params=[0, 1], ids=["trm", "hrm"])
def quantized(request):
    """Of two cells with two tokens, so that they stay at times."""
    need("host")
    reasoner = random_reasoner("mlp_t", seq=2, vocab=2, hidden=32, steps=12, h_layers=request.param)
    return Model(reasoner, "small").quantize("int8")


def limits(m: np.float32) -> list[float]:
    """Thresholds about a margin: itself, its neighbours, and decimals that a float32 is not."""
    near = [float(np.nextafter(m, np.float32(side))) for side in (-np.inf, np.inf)]
    return [float(m), *near, float(m) + 1e-12, float(m) - 1e-12, float(f"{m:.6g}"), 0.0, 3e38, -np.inf, np.inf]


def test_the_rule_is_that_of_the_generated_c(quantized):
    engine, (inputs, ids) = quantized.engine.clone(), random_inputs(quantized.source.reasoner, 4)
    assert engine.halt_rule == quantized.model.config.halt_rule
    seen = set()
    for row, puzzle in zip(inputs, ids):
        count = Stayed()
        for state in EngineStepper(engine).steps(row[None], np.array([puzzle]), 12):
            same = count.after(state.tensor("tokens"))
            seen.add(int(same[0]))
            for limit in limits(state.margin[0]):
                for patience in (0, 1, 2, 255):
                    ours = bool(Halt(limit, patience=patience).stops(state.step, state.margin, same)[0])
                    assert ours == engine.halts(limit, patience), (limit.hex(), patience)
    assert {0, 1, 2} <= seen, "tokens that changed, and that stayed"


def test_a_threshold_is_a_float_as_on_the_device(quantized):
    """0.1 is no float32: a margin of the float next to it, which is larger, does not exceed it there."""
    assert float(np.float32(0.1)) > 0.1
    q = np.array([np.float32(0.1), 0], np.float32)
    for rule in HALT_RULES:
        for limit, stops in ((0.1, False), (0.0999, True)):
            assert Halt(limit).stops(1, margin(q, rule), np.array(1)) == stops
    inputs, ids = random_inputs(quantized.source.reasoner, 1)
    first = answer(EngineAnswerer(quantized.engine, 3), inputs[0], int(ids[0])).steps[0].margin
    below = float(np.nextafter(first, -np.inf))  # the same float32
    halt = Halt(below, patience=0)
    assert first > below and quantized.run(inputs, ids, halt=halt).stopped_at[0] > 1
    assert len(answer(EngineAnswerer(quantized.engine, 3), inputs[0], int(ids[0]), halt=halt).steps) > 1


def test_an_unknown_rule_is_an_error():
    with pytest.raises(ValueError, match="q_halt>1"):
        margin(np.zeros(2, np.float32), "q_halt>1")


def test_the_first_stop_counts_and_the_last_step_ends_it():
    margins = np.array([[-1, 0, 1], [0, 0.5, -1], [1, -1, -1]], np.float32)
    same = np.zeros((3, 3), np.int64)

    def stops(*rule):
        return stop_index(margins, same, Halt(*rule)).tolist()

    assert stops(0.0, 1, 0) == [2, 1, 0] and stops(0.0, 2, 0) == [2, 1, 2] and stops(0.0, 9, 0) == [2, 2, 2]
    assert stops() == [2, 2, 2], "no token has stayed"
    same[1:] = [[1, 1, 1], [2, 0, 2]]
    assert stops() == [2, 1, 2] and stops(0.4, 1, 2) == [2, 2, 2] and stops(-2.0, 1, 2) == [2, 2, 2]
    assert as_halt(True) == Halt() and as_halt(False) is as_halt(None) is None and as_halt(2) == Halt(2.0, 1, 1)


def test_tokens_stay_from_the_step_after_the_one_that_changed_them():
    tokens = np.array([[[1, 2], [3, 3]], [[1, 2], [3, 4]], [[1, 2], [3, 4]], [[2, 2], [3, 4]], [[2, 2], [3, 3]]])
    assert stayed(tokens).tolist() == [[0, 0], [1, 0], [2, 1], [0, 2], [1, 0]]
    assert stayed(tokens[:, :1]).tolist() == [[0], [1], [2], [0], [1]], "each puzzle by itself"


@pytest.mark.parametrize("rule", [{"patience": -1}, {"patience": 256}, {"min_steps": 0}, {"min_steps": 256}])
def test_a_rule_is_one_that_the_device_can_have(rule):
    with pytest.raises(UsageError, match="out of range"):
        Halt(**rule)


def test_every_way_to_run_stops_where_the_tokens_have_stayed(quantized):
    """Arrays of a batch, answers step by step, and the scores of a whole run."""
    inputs, ids = random_inputs(quantized.source.reasoner, 6)
    low = -1e9  # the tokens alone decide
    whole = record(EngineStepper(quantized.engine.clone()), inputs, ids, 3)
    for patience in (0, 1, 2):
        halt = Halt(low, patience=patience)
        steps = (stop_index(whole.margins, whole.same, halt) + 1).tolist()
        assert quantized.run(inputs, ids, 3, halt=halt).stopped_at.tolist() == steps
        one_by_one = [answer(EngineAnswerer(quantized.engine, 3), row, int(i), halt=halt) for row, i in zip(inputs, ids)]
        assert [len(a.steps) for a in one_by_one] == steps


def test_every_stepper_records_alike():
    """Batches, lanes and one by one: the same numbers, in order, and z_H of what was asked for alone."""
    reasoner = random_reasoner("mlp_t", seq=6, hidden=32, steps=3)
    inputs, ids = random_inputs(reasoner, 5)
    one = record(TorchStepper(Reference(reasoner), most=1), inputs, ids, 3, kept=Kept((1, 3), 2))
    lanes = record(TorchStepper(Reference(reasoner), most=1), inputs, ids, 3, kept=Kept((1, 3), 2), threads=3)
    every = record(TorchStepper(Reference(reasoner), most=1), inputs, ids, 3, kept=Kept((1, 2, 3)))
    assert one.tokens.shape == (3, 5, 6) and one.margins.shape == (3, 5) and one.z_H.shape[:2] == (2, 2)
    for found in (lanes, every):
        assert np.array_equal(found.tokens, one.tokens) and np.array_equal(found.margins, one.margins)
    assert np.array_equal(lanes.z_H, one.z_H) and np.array_equal(every.z_H[[0, 2], :2], one.z_H)
    assert record(TorchStepper(Reference(reasoner)), inputs, ids, 3).z_H.size == 0
    batched = record(TorchStepper(Reference(reasoner), most=2), inputs, ids, 3, kept=Kept((3,), 3))
    assert batched.z_H.shape[:2] == (1, 3) and np.allclose(batched.z_H[0], every.z_H[2, :3], atol=1e-4)


@pytest.mark.parametrize("threshold", [1e39, -1e39, 3.4028236e38, 10**400, math.nan])
def test_a_threshold_that_the_device_cannot_have_is_refused(threshold):
    """3.4028235e38 is the largest number of 32 bits; what rounds to infinity is none."""
    with pytest.raises(UsageError, match="32 bits") as e:
        Halt(threshold)
    assert e.value.where == "threshold="


@pytest.mark.parametrize("threshold", [math.inf, -math.inf, 3.4028235e38, 1e-50, 0])
def test_infinity_and_all_that_rounds_to_a_number_are_thresholds(threshold):
    assert Halt(threshold).stops(2, np.zeros(1, np.float32), np.ones(1, np.int64)).tolist() == [threshold < 0]


@pytest.mark.parametrize(
    "rule", [10**400, -(10**400), 1e39, math.inf, math.nan, 1j, np.complex64(1), "1"], ids=lambda r: f"{r!r:.9}"
)
def test_what_is_no_margin_is_refused_in_words(rule):
    with pytest.raises(UsageError, match="is no halting"):
        as_halt(rule)
