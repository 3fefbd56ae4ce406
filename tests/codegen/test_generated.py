"""The generated model's API under misuse, its halting, and the proofs that the compiler checks."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

from recurc.errors import InputError, ToolchainError
from recurc.plan.kernels import KERNEL_SETS, kernel_set
from recurc.quant.model import quantize_model
from recurc.quant.weights import precision_named
from recurc.targets.host import _U8P, HostEngine, _aligned, _Context
from tests.codegen.builder import compile_model, write_sources
from tests.randmodels import random_inputs, random_reasoner
from tests.tools import need

OK, ARGUMENT, ALIGNMENT, ARENA, TOKEN, PUZZLE, STATE = 0, 1, 9, 10, 11, 12, 13


@pytest.fixture(scope="module")
def reasoner():
    return random_reasoner(hidden=16, ndim=16, layers=1, puzzles=3)


@pytest.fixture(scope="module")
def engine(reasoner, tmp_path_factory, kernels_folder) -> HostEngine:
    model = quantize_model(reasoner, precision_named("int8"))
    return compile_model(tmp_path_factory.mktemp("api"), model, shared=kernels_folder)


class Calls:
    """The C functions of one engine on a context of our own."""

    def __init__(self, engine: HostEngine) -> None:
        self.lib, self.info, self.image = engine._lib, engine.info, engine._image
        self.context = _Context()
        self.arena = _aligned(self.info.arena_bytes + 64)

    def open(self, shift: int = 0, size: int | None = None, image=..., arena=..., context=...) -> int:
        at = self.arena[shift:].ctypes.data_as(_U8P) if arena is ... else arena
        data = self.image.ctypes.data_as(_U8P) if image is ... else image
        return self.lib.rc_open(
            ctypes.byref(self.context) if context is ... else context,
            data,
            len(self.image),
            at,
            self.info.arena_bytes if size is None else size,
            None,
        )

    def begin(self, tokens=..., puzzle: int = 0, context=...) -> int:
        row = np.zeros(self.info.seq_len, np.uint8) if tokens is ... else tokens
        pointer = None if row is None else row.ctypes.data_as(_U8P)
        return self.lib.rc_begin(ctypes.byref(self.context) if context is ... else context, pointer, puzzle)

    def step(self, context=...) -> int:
        return self.lib.rc_step(ctypes.byref(self.context) if context is ... else context)

    def halts(self) -> int:
        return self.lib.rc_halts(ctypes.byref(self.context), -1e30, 0)

    def tensor(self, ident: int) -> bool:
        count = ctypes.c_uint32()
        return bool(self.lib.rc_tensor(ctypes.byref(self.context), ident, ctypes.byref(count)))


@pytest.fixture
def calls(engine):
    return Calls(engine)


def test_null_arguments(calls):
    assert calls.open(context=None) == calls.open(arena=None) == calls.open(image=None) == ARGUMENT
    assert calls.open() == OK
    assert calls.begin(tokens=None) == calls.begin(context=None) == calls.step(context=None) == ARGUMENT
    assert calls.lib.rc_halts(None, 0.0, 0) == 0
    assert not calls.lib.rc_tensor(None, 0, ctypes.byref(ctypes.c_uint32()))
    assert not calls.lib.rc_tensor(ctypes.byref(calls.context), 0, None)


def test_the_arena_must_be_aligned_and_large_enough(calls):
    for shift in (1, 4, 16, 32):
        assert calls.open(shift) == ALIGNMENT
    assert calls.open(size=calls.info.arena_bytes - 1) == calls.open(size=0) == ARENA
    assert calls.open(shift=64) == OK


def test_order_of_calls(calls):
    assert calls.begin() == calls.step() == STATE
    assert not calls.tensor(0) and calls.halts() == 0
    assert calls.open() == OK
    assert calls.step() == STATE
    assert calls.begin() == OK
    assert calls.halts() == 0  # no step has run
    assert calls.step() == calls.step() == OK
    assert calls.halts() == 1


def test_a_failed_open_leaves_nothing_open(calls):
    assert calls.open() == OK
    assert calls.open(size=0) == ARENA
    assert calls.begin() == STATE


def test_tokens_and_puzzles_out_of_range(calls):
    assert calls.open() == OK
    seq, vocab = calls.info.seq_len, calls.info.vocab
    for at in (0, seq - 1):
        for value in (vocab, 255):
            row = np.zeros(seq, np.uint8)
            row[at] = value
            assert calls.begin(row) == TOKEN
    assert calls.step() == STATE
    assert calls.begin(np.full(seq, vocab - 1, np.uint8)) == OK
    assert [calls.begin(puzzle=p) for p in (2, 3, 0xFFFFFFFF)] == [OK, PUZZLE, PUZZLE]


def test_a_refused_begin_keeps_the_running_puzzle(engine, reasoner):
    mine, other = engine.clone(), engine.clone()
    inputs, ids = random_inputs(reasoner, 1)
    for e in (mine, other):
        e.begin(inputs[0], int(ids[0]))
        e.step()
    with pytest.raises(InputError, match="vocabulary"):
        mine.begin(np.full(9, 200, np.uint8))
    with pytest.raises(InputError, match="puzzle identifier"):
        mine.begin(inputs[0], 3)
    mine.step()
    other.step()
    assert mine.tensor("z_H").tobytes() == other.tensor("z_H").tobytes()


def test_unknown_tensors(calls):
    assert calls.open() == OK
    assert [calls.tensor(i) for i in range(8)] == [False] * 8 and calls.begin() == OK
    assert [calls.tensor(i) for i in range(8)] == [True] * 6 + [False] * 2


def test_rows_that_do_not_fit_are_refused_in_python(engine):
    for row in (np.zeros(8), np.zeros((1, 9)), np.full(9, 256), np.full(9, -1), np.full(9, 0.5)):
        with pytest.raises(InputError, match="does not fit"):
            engine.begin(row)


def test_clones_do_not_disturb_each_other(engine, reasoner):
    inputs, ids = random_inputs(reasoner, 2)
    a, b = engine.clone(), engine.clone()
    a.begin(inputs[0], int(ids[0]))
    a.step()
    alone = a.tensor("z_H")
    a.begin(inputs[0], int(ids[0]))
    b.begin(inputs[1], int(ids[1]))
    a.step()
    b.step()
    assert a.tensor("z_H").tobytes() == alone.tobytes() != b.tensor("z_H").tobytes()


@pytest.mark.parametrize("rule", ["q_halt>0", "q_halt>q_continue"])
def test_halting_rules(rule, tmp_path, kernels_folder):
    """TRM: q_halt against the threshold, whatever its untrained q_continue; HRM: the difference."""
    r = random_reasoner(hidden=16, ndim=16, layers=1)
    config = r.config.__class__(**{**r.config.__dict__, "halt_rule": rule})
    r = r.__class__(config, r.tensors, r.source, r.sha256)
    engine = compile_model(tmp_path, quantize_model(r, precision_named("int8")), shared=kernels_folder)
    assert engine.info.halt_rule == (rule != "q_halt>0")
    inputs, ids = random_inputs(r, 6)
    seen = set()
    for row, puzzle in zip(inputs, ids):
        engine.begin(row, int(puzzle))
        assert not engine.halts(-1e30)
        engine.step()
        q = engine.tensor("q")
        margin = q[0] if rule == "q_halt>0" else q[0] - q[1]
        assert engine.halts() == (margin > 0)
        assert not engine.halts(float(margin)) and engine.halts(float(np.nextafter(margin, np.float32(-np.inf))))
        seen.add(bool(q[0] > 0))
    assert seen == {True, False}


def test_a_model_halts_when_its_tokens_have_stayed(tmp_path, kernels_folder):
    """`same` counts the steps in a row that have left all tokens as they were, and begins anew with a puzzle."""
    r = random_reasoner(hidden=16, ndim=16, layers=1)
    engine = compile_model(tmp_path, quantize_model(r, precision_named("int8")), shared=kernels_folder)
    inputs, ids = random_inputs(r, 12)
    longest, broken = 0, 0
    for row, puzzle in zip(inputs, ids):
        engine.begin(row, int(puzzle))
        assert not engine.halts(-1e30, 0)
        before, same = None, 0
        for _ in range(engine.info.steps):
            engine.step()
            tokens = engine.tensor("tokens")
            broken += same > 0 and not np.array_equal(tokens, before)
            same = same + 1 if before is not None and np.array_equal(tokens, before) else 0
            before, longest = tokens, max(longest, same)
            assert [engine.halts(-1e30, patience) for patience in range(5)] == [same >= patience for patience in range(5)]
            assert not engine.halts(1e30, 0)
    assert longest >= 2, "no puzzle of these tells anything"


# -- what the compiler proves ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernels", KERNEL_SETS, ids=lambda k: k.name)
@pytest.mark.parametrize("precision", ["fp32", "int8", "int4"])
def test_sizes_and_offsets_are_asserted_in_c(kernels, precision, tmp_path):
    model = quantize_model(random_reasoner(), precision_named(precision), method="min-max")
    _, layout = write_sources(tmp_path, model, kernels, 20_000)
    text = (tmp_path / "model.c").read_text()
    structs = [
        (layout.carry, "carry_t"),
        (layout.heads, "heads_scratch_t"),
        *((s.scratch, f"{s.name}_scratch_t") for s in layout.shapes),
    ]
    for struct, name in structs:
        assert f"RC_STATIC_ASSERT(sizeof({name}) == {struct.bytes}u" in text
        for b in struct.buffers:
            assert f"RC_STATIC_ASSERT(offsetof({name}, {b.name}) == {b.offset}u" in text
    proofs = [line for line in text.splitlines() if "accumulator of" in line]
    assert len(proofs) == (0 if precision == "fp32" else len(model.program.linears))
    assert text.count("static void call_") == 1  # the block is emitted once
    assert "malloc" not in text and "<math.h>" not in text


def test_two_blocks_are_emitted_once_each(tmp_path):
    model = quantize_model(random_reasoner(layers=1, h_layers=3), precision_named("int8"))
    write_sources(tmp_path, model, kernel_set("portable"), 20_000)
    text = (tmp_path / "model.c").read_text()
    assert text.count("static void call_") == 2
    assert text.count("    call_L_level(ctx, arena, &call);") == text.count("    call_H_level(ctx, arena, &call);") == 1
    assert text.count("static void attention_") == text.count("static void channel_mix_") == 1, "one shape, one function"


@pytest.mark.parametrize(("expansion", "fits"), [(6190, True), (6320, False)])
def test_the_overflow_proof_stops_an_absurd_depth(expansion, fits, tmp_path, kernels_folder):
    r = random_reasoner("mlp_t", pos="none", hidden=8, heads=1, seq=2, ndim=0, plen=0, layers=1)
    config = r.config.__class__(**{**r.config.__dict__, "expansion": expansion})
    tensors = dict(r.tensors)
    for name, n, k in (
        ("mlp.gate_up_proj", 2 * config.inter, 8),
        ("mlp.down_proj", 8, config.inter),
        ("mlp_t.gate_up_proj", 2 * config.inter_t, 2),
        ("mlp_t.down_proj", 2, config.inter_t),
    ):
        tensors[f"L_level.layers.0.{name}.weight"] = np.ones((n, k), np.float32)
    assert (config.inter * 510 * 127 < 2**31) == fits
    model = quantize_model(r.__class__(config, tensors, "x", "y"), precision_named("int8"))
    if fits:
        compile_model(tmp_path, model, shared=kernels_folder)
        return
    with pytest.raises(ToolchainError, match="accumulator of L_level.layers.0.mlp.down_proj.weight"):
        compile_model(tmp_path, model, shared=kernels_folder)


def test_a_moved_buffer_stops_the_compiler(tmp_path):
    """The asserted offsets are what ties the planner to the firmware: change one and nothing compiles."""
    need("host")
    model = quantize_model(random_reasoner(hidden=16, ndim=16, layers=1), precision_named("int8"))
    write_sources(tmp_path / "a", model, kernel_set("portable"), 20_000)
    text = (tmp_path / "a" / "model.c").read_text()
    from recurc.targets.toolchain import compile_shared
    from tests.codegen.builder import RUNTIME

    bent = text.replace(" float z_l[", " float between[4];\n    __attribute__((aligned(16))) float z_l[", 1)
    assert bent != text
    (tmp_path / "a" / "model.c").write_text(bent)
    with pytest.raises(ToolchainError, match="as planned"):
        compile_shared([tmp_path / "a" / "model.c"], [tmp_path / "a", RUNTIME / "include"], tmp_path / "x.so")
