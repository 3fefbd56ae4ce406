"""Compiled models that stream their puzzle table: the same bits as with the rows in the image, on host and firmware."""

from __future__ import annotations

import ctypes
import struct
from dataclasses import replace

import numpy as np
import pytest

from recurc.device import frames as f
from recurc.device.session import DeviceRefusedError
from recurc.errors import InputError
from recurc.make.project import build_project
from recurc.quant.model import quantize_model
from recurc.quant.weights import precision_named
from recurc.targets.boards import load_board
from recurc.targets.host import _U8P
from recurc.verify.device import connect
from tests.codegen.builder import compile_model
from tests.randmodels import random_inputs, random_reasoner
from tests.tools import need

STORAGES = ("fp32", "int8")
REASONER = random_reasoner("mlp_t", pos="none", ndim=700, plen=22, puzzles=5)  # a record of fp32 is three frames


def quantized(storage: str):
    return quantize_model(REASONER, precision_named("int8"), puzzle_table=storage)


def in_image(storage: str):
    """The model with the rows that the streamed one has in its image."""
    streamed, image = quantized(storage), quantized("image")
    return replace(image, tables={**image.tables, "puzzles": streamed.puzzles.values(np.arange(5))})


@pytest.fixture(scope="module")
def engines(tmp_path_factory):
    """By storage: the host engines with streamed rows, and with the same rows in the image."""
    need("host")
    folder = tmp_path_factory.mktemp("streamed")
    made = {}
    for storage in STORAGES:
        model = quantized(storage)
        engine = compile_model(folder / storage, model, shared=folder)
        engine._records = model.puzzles.record
        made[storage] = engine, compile_model(folder / f"{storage}-image", in_image(storage), shared=folder)
    return made


def carries(engine, tokens: np.ndarray, puzzle: int) -> list[bytes]:
    engine.begin(tokens, puzzle)
    found = []
    for _ in range(2):
        engine.step()
        found.append(engine.tensor("z_H").tobytes() + engine.tensor("z_L").tobytes() + engine.tensor("q").tobytes())
    return found


@pytest.mark.parametrize("storage", STORAGES)
def test_streamed_rows_give_the_bits_of_rows_in_the_image(engines, storage):
    streamed, image = engines[storage]
    tokens = random_inputs(REASONER, 1)[0][0]
    runs = [carries(streamed, tokens, puzzle) for puzzle in range(5)]
    assert runs == [carries(image, tokens, puzzle) for puzzle in range(5)]
    assert len({run[0] for run in runs}) == 5


@pytest.mark.parametrize("storage", STORAGES)
def test_a_mapped_table_gives_them_too(engines, storage, tmp_path):
    streamed, image = engines[storage]
    quantized(storage).puzzles.write(tmp_path / "t")
    data = np.fromfile(tmp_path / "t", np.uint8)
    engine, tokens = streamed.clone(), random_inputs(REASONER, 1)[0][0]
    engine._records = None
    table = engine._lib.rc_table
    table.argtypes = [ctypes.c_void_p, _U8P, ctypes.c_uint32]
    bent = data.copy()
    bent[45] ^= 1  # in the key
    assert table(ctypes.byref(engine._context), bent.ctypes.data_as(_U8P), len(bent)) == f.STATUS_TABLE
    with pytest.raises(InputError, match="row is missing"):
        engine.begin(tokens, 3)
    assert table(ctypes.byref(engine._context), data.ctypes.data_as(_U8P), len(data)) == 0
    assert [carries(engine, tokens, p) for p in range(5)] == [carries(image, tokens, p) for p in range(5)]
    data[-1] ^= 1  # the last record
    with pytest.raises(InputError, match="row is missing or corrupt"):
        engine.begin(tokens, 4)
    assert carries(engine, tokens, 3) == carries(image, tokens, 3)


@pytest.mark.parametrize("storage", STORAGES)
def test_rows_over_the_wire_reach_a_real_firmware(engines, storage, tmp_path):
    model, (streamed, _) = quantized(storage), engines[storage]
    tokens = random_inputs(REASONER, 1)[0][0]
    elf = next(p for p in build_project(model, load_board("host"), tmp_path / "b", details={}).path.rglob("firmware.elf"))
    records = model.puzzles
    with connect(load_board("host"), elf, "host", step_timeout=30) as session:
        hello = session.hello()
        assert (hello.table_mode, hello.table_storage, hello.record_bytes) == (f.TABLE_WIRE, storage, records.record_bytes)
        assert hello.table_key == records.key.hex()
        session.load(tokens)
        with pytest.raises(DeviceRefusedError, match="row is missing"):
            list(session.run(1, puzzle=4))
        for puzzle in (4, 1):
            session.send_row(puzzle, records.record(puzzle))
            list(session.run(1, puzzle=puzzle))
            wanted = carries(streamed, tokens, puzzle)[0]
            got = b"".join(session.read_tensor(name).tobytes() for name in ("z_H", "z_L", "q"))
            assert got == wanted
        bent = bytearray(records.record(2))
        bent[-20] ^= 2
        with pytest.raises(DeviceRefusedError, match="corrupt"):
            session.send_row(2, bytes(bent))
        with pytest.raises(DeviceRefusedError, match="row is missing"):
            list(session.run(1, puzzle=2))
        record = records.record(3)
        for offset in (0, 400, 400, 0, 300):  # pieces whose replies were lost come again
            held = session._request(f.ROW, struct.pack("<IH", 3, offset) + record[offset : offset + 500])
        for offset in range(f.parse_row(held)[0], len(record), 500):
            for _ in range(2):
                held = session._request(f.ROW, struct.pack("<IH", 3, offset) + record[offset : offset + 500])
        assert f.parse_row(held) == (len(record), True)
        assert len(list(session.run(1, puzzle=3))) == 2
