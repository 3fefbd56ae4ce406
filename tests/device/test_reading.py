"""What is read from a device: pieces that lie in the tensor, of the build's size, and with the checksums that were told."""

from __future__ import annotations

import struct
import tracemalloc
import zlib

import numpy as np
import pytest

from recurc.device import frames as f
from recurc.device.expected import Expected, model_fields, tensor_bytes
from recurc.device.session import DeviceRefusedError, DeviceSession
from recurc.errors import MismatchError
from tests.device import lies
from tests.device.inprocess import Clock, Line, build_server
from tests.device.runs import run_all
from tests.tools import need


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    need("host")
    return build_server(tmp_path_factory.mktemp("server"), "DUMMY_CARRY=2")


@pytest.fixture
def begun(library, monkeypatch):
    with DeviceSession(Line(library, Clock().use(monkeypatch))) as session:
        session.load(np.arange(16) % 6)
        run_all(session, 2)
        yield session


def test_no_piece_reaches_beyond_its_tensor(begun):
    for name, ident in f.TENSORS.items():
        size = tensor_bytes(begun.info, name)
        if name in ("columns", "answer"):  # there is none after this run
            continue
        for offset in (0, 1, size - 1, size, size + 1, 2 * size, 1 << 31, (1 << 32) - 1):
            for n in (0, 1, 2, size, size + 1, f.MAX_READ, f.MAX_READ + 1, 65535):
                body = struct.pack("<BIH", ident, offset, n)
                if n <= f.MAX_READ and offset + n <= size:
                    assert len(begun._request(f.READ, body)) == f.READ_HEADER + n
                    continue
                with pytest.raises(DeviceRefusedError) as e:
                    begun._request(f.READ, body)
                assert e.value.status == f.STATUS_ARGUMENT, (name, offset, n)


def test_a_carry_is_held_against_its_checksum(begun):
    parts = begun.read_carry()
    assert list(parts) == ["z_H", "H_scale", "z_L", "L_scale"]
    assert zlib.crc32(b"".join(parts.values())) == begun._carry_crc
    begun._carry_crc ^= 1
    with pytest.raises(MismatchError, match="the carry has CRC-32"):
        begun.read_carry()
    with pytest.raises(MismatchError):
        begun.read_tensor("z_H")


@pytest.mark.parametrize("name", ["logits", "tokens", "q"])
def test_other_tensors_too(begun, name):
    assert begun.read_raw(name)
    changed = {"logits": {"logits_crc": 1}, "tokens": {"tokens_crc": 1}, "q": {"q_bytes": bytes(8)}}[name]
    begun._event = lies.replace(begun._event, **changed)
    with pytest.raises(MismatchError, match=f"its {name} has CRC-32"):
        begun.read_raw(name)


def claiming(kind: int, **values: object) -> lies.Lie:
    """A device that says this in each frame of a kind."""
    layout = f.LAYOUTS[kind]
    return lies.always(kind, lambda frame: layout.pack({**layout.unpack(frame.body), **values}) + frame.body[layout.size :])


def test_a_tensor_of_4_gb_is_refused_at_once(library, monkeypatch):
    line = lies.LyingLine(library, Clock().use(monkeypatch), b"", claiming(f.READ | f.REPLY, size=0xFFFFFFFF))
    with DeviceSession(line) as session:
        session.load(np.arange(16) % 6)
        run_all(session, 2)
        line.told.clear()
        with pytest.raises(MismatchError, match="its logits has 4294967295 bytes, the model's has 384"):
            session.read_raw("logits")
        assert len(line.told) == 1


def test_a_hello_of_4_gb_neither(library, monkeypatch):
    line = lies.LyingLine(library, Clock().use(monkeypatch), b"", claiming(f.HELLO | f.REPLY, rows=1 << 15, hidden=1 << 16))
    with DeviceSession(line) as session:
        session.load(np.arange(16) % 6)
        run_all(session, 2)
        with pytest.raises(MismatchError, match="2147483648 bytes"):
            session.read_raw("z_H")
        with pytest.raises(MismatchError, match="its rows is 32768, the build has 17"):
            session.expect(Expected({"seq_len": 16, "rows": 17}))


def test_hello_is_compared_field_by_field(engine, library, monkeypatch):
    with DeviceSession(Line(library, Clock().use(monkeypatch))) as session:
        told = session.hello()
        fields = model_fields(engine.info, engine.table_key)
        assert Expected({**fields, "carry": "int8"}).difference(told) is None
        for name, value in fields.items():
            other = value + 1 if isinstance(value, int) else value + "x"
            assert f"its {name} is " in Expected({**fields, "carry": "int8", name: other}).difference(told)


def test_the_receiver_keeps_no_more_than_a_frame():
    receiver = f.Receiver()
    receiver.push(bytes(range(1, 256)))
    tracemalloc.start()
    for _ in range(200):
        assert receiver.push(b"\x55" * 65536) == []
    kept = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert kept < 10 * f.LONGEST
    (found,) = receiver.push(b"\0")
    assert isinstance(found, f.FrameError) and "without a delimiter" in str(found)
    frame = f.Frame(f.LOAD, 7, bytes(range(256)) * 4)
    assert receiver.push(f.encode(frame)) == [frame]
