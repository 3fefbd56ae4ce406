"""The hook: called often enough and no oftener, it cancels at once; so does rc_cancel. An image may be opened unchecked."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

from recurc.quant.model import quantize_model
from recurc.quant.weights import precision_named
from recurc.targets.host import _U8P, _aligned, _Context
from tests.codegen.builder import compile_model
from tests.randmodels import random_inputs, random_reasoner

OK, ARGUMENT, STATE, IMAGE_CRC, CANCELLED = 0, 1, 13, 6, 21
UNCHECKED = 1
HOOK = ctypes.CFUNCTYPE(ctypes.c_uint32, ctypes.c_void_p)
MODELS = {
    "mlp_t int8": (random_reasoner("mlp_t", pos="none"), "int8"),
    "attention int4": (random_reasoner("attention"), "int4"),
    "attention fp32": (random_reasoner("attention"), "fp32"),
}


class _Options(ctypes.Structure):
    _fields_ = [("flags", ctypes.c_uint32), ("hook", HOOK), ("user", ctypes.c_void_p)]


class Model:
    """A compiled model whose hook counts its calls, and says stop at call `stop`."""

    def __init__(self, engine, reasoner) -> None:
        self.lib, self.info, self.image = engine._lib, engine.info, engine._image
        self.lib.rc_open.argtypes = [ctypes.POINTER(_Context), _U8P, ctypes.c_uint32, _U8P, ctypes.c_uint32, ctypes.c_void_p]
        self.inputs = random_inputs(reasoner, 1)[0][0].astype(np.uint8)
        self.macs = 0
        self.context, self.arena = _Context(), _aligned(self.info.arena_bytes)
        self.calls, self.stop = 0, -1
        self.hook = HOOK(self._called)

    def _called(self, user) -> int:
        self.calls += 1
        return int(self.calls == self.stop)

    def open(self, flags: int = 0, image: np.ndarray | None = None) -> int:
        data = self.image if image is None else image
        options = _Options(flags, self.hook, None)
        return self.lib.rc_open(ctypes.byref(self.context), data.ctypes.data_as(_U8P), len(data),
                                self.arena.ctypes.data_as(_U8P), len(self.arena), ctypes.addressof(options))  # fmt: skip

    def begin(self) -> int:
        return self.lib.rc_begin(ctypes.byref(self.context), self.inputs.ctypes.data_as(_U8P), 0)

    def step(self) -> int:
        return self.lib.rc_step(ctypes.byref(self.context))

    def tokens(self) -> bytes:
        count = ctypes.c_uint32()
        at = self.lib.rc_tensor(ctypes.byref(self.context), 4, ctypes.byref(count))
        return ctypes.string_at(at, count.value)


@pytest.fixture(scope="module", params=sorted(MODELS))
def compiled(request, tmp_path_factory):
    reasoner, precision = MODELS[request.param]
    model = quantize_model(reasoner, precision_named(precision))
    return compile_model(tmp_path_factory.mktemp("hook"), model, flags=("-O1", "-DRC_HOOK_MACS=3000u")), model, reasoner


@pytest.fixture
def model(compiled):
    engine, quantized, reasoner = compiled
    made = Model(engine, reasoner)
    made.macs = quantized.program.macs_per_step
    return made


def test_it_is_called_as_often_as_its_multiply_adds_say(model):
    assert model.open() == OK
    opened = model.calls
    assert opened >= len(model.image) // 4096
    assert model.begin() == OK and model.calls == opened
    assert model.step() == OK
    # Never sooner than after 3,000 of them; later by what one tile of channels does, a few hundred or thousand.
    assert model.macs / 12_000 < model.calls - opened <= model.macs / 3_000 + 1


def test_each_call_may_cancel_and_the_next_puzzle_is_as_ever(model):
    assert model.open() == OK and model.begin() == OK
    before = model.calls
    assert model.step() == OK
    in_a_step, right = model.calls - before, model.tokens()
    for stop in range(1, in_a_step + 1):
        assert model.begin() == OK
        model.calls, model.stop = 0, stop
        assert model.step() == CANCELLED
        assert model.calls == stop  # no other call: the work ends there
        assert model.step() == STATE
    model.stop = -1
    assert model.begin() == OK and model.step() == OK and model.tokens() == right


def test_an_open_that_is_cancelled_is_none(model):
    model.stop = 1
    assert model.open() == CANCELLED and model.begin() == STATE


def test_a_cancelled_puzzle_ends_with_the_next_call(model):
    assert model.open() == OK and model.begin() == OK and model.step() == OK
    model.lib.rc_cancel(ctypes.byref(model.context))
    assert model.step() == CANCELLED and model.step() == STATE
    assert model.begin() == OK and model.step() == OK
    model.lib.rc_cancel(None)


def test_unchecked_takes_the_bytes_as_they_are(model):
    image = _aligned(len(model.image))
    image[:] = model.image
    assert model.open(UNCHECKED, image) == OK and model.calls == 0
    first = int(image[136:140].view("<u4")[0])  # where the first section lies
    image[first] ^= 1
    assert model.open(0, image) == IMAGE_CRC and model.open(UNCHECKED, image) == OK
    image[5] ^= 1  # the header is checked as ever
    assert model.open(UNCHECKED, image) != OK
    assert model.open(2) == ARGUMENT and model.open(0x80000001) == ARGUMENT


def test_noise_calls_it_too(tmp_path):
    """Row by row: noise on all states takes as long as a few ops do. Who cancels there ends the puzzle."""
    reasoner = random_reasoner("mlp_t", pos="none", hidden=24)
    quantized = quantize_model(reasoner, precision_named("int8"), noisy_runs=2)
    model = Model(compile_model(tmp_path, quantized, flags=("-O1", "-DRC_HOOK_MACS=1536u")), reasoner)  # a row: 24 x 64

    def add() -> int:
        return model.lib.rc_noise(ctypes.byref(model.context), 0, ctypes.c_float(1.0), 7, 1)

    assert model.open() == OK and model.begin() == OK
    rows, before = 2 * reasoner.config.rows, model.calls
    assert add() == OK and model.calls - before == rows
    model.stop = model.calls + 3
    assert add() == CANCELLED and model.calls == model.stop
    assert model.step() == STATE and model.begin() == OK and model.step() == OK
