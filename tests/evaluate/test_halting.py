"""The halting rule is the device's: of margins, thresholds and the first step that is asked."""

from __future__ import annotations

import numpy as np
import pytest

from recurc.api import Model
from recurc.evaluate.halting import Halt, as_halt, margin, stop_index
from recurc.evaluate.runs import Kept, record
from recurc.evaluate.stepping import EngineStepper, TorchStepper
from recurc.models.reasoner import HALT_RULES
from recurc.models.reference import Reference
from recurc.verify.answers import EngineAnswerer, answer
from tests.randmodels import random_inputs, random_reasoner
from tests.tools import need


@pytest.fixture(scope="module", params=[0, 1], ids=["trm", "hrm"])
def quantized(request):
    need("host")
    return Model(random_reasoner("mlp_t", seq=6, hidden=32, steps=3, h_layers=request.param), "small").quantize("int8")


def limits(m: np.float32) -> list[float]:
    """Thresholds about a margin: itself, its neighbours, and decimals that a float32 is not."""
    near = [float(np.nextafter(m, np.float32(side))) for side in (-np.inf, np.inf)]
    return [float(m), *near, float(m) + 1e-12, float(m) - 1e-12, float(f"{m:.6g}"), 0.0, 1e300, -np.inf, np.inf]


def test_the_rule_is_that_of_the_generated_c(quantized):
    engine, (inputs, ids) = quantized.engine.clone(), random_inputs(quantized.source.reasoner, 4)
    assert engine.halt_rule == quantized.model.config.halt_rule
    for row, puzzle in zip(inputs, ids):
        for state in EngineStepper(engine).steps(row[None], np.array([puzzle]), 3):
            for limit in limits(state.margin[0]):
                assert bool(Halt(limit).stops(state.step, state.margin)[0]) == engine.halts(limit), limit.hex()


def test_a_threshold_is_a_float_as_on_the_device(quantized):
    """0.1 is no float32: a margin of the float next to it, which is larger, does not exceed it there."""
    assert float(np.float32(0.1)) > 0.1
    q = np.array([np.float32(0.1), 0], np.float32)
    for rule in HALT_RULES:
        assert not Halt(0.1).stops(1, margin(q, rule)) and Halt(0.0999).stops(1, margin(q, rule))
    inputs, ids = random_inputs(quantized.source.reasoner, 1)
    first = answer(EngineAnswerer(quantized.engine, 3), inputs[0], int(ids[0])).steps[0].margin
    below = float(np.nextafter(first, -np.inf))  # the same float32
    halt = Halt(below)
    assert first > below and quantized.run(inputs, ids, halt=halt).stopped_at[0] > 1
    assert len(answer(EngineAnswerer(quantized.engine, 3), inputs[0], int(ids[0]), halt=halt).steps) > 1


def test_an_unknown_rule_is_an_error():
    with pytest.raises(ValueError, match="q_halt>1"):
        margin(np.zeros(2, np.float32), "q_halt>1")


def test_the_first_stop_counts_and_the_last_step_ends_it():
    margins = np.array([[-1, 0, 1], [0, 0.5, -1], [1, -1, -1]], np.float32)
    assert stop_index(margins, Halt()).tolist() == [2, 1, 0]
    assert stop_index(margins, Halt(0.0, 2)).tolist() == [2, 1, 2] and stop_index(margins, Halt(0.0, 9)).tolist() == [2, 2, 2]
    assert as_halt(True) == Halt() and as_halt(False) is as_halt(None) is None and as_halt(2) == Halt(2.0)


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
