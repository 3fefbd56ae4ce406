"""Library and server give one status for everything that does not go on: pieces of rows, begins, steps, in any order."""

from __future__ import annotations

import ctypes
import random
import shutil
import zlib

import numpy as np
import pytest

from recurc.device import frames as f
from recurc.device.session import DeviceRefusedError, DeviceSession
from recurc.plan.kernels import kernel_set
from recurc.quant.model import quantize_model
from recurc.quant.weights import precision_named
from recurc.targets.host import _U8P, HostEngine
from recurc.targets.toolchain import compile_shared
from tests.codegen.builder import COMMON, RUNTIME, write_sources
from tests.device.dummy_build import DUMMY
from tests.device.inprocess import Clock, Line
from tests.randmodels import random_inputs, random_reasoner
from tests.tools import need

REASONER = random_reasoner("mlp_t", pos="none", hidden=16, ndim=40, plen=3, layers=1, cycles=(1, 1), steps=2, puzzles=3)
OK, ARGUMENT, TOKEN, PUZZLE, STATE, ROW, STEPS = 0, 1, 11, 12, 13, 17, 19


class Library:
    """The generated code, called."""

    def __init__(self, library, image) -> None:
        self.engine = HostEngine(library, image)
        self.lib, self.context, self.tokens, self.at = self.engine._lib, ctypes.byref(self.engine._context), None, 0

    def row(self, index: int, offset: int, piece: bytes) -> int:
        return self.lib.rc_row(self.context, index, offset, piece, len(piece))

    def begin(self, tokens: np.ndarray, puzzle: int) -> int:
        row = np.ascontiguousarray(tokens, np.uint8)
        return self.lib.rc_begin(self.context, row.ctypes.data_as(_U8P), puzzle)

    def step(self, at: int) -> int:
        return self.lib.rc_step(self.context)

    def carry(self) -> bytes:
        return self.engine.carry_bytes()


class Server:
    """The same code behind the wire."""

    def __init__(self, session: DeviceSession) -> None:
        self.session = session
        session.hello()

    def _ask(self, kind: int, body: bytes) -> int:
        try:
            self.session._request(kind, body)
        except DeviceRefusedError as e:
            return e.status
        return OK

    def row(self, index: int, offset: int, piece: bytes) -> int:
        return self._ask(f.ROW, f.row_body(index, offset, piece))

    def begin(self, tokens: np.ndarray, puzzle: int) -> int:
        row = np.ascontiguousarray(tokens, np.uint8).tobytes()
        assert self._ask(f.LOAD, bytes(4) + row) == OK
        return self._ask(f.RUN, f.run_body(f.RUN_BEGIN, 0, 1, 0, puzzle, zlib.crc32(row), 0.0))

    def step(self, at: int) -> int:
        return self._ask(f.RUN, f.run_body(0, 1, 1, at, 0, 0, 0.0))

    def carry(self) -> bytes:
        return b"".join(self.session.read_carry().values())


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Generated code with server and in-process port as one library, and its image."""
    need("host")
    folder = tmp_path_factory.mktemp("rule")
    model = quantize_model(REASONER, precision_named("int8"), puzzle_table="int8")
    write_sources(folder, model, kernel_set("portable"), 20_000)
    shutil.copy(DUMMY / "port.c", folder)  # beside the model's own model_config.h
    sources = [folder / "model.c", folder / "port.c", *sorted((RUNTIME / "wire").glob("*.c")), *(RUNTIME / s for s in COMMON)]
    sources += [RUNTIME / "kernels" / s for s in kernel_set("portable").sources]
    return compile_shared(sources, [folder, RUNTIME / "include"], folder / "all.so"), folder / "model.rcm", model.puzzles


@pytest.fixture
def both(made, monkeypatch):
    """(library, server) of a model whose rows are streamed."""
    library, image, _ = made
    loaded = ctypes.CDLL(str(library))
    loaded.dummy_start.argtypes = [ctypes.c_char_p, ctypes.c_uint32, ctypes.c_char_p, ctypes.c_uint32]
    loaded.dummy_said.restype = ctypes.POINTER(ctypes.c_uint8)
    data = image.read_bytes()
    space = ctypes.create_string_buffer(len(data) + 64)  # in which the image lies on a boundary of 64 bytes
    start = ctypes.addressof(space) + -ctypes.addressof(space) % 64
    ctypes.memmove(start, data, len(data))
    line = Line(loaded, Clock().use(monkeypatch), ctypes.cast(start, ctypes.c_char_p), len(data))
    with DeviceSession(line) as session:
        yield Library(library, image), Server(session)


def test_rows_in_pieces_have_one_rule(both, made):
    record, other = made[2].record(1), made[2].record(2)
    n = len(record)
    tokens = random_inputs(REASONER, 1)[0][0]
    whole = ("row", 1, 0, record)
    steps = [
        (("begin", tokens, 1), ROW), (("step",), STATE), (whole, OK), (("begin", tokens, 1), OK), (("step",), OK),
        # nothing changes
        (("row", 3, 0, b"x"), PUZZLE), (("row", 1, n, b"x"), ARGUMENT), (("row", 1, 0, record + b"x"), ARGUMENT),
        (("row", 3, n, b"x"), ARGUMENT), (("begin", tokens * 0 + 200, 1), TOKEN), (("begin", tokens, 9), PUZZLE),
        (("step",), OK),
        # the compiled steps have been run, and the row is still there
        (("step",), STEPS), (("step",), STEPS), (("begin", tokens, 1), OK), (("step",), OK),
        # a begin ends the taking of pieces, another puzzle has no row, and after that none is under way
        (("begin", tokens, 2), ROW), (("step",), STATE), (("begin", tokens, 1), OK), (("row", 1, 8, record[8:20]), ROW),
        (("step",), STATE), (("begin", tokens, 1), ROW),
        # a gap, over a record that lies there already; what follows the gap too
        (whole, OK), (("row", 1, 0, record[:8]), OK), (("row", 1, 9, record[9:]), ROW), (("row", 1, 8, record[8:]), ROW),
        (("begin", tokens, 1), ROW),
        # overlaps and repeats are none
        (("row", 1, 0, record[:20]), OK), (("row", 1, 8, record[8:30]), OK), (("row", 1, 8, record[8:30]), OK),
        (("row", 1, 30, record[30:]), OK), (("row", 1, 30, record[30:]), OK), (("begin", tokens, 1), OK),
        # another index in between, a piece that goes back, a record that is another's
        (("row", 1, 0, record[:20]), OK), (("row", 2, 20, other[20:]), ROW), (("row", 1, 20, record[20:]), ROW),
        (("row", 1, 0, record[:20]), OK), (("row", 1, 0, record[:10]), OK), (("row", 1, 20, record[20:]), ROW),
        (("row", 2, 0, record), ROW), (("begin", tokens, 2), ROW), (whole, OK), (("begin", tokens, 1), OK), (("step",), OK),
    ]  # fmt: skip
    for side in both:
        at = 0
        for number, ((name, *args), wanted) in enumerate(steps):
            got = getattr(side, name)(*(args if name != "step" else [at]))
            assert got == wanted, (type(side).__name__, number, name, args[:2], got)
            at = 0 if (name, got) == ("begin", OK) else at + (name == "step" and got == OK)
    assert both[0].carry() == both[1].carry()


@pytest.mark.parametrize("seed", range(2))
def test_any_order_has_one_answer(both, made, seed):
    rng = random.Random(seed)
    records = [made[2].record(i) for i in range(3)]
    tokens = random_inputs(REASONER, 1)[0][0]
    at, seen = 0, set()
    for number in range(400):
        kind = rng.choice(["whole", "whole", "piece", "begin", "begin", *["step"] * 6])
        index, size = rng.choice([1, 1, 1, 1, 0, 2, 3]), len(records[0])
        record = bytearray(records[index % 3])
        if rng.random() < 0.1:
            record[rng.randrange(size)] ^= 1 << rng.randrange(8)
        if kind == "whole":
            answers = [side.row(index, 0, bytes(record)) for side in both]
        elif kind == "piece":
            start, end = rng.choice([0, 8, 20, size - 4, rng.randrange(size)]), rng.choice([8, 20, size, size + 1])
            answers = [side.row(index, start, bytes(record[start:end]) or b"x") for side in both]
        elif kind == "begin":
            answers = [side.begin(tokens, index) for side in both]
        else:
            answers = [side.step(at) for side in both]
        assert answers[0] == answers[1], (number, kind, answers)
        seen.add(answers[0])
        if answers[0] == OK and kind in ("begin", "step"):
            at = 0 if kind == "begin" else at + 1
            assert both[0].carry() == both[1].carry()
    assert {OK, ROW, PUZZLE, STATE, STEPS} <= seen
