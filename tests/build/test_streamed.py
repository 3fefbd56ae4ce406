"""Builds whose puzzle embeddings are streamed: the table file beside the firmware, its rows on the emulated board."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import recurc
from recurc.api import Model
from recurc.build.listing import TABLE_FILE
from recurc.build.manifest import load_build
from recurc.dataset import Dataset
from recurc.device.frames import TABLE_MAPPED, TABLE_WIRE
from recurc.errors import InputError, RecurcError
from recurc.targets.boards import load_board
from tests.randmodels import random_inputs, random_reasoner
from tests.tools import need

PUZZLES = 5


def quantized(storage: str = "int8", seed: int = 0):
    reasoner = random_reasoner(seq=8, hidden=32, ndim=40, plen=2, puzzles=PUZZLES, steps=2, seed=seed)
    reasoner = replace(reasoner, sha256=f"{seed:064x}")
    return Model(reasoner, "m").quantize("int4", method="min-max", carry="int8", puzzle_table=storage)


def puzzles(model, ids) -> Dataset:
    c = model.model.config
    inputs = random_inputs(model.source.reasoner, len(ids))[0]
    return Dataset(
        inputs,
        np.zeros_like(inputs, dtype=np.int32),
        np.asarray(ids, np.int32),
        c.seq_len,
        c.vocab_size,
        PUZZLES,
        None,
        None,
        "test",
    )


def over_the_wire(name: str):
    board = load_board(name)
    return replace(board, placement={**board.placement, "table": ()})


@pytest.mark.parametrize("storage", ["fp32", "int8"])
@pytest.mark.parametrize("place, mode", [("mcu-4mb-m7", TABLE_MAPPED), ("mps2-an500", TABLE_MAPPED), ("wire", TABLE_WIRE)])
def test_rows_reach_the_emulated_board(place, mode, storage, tmp_path):
    need("mps2-an500")
    model = quantized(storage)
    board = over_the_wire("mps2-an500") if place == "wire" else load_board(place)
    build = model.build(board, tmp_path / "b")
    result = recurc.verify(build, on="qemu", dataset=puzzles(model, [0, 4, 2]))
    assert result.bit_exact and result.info.table_mode == mode, result.first_difference
    assert result.info.table_storage == storage
    on_host = recurc.verify(build, on="host", dataset=puzzles(model, [3]))
    assert on_host.bit_exact and on_host.info.table_mode == TABLE_WIRE


def test_each_puzzle_gets_its_own_row():
    """The same cells with other rows give other carries, and those of the twin (tests/tables has the bits)."""
    model = quantized("fp32")
    inputs = np.repeat(puzzles(model, [0]).inputs, PUZZLES, axis=0)
    z = model.run(inputs, np.arange(PUZZLES)).z_H
    assert len({row.tobytes() for row in z}) == PUZZLES
    whole = Model(model.source.reasoner, "m").quantize("int4", method="min-max", carry="int8", puzzle_table="image")
    assert whole.run(inputs, np.arange(PUZZLES)).z_H.tobytes() == z.tobytes()


@pytest.fixture
def build(tmp_path):
    need("mps2-an500")
    return quantized().build("mps2-an500", tmp_path / "b")


def damaged(build, change) -> None:
    file = build.path / TABLE_FILE
    data = bytearray(file.read_bytes())
    file.write_bytes(change(data))


def flip(data: bytearray, at: int) -> bytearray:
    data[at] ^= 0x10
    return data


@pytest.mark.parametrize(
    "change, why",
    [
        (lambda d: d[:-1], "truncated"),
        (lambda d: d[:100], "RCT1|bytes"),
        (lambda d: flip(d, 9), "CRC"),
        (lambda d: b"", "RCT1"),
    ],
)
def test_a_damaged_table_is_no_usable_build(build, change, why):
    damaged(build, change)
    with pytest.raises(InputError, match=why):
        load_build(build.path)


def test_a_missing_table_is_no_usable_build(build):
    (build.path / TABLE_FILE).unlink()
    with pytest.raises(InputError, match="puzzle table"):
        load_build(build.path)


def test_another_models_table_is_refused(build, tmp_path):
    other = quantized(seed=1).build("host", tmp_path / "other")
    (build.path / TABLE_FILE).write_bytes((other.path / TABLE_FILE).read_bytes())
    with pytest.raises(InputError, match="another model"):
        load_build(build.path)


def test_a_flipped_bit_stops_its_puzzle_and_no_other(build):
    model = quantized()
    damaged(build, lambda d: flip(d, 128 + 2 * model.model.puzzles.record_bytes + 5))
    build = load_build(build.path)
    assert recurc.verify(build, on="qemu", dataset=puzzles(model, [1, 3])).bit_exact
    with pytest.raises(RecurcError, match="row is missing or corrupt"):
        recurc.verify(build, on="qemu", dataset=puzzles(model, [2]))


def test_an_unknown_puzzle_is_named(build):
    with pytest.raises(InputError, match=f"{PUZZLES}"):
        recurc.verify(build, on="qemu", dataset=puzzles(quantized(), [PUZZLES]))


def test_the_command_says_where_rows_come_from(tmp_path, capsys):
    import json

    from recurc.cli.main import main

    out = tmp_path / "b"
    assert (
        main(
            [
                "build",
                "sudoku4-tiny",
                "--target",
                "mps2-an500",
                "--calibration",
                "min-max",
                "--puzzle-table",
                "int8",
                "--carry",
                "fp16",
                "--accuracy-puzzles",
                "0",
                "--out",
                str(out),
                "--json",
            ]
        )
        == 0
    )
    document = json.loads(capsys.readouterr().out)
    assert (document["carry"], document["puzzle_table"]) == ("fp16", "int8")
    assert main(["report", str(out)]) == 0
    assert "in a file of its own, memory-mapped in psram" in capsys.readouterr().out
