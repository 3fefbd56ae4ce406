"""The frame codec in C against the one in Python, and both against bad bytes."""

from __future__ import annotations

import ctypes
import re
import struct
import zlib

import cobs.cobs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recurc.device import frames
from recurc.device.selftest import NONCE_BYTES, parse_selftest
from recurc.resources import resource_dir
from recurc.targets.toolchain import compile_shared
from tests.tools import need

BODY = st.binary(max_size=frames.MAX_BODY)
BYTE = st.integers(0, 255)
MAX_ENCODED = frames.MAX_BODY + 6 + (frames.MAX_BODY + 6) // 254 + 2
NONE = 0xFFFFFFFF
# Runs of zeros and of non-zeros around COBS's block length of 254.
RUNS = st.lists(st.tuples(st.integers(0, 2), st.sampled_from([1, 2, 253, 254, 255, 508])), max_size=4).map(
    lambda runs: b"".join(bytes([value]) * n for value, n in runs)[: frames.MAX_BODY]
)


def test_names_and_numbers_are_those_of_the_c_headers():
    headers = resource_dir("runtime_c") / "include" / "recurc"
    listed = re.findall(r'X\((RC_\w+), (\d+), "([^"]+)"\)', (headers / "rc_status.h").read_text())
    assert [(int(number), text) for _, number, text in listed] == list(enumerate(frames.STATUS_TEXT))
    named = {name: int(number) for name, number, _ in listed}
    assert (frames.STATUS_FRAME, frames.STATUS_STATE) == (named["RC_ERR_FRAME"], named["RC_ERR_STATE"])
    assert (frames.STATUS_TABLE, frames.STATUS_ROW) == (named["RC_ERR_TABLE"], named["RC_ERR_ROW"])
    wire = (headers / "rc_wire.h").read_text()
    assert int(re.search(r"RC_WIRE_VERSION +(\d+)u", wire)[1]) == frames.VERSION
    spec = (resource_dir("runtime_c") / "SPEC.md").read_text()
    assert [int(v) for v in re.findall(r"(?:output\. Version |\*\*HELLO\*\* request: protocol version u16 \()(\d+)", spec)] == [
        frames.VERSION
    ] * 2
    kinds = {n: int(v, 16) for n, v in re.findall(r"RC_FRAME_(\w+) = (0x\w+)", wire)}
    assert {n: getattr(frames, n) for n in kinds} == kinds
    modes = {n: int(v) for n, v in re.findall(r"RC_TABLE_(\w+) = (\d)", wire)}
    assert modes == {"NONE": frames.TABLE_NONE, "MAPPED": frames.TABLE_MAPPED, "WIRE": frames.TABLE_WIRE}
    tensors = re.findall(r"RC_TENSOR_(\w+) = (\d+)", (headers / "rc.h").read_text())
    assert {name.upper(): number for name, number in frames.TENSORS.items()} == {
        name: int(number) for name, number in tensors if name != "COUNT"
    }


class Rx(ctypes.Structure):
    _fields_ = [("length", ctypes.c_uint32), ("overflow", ctypes.c_uint32), ("bytes", ctypes.c_uint8 * MAX_ENCODED)]


class CFrame(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_uint8),
        ("seq", ctypes.c_uint8),
        ("length", ctypes.c_uint32),
        ("body", ctypes.POINTER(ctypes.c_uint8)),
    ]


@pytest.fixture(scope="module")
def lib(tmp_path_factory):
    need("host")
    runtime = resource_dir("runtime_c")
    sources = [runtime / "wire" / "rc_cobs.c", runtime / "wire" / "rc_frame.c", runtime / "image" / "rc_crc32.c"]
    return ctypes.CDLL(str(compile_shared(sources, [runtime / "include"], tmp_path_factory.mktemp("codec") / "codec.so")))


def c_receive(lib, stream: bytes) -> list:
    """What the C receiver makes of a byte stream: frames, and None for each malformed one."""
    rx, frame, found = Rx(), CFrame(), []
    for byte in stream:
        result = lib.rc_frame_push(ctypes.byref(rx), ctypes.c_uint8(byte), ctypes.byref(frame))
        if result == 1:
            found.append(frames.Frame(frame.type, frame.seq, bytes(frame.body[: frame.length])))
        elif result == 2:
            found.append(None)
    return found


@given(st.binary(max_size=2000), st.integers(0, NONE))
def test_crc_is_zlibs(lib, data, start):
    lib.rc_crc32.restype = ctypes.c_uint32
    assert lib.rc_crc32(ctypes.c_uint32(start), data, len(data)) == zlib.crc32(data, start)


@given(BODY | RUNS)
def test_cobs_in_c_python_and_the_reference_are_alike(lib, data):
    out = (ctypes.c_uint8 * (len(data) + len(data) // 254 + 1))()
    n = lib.rc_cobs_encode(data, len(data), out)
    assert bytes(out[:n]) == frames.cobs_encode(data) == cobs.cobs.encode(data)
    assert 0 not in bytes(out[:n])
    assert frames.cobs_decode(bytes(out[:n])) == data


@given(st.lists(st.integers(1, 255), max_size=600).map(bytes))
def test_cobs_decoders_refuse_alike(lib, encoded):
    lib.rc_cobs_decode.restype = ctypes.c_uint32
    buffer = (ctypes.c_uint8 * max(1, len(encoded)))(*encoded)
    n = lib.rc_cobs_decode(buffer, len(encoded))
    try:
        wanted = frames.cobs_decode(encoded)
    except frames.FrameError:
        assert n == NONE
    else:
        assert bytes(buffer[:n]) == wanted


@given(BYTE, BYTE, BODY | RUNS)
def test_frames_cross_both_ways(lib, kind, seq, body):
    out = (ctypes.c_uint8 * MAX_ENCODED)()
    n = lib.rc_frame_build(ctypes.c_uint8(kind), ctypes.c_uint8(seq), body, len(body), out)
    wanted = frames.Frame(kind, seq, body)
    assert bytes(out[:n]) == frames.encode(wanted)
    assert c_receive(lib, bytes(out[:n])) == [wanted]
    assert frames.Receiver().push(bytes(out[:n])) == [wanted]


def test_a_body_that_is_too_long_is_not_sent(lib):
    out = (ctypes.c_uint8 * (2 * MAX_ENCODED))()
    body = bytes(frames.MAX_BODY + 1)
    assert lib.rc_frame_build(1, 1, body, len(body), out) == 0
    with pytest.raises(ValueError, match="longer than 1024"):
        frames.encode(frames.Frame(1, 1, body))


@given(BODY, st.data())
def test_a_damaged_frame_is_never_taken_for_good(lib, body, data):
    good = bytearray(frames.encode(frames.Frame(3, 7, body)))
    at = data.draw(st.integers(0, len(good) - 2))
    good[at] = data.draw(BYTE.filter(lambda b: b != good[at]))
    assert all(found is None for found in c_receive(lib, bytes(good)))
    assert all(isinstance(found, frames.FrameError) for found in frames.Receiver().push(bytes(good)))


@given(BODY, st.integers(1, 400))
def test_a_truncated_frame_does_not_hurt_the_next(lib, body, cut):
    whole = frames.encode(frames.Frame(3, 7, body))
    after = frames.Frame(1, 9, b"next")
    stream = whole[: -min(cut, len(whole) - 1) - 1] + b"\0" + frames.encode(after)
    assert c_receive(lib, stream)[-1] == after
    assert frames.Receiver().push(stream)[-1] == after


@settings(max_examples=50)
@given(st.lists(st.binary(max_size=3000), max_size=4))
def test_both_receivers_agree_on_noise(lib, chunks):
    receiver, found = frames.Receiver(), []
    for chunk in chunks:
        found += [f if isinstance(f, frames.Frame) else None for f in receiver.push(chunk)]
    assert found == c_receive(lib, b"".join(chunks))


def test_an_endless_frame_is_dropped_and_the_next_one_read(lib):
    after = frames.Frame(1, 2, b"x")
    stream = b"\x55" * 100_000 + b"\0" + frames.encode(after)
    assert c_receive(lib, stream) == [None, after]
    assert frames.Receiver().push(stream)[-1] == after


def test_lengths_of_replies_belong_to_a_version():
    """A reply of another length needs another version, so that an old firmware is told apart by HELLO, not by its remains."""
    layouts = (
        frames.parse_step,
        frames.parse_result,
        frames.parse_fault,
        frames.parse_row,
        frames.parse_crc,
        parse_selftest,
        frames.parse_trace,
        frames.parse_boot,
        frames.parse_solve,
    )
    lengths = []
    for parse in layouts:
        for n in range(0, 125):
            try:
                parse(bytes(n))
            except frames.FrameError:
                continue
            lengths.append(n)
    wire = (resource_dir("runtime_c") / "include" / "recurc" / "rc_wire.h").read_text()
    told = {name: int(value) for name, value in re.findall(r"RC_SELFTEST_(\w+) (\d+)u", wire)}
    assert told == {"NONCE": NONCE_BYTES, "REPLY": lengths[5]}
    assert (frames.VERSION, *lengths) == (7, 32, 20, 28, 4, 4, 84, 20, 2, 30)


def test_malformed_bodies_are_refused():
    for parse in (frames.parse_hello, frames.parse_step, frames.parse_result, frames.parse_fault, frames.parse_row):
        for n in range(0, 125):
            try:
                parse(bytes(n))
            except frames.FrameError:
                continue
            assert parse is not frames.parse_hello
    good = bytearray(126)
    assert frames.parse_hello(bytes(good)).carry == "fp32"
    for at, value in ((100, 3), (101, 3), (103, 3)):  # types and modes that this recurc does not know
        bent = bytearray(good)
        bent[at] = value
        with pytest.raises(frames.FrameError):
            frames.parse_hello(bytes(bent))
    for carry, stored, scales in (("fp32", 6, 0), ("fp16", 3, 0), ("int8", 8, 0), ("int8", 9, 8), ("int8", 8, 6)):
        with pytest.raises(frames.FrameError):
            frames.decode_carry(carry, bytes(stored), bytes(scales))
    assert struct.calcsize("<HBB16s32s12I4BI16s") == 124
