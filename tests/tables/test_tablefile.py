"""Table files on disk: round trip, and everything that can be wrong with one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from recurc.build.tablefile import TableFile
from recurc.errors import InputError
from recurc.models import checkpoint
from recurc.models.pages import CHUNK
from tests.models.builders import own_weights, state_dict, write_checkpoint
from tests.tables.builder import KEY, MODEL, NAME, table

STORAGES = ("fp32", "int8")


@pytest.fixture(params=STORAGES)
def written(request, tmp_path):
    """(table, path of its file)"""
    t = table(request.param, rows=50, dim=11)
    t.write(tmp_path / "puzzles.rct")
    return t, tmp_path / "puzzles.rct"


def damaged(path, at: int, bit: int = 1) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= bit
    path.write_bytes(bytes(data))


def refused(path, *words: str, expected=None) -> InputError:
    with pytest.raises(InputError) as caught:
        with TableFile(path, expected) as file:
            file.verify()
    error = caught.value
    assert error.exit_code == 3 and error.next and str(path) in error.where
    for word in words:
        assert word in str(error), str(error)
    return error


def test_round_trip(written):
    t, path = written
    assert path.stat().st_size == t.file_bytes and [p.name for p in path.parent.iterdir()] == ["puzzles.rct"]
    with TableFile(path, t.header) as file:
        assert (file.rows, file.dim, file.storage, file.key, file.record_bytes) == (50, 11, t.storage, KEY, t.record_bytes)
        values = t.values(np.arange(50))
        for i in range(50):
            assert file.record(i) == t.record(i) and file.row(i).tobytes() == values[i].tobytes()
        seen: list[int] = []
        file.verify(seen.append)
        assert sum(seen) == 50


def test_tables_of_several_pieces(tmp_path):
    t = table("int8", rows=3 * CHUNK // 512 + 7, dim=512)
    seen: list[int] = []
    t.write(tmp_path / "t", seen.append)
    assert sum(seen) == t.rows and len(seen) == 4
    with TableFile(tmp_path / "t", t.header) as file:
        file.verify()
        for i in (0, CHUNK // 512 - 1, CHUNK // 512, t.rows - 1):
            assert file.record(i) == t.record(i)


def test_writing_is_deterministic_and_replaces_what_was_there(written):
    t, path = written
    first = path.read_bytes()
    path.write_bytes(b"old")
    t.write(path)
    assert path.read_bytes() == first


@pytest.mark.parametrize("index", [-1, 50, 1 << 33])
def test_a_puzzle_that_is_not_in_the_file_is_named(written, index):
    with TableFile(written[1]) as file:
        for call in (file.record, file.row):
            with pytest.raises(InputError, match=f"puzzle {index} is not in the table.*50 rows"):
                call(index)


def test_a_flipped_bit_in_a_record_is_found_and_named(written):
    t, path = written
    damaged(path, 128 + 20 * t.record_bytes + 9)
    damaged(path, 128 + 31 * t.record_bytes - 1, 128)
    refused(path, "puzzle 20", "CRC", "2 records")
    with TableFile(path) as file:
        with pytest.raises(InputError, match="puzzle 20"):
            file.row(20)
        assert file.row(21).tobytes() == t.values([21])[0].tobytes()
        assert file.record(20) != t.record(20)  # the device refuses it


def test_swapped_records_are_found(written):
    t, path = written
    data, n = path.read_bytes(), t.record_bytes
    a, b = data[128 : 128 + n], data[128 + n : 128 + 2 * n]
    path.write_bytes(data[:128] + b + a + data[128 + 2 * n :])
    refused(path, "puzzle 0", "2 records")


@pytest.mark.parametrize("keep", [0, 3, 127, 128, 1000, -1])
def test_truncated(written, keep):
    _, path = written
    data = path.read_bytes()
    path.write_bytes(data[:keep] if keep >= 0 else data[:-1])
    refused(path, "not a usable puzzle table")
    if keep in (128, -1):
        refused(path, "truncated")


def test_too_long_and_cut_off_while_open(written):
    t, path = written
    data = path.read_bytes()
    with TableFile(path) as file:
        path.write_bytes(data[:-1])
        with pytest.raises(InputError, match="cut off"):
            file.record(49)
        with pytest.raises(InputError, match="cut off"):
            file.verify()
    path.write_bytes(data + b"\0")
    refused(path, "too long")


@pytest.mark.parametrize("at", [4, 9, 13, 20, 24, 28, 40, 100, 125])
def test_a_flipped_bit_in_the_header_is_found(written, at):
    damaged(written[1], at)
    refused(written[1], "header's CRC")


def test_another_models_table_is_refused(written):
    t, path = written
    refused(path, "another model", KEY.hex(), bytes(16).hex(), expected=replace(t.header, key=bytes(16)))
    refused(path, "another model", "50 x 11", "51 x 11", expected=replace(t.header, rows=51))
    other = STORAGES[1 - STORAGES.index(t.storage)]
    refused(path, f"11 {other}", expected=replace(t.header, storage=other))


@pytest.mark.parametrize("content", [b"", b"hello", b"RCM1" + bytes(300), b"RCT1"])
def test_things_that_are_no_table(tmp_path, content):
    (tmp_path / "t").write_bytes(content)
    refused(tmp_path / "t", "not a usable puzzle table", "recurc build")


def test_nothing_there_and_a_folder(tmp_path):
    refused(tmp_path / "missing", "No such file")
    refused(tmp_path, "directory")


def test_a_file_that_cannot_be_written(tmp_path, monkeypatch):
    t = table("int8")
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path / "no" / "t", tmp_path / "file" / "t"):
        with pytest.raises(InputError, match="cannot be written.*240 bytes") as e:
            t.write(path)
        assert str(path) in e.value.where

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    t.write(tmp_path / "t")
    before = (tmp_path / "t").read_bytes()
    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(InputError, match="No space left"):
        t.write(tmp_path / "t")
    assert (tmp_path / "t").read_bytes() == before and {p.name for p in tmp_path.iterdir()} == {"t", "file"}


def test_a_separate_table_is_part_of_the_checkpoints_identity(tmp_path):
    """Two checkpoints that differ in nothing but their puzzle_emb.safetensors must not share a key."""
    from safetensors.numpy import save_file

    checkpoint.save(checkpoint.load(write_checkpoint(tmp_path, MODEL, state_dict(MODEL))), tmp_path / "out")
    tensors = {n: np.array(t) for n, t in checkpoint.load(tmp_path / "out").tensors.items()}
    own_weights(tmp_path / "out")
    puzzles = tensors.pop(NAME)
    save_file(tensors, tmp_path / "out" / "model.safetensors")
    found = set()
    for value in (1.0, 2.0):
        puzzles[0, 0] = value
        save_file({NAME: puzzles}, tmp_path / "out" / "puzzle_emb.safetensors")
        found.add(checkpoint.load(tmp_path / "out").sha256)
    assert len(found) == 2
