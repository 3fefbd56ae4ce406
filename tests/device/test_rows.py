"""Streamed puzzle tables and stored carries end to end: rows over the wire, memory-mapped tables, fp16 and int8 carries."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest

from recurc.build.tablefile import TableFile
from recurc.device import frames as f
from recurc.device.session import DeviceRefusedError, DeviceSession
from recurc.device.transports import ProcessTransport
from recurc.errors import InputError
from recurc.quant.tables import PuzzleTable
from recurc.targets.boards import load_board
from recurc.verify.device import connect
from tests.device.badline import BadLine, drop, flip
from tests.device.runs import run_all

KEY = bytes([0x51, *range(1, 16)])  # as in dummy/model.c
ROWS, DIM = 3, 601
STORAGE = {"fp32": 1, "int8": 2}
TOKENS = np.arange(16) % 6
STEPS = 4


def table(storage: str, key: bytes = KEY, **shape: int) -> PuzzleTable:
    size = (shape.get("rows", ROWS), shape.get("dim", DIM))
    return PuzzleTable(np.random.default_rng(4).normal(size=size).astype(np.float32), 1.7, storage, key)


def stream(elfs, storage: str, board: str = "host", **damage) -> DeviceSession:
    elf = elfs(board, defines={"DUMMY_TABLE": STORAGE[storage]})
    if board != "host":
        return connect(load_board(board), elf, "qemu", step_timeout=30)
    return DeviceSession(BadLine(ProcessTransport([str(elf)]), **damage), timeout=0.5, step_timeout=5.0)


def mapped(elfs, tmp_path, storage: str, data: bytes, board: str = "host") -> DeviceSession:
    """A session with a firmware that has a table file in its memory."""
    (tmp_path / "table").write_bytes(data)
    defines = {"DUMMY_TABLE": STORAGE[storage], "TABLE_PATH": str(tmp_path / "table")}
    elf = elfs(board, defines=defines)
    return connect(load_board(board), elf, "host" if board == "host" else "qemu", step_timeout=30)


def whole(t: PuzzleTable, tmp_path) -> bytes:
    t.write(tmp_path / "written")
    return (tmp_path / "written").read_bytes()


def crcs(session: DeviceSession, puzzle: int) -> list[int]:
    return [e.carry_crc for e in run_all(session, STEPS, puzzle=puzzle)[0]]


def expected(row: np.ndarray, image: bytes) -> int:
    """CRC of the stand-in's carry after one step, by its arithmetic in fp32."""
    one, f32 = np.float32, np.float32
    z_h, z_l = np.full(136, 0.5, f32), np.full(136, -0.25, f32)
    for i in range(136):
        weight = f32(image[4 + i * 7 % 1000]) * f32(0.0078125)
        token = row[i * 75] if i < 8 else f32(TOKENS[i // 8 - 1])
        z_l[i] = z_l[i] * f32(0.7) + z_h[(i * 3 + 1) % 136] * weight + token * f32(0.1)
        z_h[i] = z_h[i] * f32(0.3) + z_l[i] * f32(0.9) / (one(1.0) + z_l[i] * z_l[i])
    return zlib.crc32(z_h.tobytes() + z_l.tobytes())


# -- rows over the wire -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("storage", STORAGE)
@pytest.mark.parametrize("board", ["host", "mps2-an500", "riscv32-virt"])
def test_a_run_uses_exactly_the_row_that_was_sent(elfs, storage, board):
    from tests.device.dummy_build import image_bytes

    t = table(storage)
    with stream(elfs, storage, board) as session:
        hello = session.hello()
        assert (hello.table_mode, hello.table_status, hello.table_storage) == (f.TABLE_WIRE, 0, storage)
        assert (hello.record_bytes, hello.table_key) == (t.record_bytes, KEY.hex())
        session.load(TOKENS)
        for puzzle in (2, 0):
            session.send_row(puzzle, t.record(puzzle))
            assert crcs(session, puzzle)[0] == expected(t.values([puzzle])[0], image_bytes())


def test_rows_of_a_file_reach_the_device(elfs, tmp_path):
    t = table("int8")
    t.write(tmp_path / "t")
    with stream(elfs, "int8") as session, TableFile(tmp_path / "t", t.header) as file:
        session.load(TOKENS)
        session.send_row(1, file.record(1))
        assert len(crcs(session, 1)) == STEPS


def test_without_its_row_a_puzzle_is_refused(elfs):
    t = table("fp32")
    with stream(elfs, "fp32") as session:
        session.load(TOKENS)
        for _ in range(2):
            with pytest.raises(DeviceRefusedError, match="row is missing") as e:
                list(session.run(1, puzzle=0))
            assert e.value.status == f.STATUS_ROW
            session.send_row(1, t.record(1))  # another puzzle's row does not help
        with pytest.raises(DeviceRefusedError, match="identifier is out of range"):
            list(session.run(1, puzzle=3))
        session.send_row(0, t.record(0))
        assert crcs(session, 0) == crcs(session, 0)  # the row stays for a repeated run


@pytest.mark.parametrize("storage", STORAGE)
def test_corrupt_records_are_refused_and_nothing_is_left_of_the_row_before(elfs, storage):
    t = table(storage)
    good = t.record(1)
    wrong = {
        "bit": bytes([good[0] ^ 1]) + good[1:], "end": good[:-1] + bytes([good[-1] ^ 128]), "zeros": bytes(len(good)),
        "ones": b"\xff" * len(good), "another puzzle's": t.record(2), "another model's": table(storage, bytes(16)).record(1),
    }  # fmt: skip
    with stream(elfs, storage) as session:
        session.load(TOKENS)
        for name, record in wrong.items():
            session.send_row(1, good)
            list(session.run(1, puzzle=1))
            with pytest.raises(DeviceRefusedError, match="row is missing or corrupt") as e:
                session.send_row(1, record)
            assert e.value.status == f.STATUS_ROW, name
            with pytest.raises(DeviceRefusedError, match="row is missing or corrupt"):
                list(session.run(1, puzzle=1))


def test_a_row_ends_the_puzzle_under_way(elfs):
    t = table("fp32")
    with stream(elfs, "fp32") as session:
        session.load(TOKENS)
        session.send_row(0, t.record(0))
        list(session.run(1, puzzle=0))
        session.send_row(1, t.record(1))
        with pytest.raises(DeviceRefusedError, match="earlier step"):
            list(session.run(1, begin=False))
        with pytest.raises(DeviceRefusedError, match="earlier step"):
            session.read_tensor("z_H")


@pytest.mark.parametrize("change", [drop, flip])
@pytest.mark.parametrize("side", ["write", "read"])
@pytest.mark.parametrize("at", [1, 2, 3])
def test_pieces_are_sent_again_when_the_line_is_bad(elfs, side, change, at):
    t = table("fp32")
    with stream(elfs, "fp32", **{side: {at: change}}) as session:
        session.hello()
        session.send_row(2, t.record(2))
        assert session.retries == 1
        session.load(TOKENS)
        got = crcs(session, 2)
    with stream(elfs, "fp32") as session:
        session.load(TOKENS)
        session.send_row(2, t.record(2))
        assert crcs(session, 2) == got


def test_pieces_must_come_in_order(elfs):
    record = table("fp32").record(1)

    def piece(index: int, offset: int, n: int = 1000) -> bytes:
        return f.row_body(index, offset, record[offset : offset + n])

    with stream(elfs, "fp32") as session:
        for bodies in (
            [piece(1, 1000)],  # the first is missing
            [piece(1, 0), piece(1, 1200)],
            [piece(1, 0), piece(2, 1000)],  # another puzzle's
            [piece(1, 0), piece(1, 1001)],
        ):
            *first, last = bodies
            for body in first:
                session._request(f.ROW, body)
            with pytest.raises(DeviceRefusedError) as e:
                session._request(f.ROW, last)
            assert e.value.status == f.STATUS_ROW
        for body in (piece(1, 0), piece(1, 1000), piece(1, 500), piece(1, 1500)):  # overlaps are no gaps
            held, whole_row = f.parse_row(session._request(f.ROW, body))
        assert (held, whole_row) == (2408, True)


def test_bodies_that_are_no_rows_are_refused(elfs):
    with stream(elfs, "int8") as session:
        bodies = [b"", bytes(6), f.row_body(0, 0, bytes(613)), f.row_body(0, 612, b"x"), f.row_body(0, 65535, b"x")]
        for body in bodies:
            with pytest.raises(DeviceRefusedError, match="out of range") as e:
                session._request(f.ROW, body)
            assert e.value.status == 1
        with pytest.raises(DeviceRefusedError, match="identifier"):
            session._request(f.ROW, f.row_body(3, 0, b"x"))


def test_mistakes_are_found_before_anything_is_sent(elfs, session):
    t = table("int8")
    with pytest.raises(InputError, match="takes no puzzle rows.*no streamed puzzle table"):
        session.send_row(0, t.record(0))
    with pytest.raises(DeviceRefusedError, match="unknown command"):
        session._request(f.ROW, f.row_body(0, 0, b"x"))
    with stream(elfs, "int8") as streamed:
        with pytest.raises(InputError, match="616 bytes, the model takes 612"):
            streamed.send_row(0, t.record(0) + bytes(4))
        for index in (-1, 3):
            with pytest.raises(InputError, match=f"no puzzle {index}.*0 to 2"):
                streamed.send_row(index, t.record(0))


def test_a_bad_image_refuses_rows(elfs):
    elf = elfs("host", defines={"DUMMY_TABLE": 2}, good_image=False)
    with DeviceSession(ProcessTransport([str(elf)])) as session:
        assert session.hello().status == 6
        with pytest.raises(DeviceRefusedError, match="checksum"):
            session.send_row(0, table("int8").record(0))


# -- memory-mapped tables -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("board", ["host", "mps2-an500"])
@pytest.mark.parametrize("storage", STORAGE)
def test_a_mapped_table_serves_rows_by_itself(elfs, tmp_path, storage, board):
    t = table(storage)
    with stream(elfs, storage) as session:
        session.load(TOKENS)
        wanted = []
        for puzzle in range(ROWS):
            session.send_row(puzzle, t.record(puzzle))
            wanted.append(crcs(session, puzzle))
    with mapped(elfs, tmp_path, storage, whole(t, tmp_path), board) as session:
        assert (session.hello().table_mode, session.hello().table_status) == (f.TABLE_MAPPED, 0)
        session.load(TOKENS)
        assert [crcs(session, puzzle) for puzzle in range(ROWS)] == wanted
        with pytest.raises(DeviceRefusedError, match="identifier is out of range"):
            list(session.run(1, puzzle=3))
        with pytest.raises(InputError, match="has them in its memory"):
            session.send_row(0, t.record(0))
        with pytest.raises(DeviceRefusedError, match="unknown command"):
            session._request(f.ROW, f.row_body(0, 0, b"x"))


@pytest.mark.parametrize("fault", ["truncated", "another model's", "header bit", "erased", "other storage", "other shape"])
def test_a_bad_mapped_table_is_told_and_stops_runs_but_not_the_server(elfs, tmp_path, fault):
    data = whole(table("int8"), tmp_path)
    if fault == "other storage":
        data = whole(table("fp32"), tmp_path)
    elif fault == "other shape":
        data = whole(table("int8", rows=4), tmp_path)
    data = {
        "truncated": data[:-1], "another model's": whole(table("int8", bytes(16)), tmp_path),
        "header bit": data[:50] + bytes([data[50] ^ 4]) + data[51:], "erased": b"\xff" * len(data),
    }.get(fault, data)  # fmt: skip
    with mapped(elfs, tmp_path, "int8", data) as session:
        hello = session.hello()
        assert (hello.status, hello.table_mode, hello.table_status) == (0, f.TABLE_MAPPED, f.STATUS_TABLE)
        session.load(TOKENS)
        with pytest.raises(DeviceRefusedError, match="table is missing or not this model's") as e:
            list(session.run(1, puzzle=0))
        assert e.value.status == f.STATUS_TABLE
        assert session.selftest().status == 0 and session.hello().table_status == f.STATUS_TABLE


def test_a_corrupt_record_in_a_mapped_table_stops_that_puzzle_only(elfs, tmp_path):
    t = table("fp32")
    data = bytearray(whole(t, tmp_path))
    data[128 + t.record_bytes + 777] ^= 0x20
    with mapped(elfs, tmp_path, "fp32", bytes(data)) as session:
        assert session.hello().table_status == 0
        session.load(TOKENS)
        for puzzle in (0, 1, 2):
            if puzzle == 1:
                with pytest.raises(DeviceRefusedError, match="row is missing or corrupt"):
                    list(session.run(1, puzzle=puzzle))
            else:
                assert len(crcs(session, puzzle)) == STEPS


# -- stored carries -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("carry, kind", [("fp16", 1), ("int8", 2)])
def test_a_carry_is_decoded_and_its_crc_covers_what_is_stored(elfs, session, carry, kind):
    session.load(TOKENS)
    run_all(session, 3)
    exact = {name: session.read_tensor(name) for name in ("z_H", "z_L")}
    with DeviceSession(ProcessTransport([str(elfs("host", defines={"DUMMY_CARRY": kind}))])) as stored:
        assert stored.hello().carry == carry
        stored.load(TOKENS)
        events, _ = run_all(stored, 3)
        order = ("z_H", "H_scale", "z_L", "L_scale") if carry == "int8" else ("z_H", "z_L")
        assert events[-1].carry_crc == zlib.crc32(b"".join(stored.read_raw(name) for name in order))
        for name, values in exact.items():
            got = stored.read_tensor(name)
            assert got.dtype == np.float32 and got.shape == (17 * 8,)
            if carry == "fp16":
                half = stored.read_raw(name)
                assert len(half) == 2 * 17 * 8 and np.abs(values).max() > 0.1
                assert got.tobytes() == np.frombuffer(half, "<f2").astype("<f4").tobytes()
                assert (np.abs(got - values) <= np.abs(values) * 2.0**-10 + 2.0**-14).all()
            else:
                scales = stored.read_tensor("H_scale" if name == "z_H" else "L_scale")
                unit = 0.03125 if name == "z_H" else 0.015625
                assert scales.tobytes() == (np.arange(1, 18, dtype=np.float32) * np.float32(unit)).tobytes()
                clipped = np.clip(values.reshape(17, 8), -127 * scales[:, None], 127 * scales[:, None])
                assert (np.abs(got.reshape(17, 8) - clipped) < scales[:, None]).all()
                q = np.frombuffer(stored.read_raw(name), "i1").reshape(17, 8)
                assert q.any() and got.tobytes() == (q.astype(np.float32) * scales[:, None]).tobytes()
        if carry == "fp16":
            with pytest.raises(DeviceRefusedError, match="out of range"):
                stored.read_raw("H_scale")


def test_carries_decode_to_the_contracts_values():
    half = struct.pack("<4e", 1.0, -0.5, 65504.0, 2.0**-24)
    assert f.decode_carry("fp16", half).tolist() == [1.0, -0.5, 65504.0, 2.0**-24]
    scales = np.array([0.1, 3.0], np.float32)
    q = np.array([[-127, 5], [127, 0]], np.int8)
    assert f.decode_carry("int8", q.tobytes(), scales.tobytes()).tobytes() == (q * scales[:, None]).tobytes()
    assert f.decode_carry("fp32", q.tobytes()).tobytes() == q.tobytes()
