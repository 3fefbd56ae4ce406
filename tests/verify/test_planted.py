"""Planted kernel bugs are found, and located: step, block call, op, element, both values."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from recurc.dataset import Dataset
from recurc.device.frames import CARRY_SCALES
from recurc.quant.model import quantize_model
from recurc.quant.weights import precision_named
from recurc.targets.boards import load_board
from recurc.verify.device import connect
from recurc.verify.places import step_places
from recurc.verify.run import Side, verify_session
from tests.codegen.builder import compile_model
from tests.randmodels import random_inputs, random_reasoner
from tests.tools import need
from tests.verify import planted

H, L, LAYERS, STEPS = 2, 2, 2, 3
OPS = 2 * LAYERS  # of a block call
CALLS = H * (L + 1)
HEADS = CALLS * OPS + 1
MODELS = {
    "mlp": partial(random_reasoner, "mlp_t", pos="none", hidden=24, ndim=24, layers=LAYERS, cycles=(H, L), steps=STEPS),
    "attention": partial(random_reasoner, hidden=24, ndim=24, layers=LAYERS, cycles=(H, L), steps=STEPS),
}


@pytest.fixture(scope="module")
def common(tmp_path_factory):
    need("host")
    return planted.compile_common(tmp_path_factory.mktemp("common"))


@pytest.fixture(scope="module", params=[(m, c) for m in MODELS for c in ("fp32", "fp16", "int8")], ids="-".join)
def subject(request, common, tmp_path_factory):
    """(model, engine without bugs, firmware with them, dataset)."""
    name, carry = request.param
    folder = tmp_path_factory.mktemp("planted")
    reasoner = MODELS[name]()
    model = quantize_model(reasoner, precision_named("int4"), method="min-max", carry=carry)
    engine = compile_model(folder / "engine", model, shared=common.folder)
    elf = planted.compile_planted(folder / "firmware", model, common)
    inputs, ids = random_inputs(reasoner, 2)
    c = reasoner.config
    data = Dataset(inputs, inputs.astype(np.int32), ids.astype(np.int32), c.seq_len, c.vocab_size, 3, None, Path("d"), "test")
    return model, engine, elf, data


@pytest.fixture
def difference(subject, monkeypatch):
    """difference(kind, step, op) -> the first difference that verify tells; None without one."""
    model, engine, elf, data = subject

    def run(kind: int, step: int, op: int):
        monkeypatch.setenv("PLANT", f"{kind} {step} {op}")
        board = load_board("host")
        with connect(board, elf, "host", step_timeout=20) as session:
            result = verify_session(session, engine, data, Side(board, "host", places=step_places(model.program)))
        assert result.bit_exact == (result.first_difference is None)
        return result.first_difference

    return run


def test_without_a_bug_all_bits_are_equal(difference):
    assert difference(0, 0, 0) is None


@pytest.mark.parametrize("kind", [planted.ROUNDING, planted.NIBBLE, planted.SHORT_K, planted.LOST_OP])
@pytest.mark.parametrize(("step", "op"), [(1, 1), (2, 2), (2, 7), (3, 2 * OPS + 3), (3, HEADS - 1)])
def test_a_bug_is_located(subject, difference, kind, step, op):
    """The op's place is worked out here by hand, from its number."""
    model, engine, _, data = subject
    d = difference(kind, step, op)
    assert (d.puzzle, d.step, d.place.op, d.reproduced) == (0, step, op, True)
    call = (op - 1) // OPS
    high = call % (L + 1) == L
    turns = [("h_cycles", call // (L + 1) + 1, H), *([] if high else [("l_cycles", call % (L + 1) + 1, L)])]
    assert (d.place.call, d.place.calls, list(d.place.loops)) == (call + 1, CALLS, turns)
    assert (d.place.block, d.place.block_op, d.place.block_ops) == ("L_level", (op - 1) % OPS + 1, OPS)
    mixer = {"token_mix": "mlp_t", "attention": "self_attn", "channel_mix": "mlp"}[d.place.kind]
    assert (mixer == "mlp") == (op % 2 == 0)
    assert d.place.layer == f"L_level.layers.{(op - 1) % OPS // 2}.{mixer}"
    assert d.tensor == d.place.tensor == ("z_H" if high else "z_L")
    assert d.host == value(engine, data, d) and d.host != d.device and 0 < d.differing <= d.elements


def value(engine, data, d) -> float:
    """The element that a difference names, from the engine after that very op."""
    engine.begin(data.inputs[d.puzzle], int(data.puzzle_ids[d.puzzle]))
    for _ in range(d.step - 1):
        engine.step()
    engine.run_ops(d.place.op)
    if not engine.raw("columns"):
        return engine.tensor(d.tensor)[d.index].item()
    q = np.frombuffer(engine.raw(d.tensor), np.int8).reshape(engine.info.rows, -1)
    return (np.float32(q[d.index]) * np.frombuffer(engine.raw("columns"), "<f4")[d.index[1]]).item()


def test_a_carry_that_is_not_begun_anew_is_located(subject, difference):
    d = difference(planted.STALE_BEGIN, 0, 0)
    assert (d.puzzle, d.step, d.place.op, d.place.call, d.tensor, d.index) == (0, 1, 0, None, "z_L", (0, 0))
    assert "before the first op" in str(d)


def test_a_bug_in_the_heads_is_located(subject, difference):
    _, engine, _, data = subject
    d = difference(planted.LOGITS, 2, HEADS)
    assert (d.step, d.place.op, d.place.kind, d.tensor, d.index) == (2, HEADS, "heads", "logits", (0, 5))
    assert np.float32(d.device) == np.float32(d.host) + np.float32(1) and (d.differing, d.elements) == (1, 63)
    assert "after the heads" in str(d)


OTHERS = {  # what there is of models beside int4 TRMs: two blocks, and weights that are not quantized
    "hrm": (partial(random_reasoner, hidden=24, ndim=24, layers=2, h_layers=1, cycles=(H, L), steps=2), "int4"),
    "fp32 weights": (partial(MODELS["mlp"], steps=2), "fp32"),
}


@pytest.mark.parametrize("name, kind, op, block, block_op, call, tensor", [
    ("hrm", planted.ROUNDING, 2 * 4 + 2, "H_level", 2, 3, "z_H"),
    ("hrm", planted.LOST_OP, 2 * 4 + 2 + 4, "L_level", 4, 4, "z_L"),
    ("fp32 weights", planted.SHORT_K, 7, "L_level", 3, 2, "z_L"),
    ("fp32 weights", planted.SHORT_K, 2 * 4 + 2, "L_level", 2, 3, "z_H"),
])  # fmt: skip
def test_other_models(common, tmp_path, monkeypatch, name, kind, op, block, block_op, call, tensor):
    make, precision = OTHERS[name]
    reasoner = make()
    model = quantize_model(reasoner, precision_named(precision), method="min-max")
    engine = compile_model(tmp_path / "engine", model, shared=common.folder)
    elf = planted.compile_planted(tmp_path / "firmware", model, common)
    inputs, ids = random_inputs(reasoner, 1)
    c, board = reasoner.config, load_board("host")
    data = Dataset(inputs, inputs.astype(np.int32), ids.astype(np.int32), c.seq_len, c.vocab_size, 3, None, Path("d"), "test")
    monkeypatch.setenv("PLANT", f"{kind} 2 {op}")
    with connect(board, elf, "host", step_timeout=20) as session:
        d = verify_session(session, engine, data, Side(board, "host", places=step_places(model.program))).first_difference
    place = d.place
    assert (d.step, place.op, place.block, place.block_op, place.call, d.tensor) == (2, op, block, block_op, call, tensor)
    assert d.reproduced and d.host == value(engine, data, d) and d.host != d.device


def test_the_engine_stops_after_any_op(subject):
    """Op by op, in any portions, gives what a whole step gives."""
    model, engine, _, data = subject
    whole = engine.clone()
    assert engine.ops == model.program.ops_per_step == HEADS
    rng = np.random.default_rng(3)
    for e in (engine, whole):
        e.begin(data.inputs[0], int(data.puzzle_ids[0]))
    seen = {engine.carry_bytes()}
    for step in range(STEPS):
        for stop in sorted({*rng.integers(0, HEADS, 1 + 4 * step), *(range(HEADS) if step == 1 else ())}):
            engine.run_ops(int(stop))
            seen.add(engine.carry_bytes())
        engine.step()
        whole.step()
        for name in ("z_H", "z_L", *CARRY_SCALES.values(), "logits", "q", "tokens"):
            assert engine.raw(name) == whole.raw(name), (step, name)
    assert len(seen) > HEADS - 1  # every op changes the carry
