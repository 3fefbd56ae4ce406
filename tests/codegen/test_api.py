"""The generated model's own interface, called by hand: what it refuses, and that a refusal leaves nothing half done."""

from __future__ import annotations

import ctypes
import platform
import re

import numpy as np
import pytest

from recurc.device.frames import TENSORS
from recurc.device.statuses import status_text
from recurc.plan.kernels import kernel_set
from recurc.quant.model import quantize_model
from recurc.quant.weights import precision_named
from recurc.targets.host import _U8P, _aligned, _Context
from tests.codegen.builder import compile_model, write_sources
from tests.randmodels import random_inputs, random_reasoner

OK, ARGUMENT, ALIGNMENT, ARENA, TOKEN, PUZZLE, STATE, TABLE, ROW, SELFTEST = 0, 1, 9, 10, 11, 12, 13, 16, 17, 22
REASONER = random_reasoner("mlp_t", pos="none", seq=5, hidden=16, ndim=40, plen=3, layers=1, cycles=(1, 2), puzzles=4)
INPUTS = random_inputs(REASONER, 4)[0]
VOCAB = REASONER.config.vocab_size


def quantized(**stored):
    return quantize_model(REASONER, precision_named("int8"), **stored)


STREAMED = quantized(puzzle_table="fp32", carry="int8")
RECORDS = STREAMED.puzzles


class Model:
    """One context of a compiled model with memory of its own."""

    def __init__(self, engine) -> None:
        self.lib, self.info, self.image = engine._lib, engine.info, engine._image
        self.context = _Context()
        self.arena = _aligned(self.info.arena_bytes + 64)
        self.lib.rc_table.argtypes = [ctypes.POINTER(_Context), _U8P, ctypes.c_uint32]

    @property
    def at(self):
        return ctypes.byref(self.context)

    def open(self, image=None, size=None, shift=0, less=0, arena=True) -> int:
        image = self.image if image is None else image
        place = self.arena[shift:].ctypes.data_as(_U8P) if arena else None
        return self.lib.rc_open(
            self.at, image.ctypes.data_as(_U8P), size or len(image), place, self.info.arena_bytes - less, None
        )

    def begin(self, tokens=INPUTS[0], puzzle=0) -> int:
        row = np.ascontiguousarray(tokens, np.uint8)
        return self.lib.rc_begin(self.at, row.ctypes.data_as(_U8P), puzzle)

    def row(self, index, offset, data) -> int:
        return self.lib.rc_row(self.at, index, offset, data, len(data))

    def table(self, data: bytes) -> int:
        self.kept = np.frombuffer(data, np.uint8).copy()
        return self.lib.rc_table(self.at, self.kept.ctypes.data_as(_U8P), len(data))

    def step(self) -> int:
        return self.lib.rc_step(self.at)

    def ops(self, n: int) -> int:
        return self.lib.rc_ops(self.at, n)

    def raw(self, name: str) -> bytes | None:
        count = ctypes.c_uint32()
        found = self.lib.rc_tensor(self.at, TENSORS[name], ctypes.byref(count))
        return bytes(found[: count.value]) if found else None

    def all(self) -> list[bytes | None]:
        return [self.raw(name) for name in TENSORS]

    def halts(self, threshold: float) -> int:
        return self.lib.rc_halts(self.at, threshold, 0)


@pytest.fixture(scope="module")
def engines(tmp_path_factory, kernels_folder):
    folder = tmp_path_factory.mktemp("api")
    return {
        "plain": compile_model(folder / "plain", quantized(), shared=kernels_folder),
        "streamed": compile_model(folder / "streamed", STREAMED, shared=kernels_folder),
    }


@pytest.fixture
def plain(engines):
    made = Model(engines["plain"])
    assert made.open() == OK
    return made


@pytest.fixture
def streamed(engines):
    made = Model(engines["streamed"])
    assert made.open() == OK
    return made


# -- opening ----------------------------------------------------------------------------------------------------------------


def test_memory_that_will_not_do(engines):
    model = Model(engines["plain"])
    assert model.lib.rc_open(None, model.image.ctypes.data_as(_U8P), len(model.image), model.arena.ctypes.data_as(_U8P),
                                   model.info.arena_bytes, None) == ARGUMENT  # fmt: skip
    assert model.open(arena=False) == ARGUMENT
    assert [model.open(shift=shift) for shift in (1, 4, 16, 32, 63)] == [ALIGNMENT] * 5
    assert model.open(less=1) == ARENA and model.open(less=model.info.arena_bytes) == ARENA
    assert model.begin() == STATE and model.step() == STATE and model.all() == [None] * len(TENSORS)
    assert model.open() == OK and model.begin() == OK


def test_a_model_that_is_not_open_answers_nothing(engines):
    model = Model(engines["streamed"])
    good = RECORDS.record(0)
    table = RECORDS.header.pack() + b"".join(RECORDS.record(i) for i in range(4))
    calls = (lambda: model.begin(), lambda: model.step(), lambda: model.ops(0), lambda: model.row(0, 0, good),
             lambda: model.table(table))  # fmt: skip
    assert [call() for call in calls] == [STATE] * 5 and model.halts(-1e30) == 0
    assert model.open() == OK and model.row(0, 0, good) == OK and model.begin() == OK
    bent = model.image.copy()
    bent[130] ^= 1  # in the table of sections
    assert model.open(image=bent) != OK
    assert [call() for call in calls] == [STATE] * 5, "opened once before, and closed by the attempt that failed"
    assert model.all() == [None] * len(TENSORS)


def test_null_pointers(streamed):
    lib, some = streamed.lib, streamed.image.ctypes.data_as(_U8P)
    assert lib.rc_begin(streamed.at, None, 0) == lib.rc_begin(None, some, 0) == ARGUMENT
    assert lib.rc_step(None) == lib.rc_ops(None, 0) == lib.rc_row(streamed.at, 0, 0, None, 4) == ARGUMENT
    assert lib.rc_table(streamed.at, None, 9) == ARGUMENT and lib.rc_halts(None, -1e30, 0) == 0
    assert not lib.rc_tensor(streamed.at, 0, None) and not lib.rc_tensor(None, 0, ctypes.byref(ctypes.c_uint32()))


# -- a puzzle ---------------------------------------------------------------------------------------------------------------


def test_tokens_and_puzzles_at_their_limits(plain):
    for cell in range(5):
        tokens = INPUTS[0].copy()
        tokens[cell] = VOCAB - 1
        assert plain.begin(tokens) == OK
        for value in (VOCAB, 255):
            tokens[cell] = value
            assert plain.begin(tokens) == TOKEN, (cell, value)
    assert plain.begin(puzzle=3) == OK and plain.begin(puzzle=4) == plain.begin(puzzle=0xFFFFFFFF) == PUZZLE


def test_a_refused_puzzle_changes_nothing(plain):
    assert plain.begin() == plain.step() == OK
    before = plain.all()
    assert plain.begin(np.full(5, VOCAB)) == TOKEN and plain.begin(puzzle=4) == PUZZLE
    assert plain.all() == before and plain.step() == OK


def test_a_puzzle_begins_with_nothing_of_the_one_before(plain, engines):
    fresh = Model(engines["plain"])
    fresh.arena[:] = 0xA5
    assert fresh.open() == fresh.begin(INPUTS[1], 2) == OK
    assert plain.begin() == plain.step() == plain.ops(1) == OK
    assert plain.begin(INPUTS[1], 2) == OK and plain.all() == fresh.all()
    assert set(plain.raw("logits")) == set(plain.raw("q")) == set(plain.raw("tokens")) == {0}
    assert plain.raw("input") == INPUTS[1].tobytes() and plain.halts(-1e30) == 0, "no step has said anything yet"
    assert plain.step() == fresh.step() == OK and plain.all() == fresh.all()


def test_halting_is_beyond_the_threshold(plain):
    assert plain.begin() == plain.step() == OK
    q = np.frombuffer(plain.raw("q"), np.float32)[0]
    assert plain.halts(float(np.nextafter(q, np.float32(-np.inf)))) == 1
    assert plain.halts(float(q)) == 0 and plain.halts(float(np.nextafter(q, np.float32(np.inf)))) == 0


# -- ops --------------------------------------------------------------------------------------------------------------------


def test_ops_go_forward_within_a_step(plain):
    last = plain.info.ops
    assert plain.ops(0) == STATE and plain.begin() == OK
    assert plain.ops(last + 1) == plain.ops(0xFFFFFFFF) == ARGUMENT
    assert plain.ops(2) == OK
    before = plain.all()
    assert plain.ops(1) == plain.ops(0) == plain.ops(last + 1) == ARGUMENT and plain.all() == before
    assert plain.ops(2) == OK and plain.all() == before, "the same request again runs nothing"
    assert plain.ops(last) == OK and plain.ops(0) == OK, "the step has ended"


@pytest.mark.parametrize("name", ["plain", "streamed"])
def test_op_by_op_a_step_is_the_same_step(engines, name):
    whole, parts = Model(engines[name]), Model(engines[name])
    for model in (whole, parts):
        assert model.open() == OK and (name == "plain" or model.row(1, 0, RECORDS.record(1)) == OK)
        assert model.begin(puzzle=1) == OK
    for _ in range(2):
        assert whole.step() == OK
        assert all(parts.ops(i) == OK for i in range(1, parts.info.ops + 1))
        assert parts.all() == whole.all()


def test_scales_of_channels_are_there_after_token_mixing_only(streamed):
    assert streamed.row(0, 0, RECORDS.record(0)) == streamed.begin() == OK
    assert streamed.raw("columns") is None
    assert streamed.ops(1) == OK and len(streamed.raw("columns")) == 4 * 16
    assert streamed.begin() == OK and streamed.raw("columns") is None
    assert streamed.ops(2) == OK and streamed.raw("columns") is None


# -- rows -------------------------------------------------------------------------------------------------------------------


def test_a_puzzle_needs_its_own_row(streamed):
    assert streamed.begin(puzzle=1) == ROW
    assert streamed.row(1, 0, RECORDS.record(1)) == OK and streamed.begin(puzzle=2) == ROW and streamed.begin(puzzle=1) == OK
    assert streamed.begin(puzzle=1) == OK, "the row stays"
    assert streamed.row(4, 0, RECORDS.record(0)) == PUZZLE and streamed.row(0xFFFFFFFF, 0, RECORDS.record(0)) == PUZZLE


def test_pieces_of_a_row_leave_no_gap(streamed):
    record = RECORDS.record(2)
    size = len(record)

    def send(*pieces, index=2):
        return [streamed.row(index, a, record[a:b]) for a, b in pieces]

    assert send((0, 50), (50, 100), (40, 100), (100, size)) == [OK] * 4 and streamed.begin(puzzle=2) == OK
    for gap in ((51, size), (60, size), (size - 1, size)):
        assert send((0, 50), gap)[1] != OK, gap
        assert streamed.begin(puzzle=2) == ROW
    for gap in ((51, 60), (90, 100), (size - 2, size - 1)):
        assert send((0, 50), gap)[1] != OK, "at once, not only when the row is whole"
    assert send((50, size))[0] != OK, "without a beginning"
    assert send((0, 50))[0] == OK and streamed.row(1, 50, record[50:]) != OK, "another puzzle's piece"
    assert send((50, size))[0] != OK and streamed.begin(puzzle=2) == ROW, "what was held before it is gone"
    for offset, data in ((0, record + b"x"), (0, b""), (50, b""), (50, record[50:] + b"x"), (0xFFFFFFFF, b"xx")):
        send((0, 50))
        assert streamed.row(2, offset, data) != OK, (offset, len(data))
    assert streamed.begin(puzzle=2) == ROW


def test_a_corrupt_row_is_none_and_ends_the_puzzle_under_way(streamed):
    assert streamed.row(1, 0, RECORDS.record(1)) == streamed.begin(puzzle=1) == streamed.step() == OK
    bent = bytearray(RECORDS.record(1))
    bent[7] ^= 1
    assert streamed.row(1, 0, bytes(bent)) == ROW and streamed.row(2, 0, RECORDS.record(1)) == ROW
    assert streamed.step() == STATE and streamed.begin(puzzle=1) == streamed.begin(puzzle=2) == ROW


def test_half_a_row_ends_the_puzzle_and_the_row_before(streamed):
    assert streamed.row(1, 0, RECORDS.record(1)) == streamed.begin(puzzle=1) == OK
    assert streamed.row(1, 0, RECORDS.record(1)[:20]) == OK
    assert streamed.step() == STATE and streamed.begin(puzzle=1) == ROW


def test_a_mapped_table_is_checked_and_takes_the_place_of_rows(streamed):
    table = RECORDS.header.pack() + b"".join(RECORDS.record(i) for i in range(4))
    assert streamed.row(1, 0, RECORDS.record(1)) == streamed.begin(puzzle=1) == streamed.step() == OK
    wire = streamed.all()
    assert streamed.table(table[:-1]) == TABLE and streamed.step() == STATE
    assert streamed.begin(puzzle=1) == ROW, "a table that is none leaves no table, and the row before is gone"
    assert streamed.table(table) == OK and streamed.begin(puzzle=1) == streamed.step() == OK and streamed.all() == wire
    bent = bytearray(table)
    bent[-9] ^= 1  # in the last record
    assert streamed.table(bytes(bent)) == OK and streamed.begin(puzzle=0) == OK
    assert streamed.begin(puzzle=3) == ROW and streamed.step() == STATE, "its row has taken the place of the one before"


def test_a_model_with_its_rows_in_the_image_takes_none(plain):
    assert plain.row(0, 0, b"xxxx") == TABLE and plain.table(b"RCT1" + bytes(200)) == TABLE


# -- what is proved at compile time -------------------------------------------------------------------------------------------


def test_every_buffer_and_every_accumulator_is_asserted(tmp_path):
    kernels = kernel_set("portable")
    _, layout = write_sources(tmp_path, STREAMED, kernels, 20_000)
    text = (tmp_path / "model.c").read_text()
    structs = {"carry_t": layout.carry, "heads_scratch_t": layout.heads,
               **{f"{s.name}_scratch_t": s.scratch for s in layout.shapes}}  # fmt: skip
    told = {(a, b): int(c) for a, b, c in re.findall(r"RC_STATIC_ASSERT\(offsetof\((\w+), (\w+)\) == (\d+)u,", text)}
    assert told == {(name, b.name): b.offset for name, struct in structs.items() for b in struct.buffers}
    sizes = dict(re.findall(r"RC_STATIC_ASSERT\(sizeof\((\w+)\) == (\d+)u,", text))
    assert sizes == {name: str(struct.bytes) for name, struct in structs.items()}
    proofs = re.findall(r"RC_STATIC_ASSERT\((\d+)LL \* (\d+)LL \* 127LL <= 2147483647LL", text)
    assert len(proofs) == len(STREAMED.program.linears)
    assert {int(k) for k, _ in proofs} == {kernels.padded(ref.k) for ref in STREAMED.program.linears}
    assert all(int(widest) >= 127 for _, widest in proofs), "int8 weights reach 127"


def test_another_rounding_mode_is_found_when_it_is_opened(engines):
    """So are flags that no compiler tells of, see test_flags."""
    model, libm = Model(engines["plain"]), ctypes.CDLL("libm.so.6")
    before = libm.fegetround()
    upward, downward, to_zero = (0x800, 0x400, 0xC00) if platform.machine() == "x86_64" else (0x400000, 0x800000, 0xC00000)
    try:
        found = []
        for mode in (upward, downward, to_zero):
            assert libm.fesetround(mode) == 0
            found.append(model.open())
    finally:
        libm.fesetround(before)
    assert "floats are rounded wrong" in status_text(SELFTEST)
    assert found == [SELFTEST] * 3 and model.begin() == STATE
    assert model.open() == OK
