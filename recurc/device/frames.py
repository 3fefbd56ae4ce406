"""The wire's frames: COBS, CRC-32, and the bodies of requests and replies (runtime_c/SPEC.md, section "Wire")."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

import numpy as np

VERSION = 5
MAX_BODY = 1024
READ_HEADER = 8
MAX_READ = MAX_BODY - READ_HEADER
LOAD_HEADER = 4
MAX_LOAD = MAX_BODY - LOAD_HEADER
ROW_HEADER = 6
MAX_ROW = MAX_BODY - ROW_HEADER

HELLO, LOAD, RUN, READ, SELFTEST, RESET, EXIT, ROW, TRACE = range(1, 10)
REPLY = 0x80
STEP, BOOT, NAK, FAULT = 0xC3, 0xFD, 0xFE, 0xFF
RUN_BEGIN, RUN_HALT = 1, 2

TENSORS = {"z_H": 0, "z_L": 1, "logits": 2, "q": 3, "tokens": 4, "input": 5, "H_scale": 6, "L_scale": 7,
           "columns": 8}
TENSOR_TYPES = {"tokens": "u1", "input": "u1"}  # the others are "<f4", but for the carry
CARRY_SCALES = {"z_H": "H_scale", "z_L": "L_scale"}
CARRY_PARTS = ("z_H", "H_scale", "z_L", "L_scale", "columns")  # what a carry checksum covers, as far as it is there
CARRIES = ("fp32", "fp16", "int8")
CARRY_TYPES = {"fp32": "<f4", "fp16": "<f2", "int8": "i1"}
TABLE_NONE, TABLE_MAPPED, TABLE_WIRE = range(3)
TABLE_STORAGES = ("", "fp32", "int8")

STATUS_ARGUMENT, STATUS_FRAME, STATUS_STATE, STATUS_TABLE, STATUS_ROW = 1, 14, 13, 16, 17
STATUS_TEXT = (
    "ok",
    "an argument is null or out of range",
    "the image does not start with RCM1",
    "the image has another format version",
    "the image uses flags unknown here",
    "the image is truncated or too long",
    "a checksum of the image is wrong",
    "a section is missing or mis-sized",
    "the image is of another model",
    "a buffer is not aligned",
    "the arena is too small",
    "a token is outside the vocabulary",
    "the puzzle identifier is out of range",
    "called before an earlier step has run",
    "a frame is malformed",
    "unknown command or flag",
    "the puzzle table is missing or not this model's",
    "the puzzle's row is missing or corrupt",
    "the sha256 of the image's bytes is another than its header tells",
)


# Why a firmware started, and what raised a fault.
RESET_CAUSES = ("unknown", "power", "pin", "software", "watchdog")
FAULT_CAUSES = ("exception", "watchdog", "hardware watchdog")


def reset_cause(code: int) -> str:
    """A reset cause of rc_port.h in a word."""
    return RESET_CAUSES[code] if code < len(RESET_CAUSES) else "unknown"


def fault_cause(code: int) -> str:
    """What raised a fault, in a word or two."""
    return FAULT_CAUSES[code] if code < len(FAULT_CAUSES) else "unknown"


def status_text(status: int) -> str:
    """English text of a status code of rc_status.h."""
    return STATUS_TEXT[status] if 0 <= status < len(STATUS_TEXT) else f"unknown status {status}"


class FrameError(ValueError):
    """Bytes between two delimiters that are no frame."""


@dataclass(frozen=True)
class Frame:
    """A frame: type (0..255), sequence number (0..255), body (at most MAX_BODY bytes)."""

    type: int
    seq: int
    body: bytes = b""


def cobs_encode(data: bytes) -> bytes:
    """COBS encoding, without the delimiter."""
    out = bytearray()
    block = bytearray()
    for i, byte in enumerate(data):
        if byte:
            block.append(byte)
            if len(block) < 254 or i + 1 == len(data):
                continue
        out.append(len(block) + 1)
        out += block
        block.clear()
    out.append(len(block) + 1)
    return bytes(out + block)


def cobs_decode(data: bytes) -> bytes:
    """Inverse of `cobs_encode`.

    Raises:
        FrameError: a zero byte inside, or a block that runs past the end.
    """
    out = bytearray()
    at = 0
    while at < len(data):
        code = data[at]
        block = data[at + 1 : at + code]
        if code == 0 or len(block) != code - 1 or 0 in block:
            raise FrameError("malformed COBS block")
        out += block
        at += code
        if code != 0xFF and at < len(data):
            out.append(0)
    return bytes(out)


def encode(frame: Frame) -> bytes:
    """The frame as it goes over the wire, the trailing delimiter included."""
    if len(frame.body) > MAX_BODY:
        raise ValueError(f"a body of {len(frame.body)} bytes is longer than {MAX_BODY}")
    payload = bytes((frame.type, frame.seq)) + frame.body
    return cobs_encode(payload + struct.pack("<I", zlib.crc32(payload))) + b"\0"


def decode(encoded: bytes) -> Frame:
    """The frame in the bytes between two delimiters.

    Raises:
        FrameError: encoding, length or CRC is wrong.
    """
    payload = cobs_decode(encoded)
    if not 6 <= len(payload) <= MAX_BODY + 6:
        raise FrameError(f"a payload of {len(payload)} bytes")
    if zlib.crc32(payload[:-4]) != struct.unpack("<I", payload[-4:])[0]:
        raise FrameError("wrong CRC")
    return Frame(payload[0], payload[1], payload[2:-4])


class Receiver:
    """Splits a byte stream into frames."""

    _LONGEST = 4096

    def __init__(self) -> None:
        self._buffer = bytearray()

    def push(self, data: bytes) -> list[Frame | FrameError]:
        """Frames completed by `data`, malformed ones as the FrameError they raise."""
        self._buffer += data
        *parts, rest = bytes(self._buffer).split(b"\0")
        self._buffer = bytearray(rest[-self._LONGEST :])
        found: list[Frame | FrameError] = []
        for part in parts:
            if part:
                try:
                    found.append(decode(part))
                except FrameError as e:
                    found.append(e)
        return found


@dataclass(frozen=True)
class Hello:
    """What a firmware says of itself.

    Sizes in bytes; `reset_cause` is one of RESET_CAUSES;
    `tick_hz` 0 means that ticks are instructions; `status` is that of its image. `carry`: stored type of
    z_H and z_L, one of CARRIES. `table_mode`: where rows of a streamed puzzle table come from (TABLE_NONE, TABLE_MAPPED,
    TABLE_WIRE), with `table_storage` ("fp32", "int8", "" without one), the bytes of a record and the table's key;
    `table_status` is that of a memory-mapped table.
    """

    version: int
    status: int
    can_exit: bool
    build_id: str
    model_sha256: str
    seq_len: int
    vocab: int
    rows: int
    hidden: int
    puzzles: int
    steps: int
    h_cycles: int
    l_cycles: int
    arena_bytes: int
    stack_bytes: int
    tick_hz: int
    image_bytes: int
    carry: str
    table_mode: int
    table_status: int
    table_storage: str
    record_bytes: int
    table_key: str
    board: str
    model: str
    reset_cause: str = "unknown"


@dataclass(frozen=True)
class StepEvent:
    """Report of one supervision step.

    Its number from 1, CRC-32 of carry, logits and tokens, both halting logits (and their bytes), ticks it took.
    """

    step: int
    carry_crc: int
    logits_crc: int
    tokens_crc: int
    q_halt: float
    q_continue: float
    ticks: int
    q_bytes: bytes


@dataclass(frozen=True)
class RunResult:
    """End of a RUN: its steps, steps since the puzzle began, ticks of the model alone, deepest stack use in bytes."""

    status: int
    halted: bool
    steps: int
    total_steps: int
    ticks: int
    stack_used: int


@dataclass(frozen=True)
class TraceEvent:
    """The carry within a step: `ops` of the step's `of` ops are done. `carry_crc` covers all of its scales; `ticks` of the
    ops that the request ran."""

    step: int
    ops: int
    of: int
    carry_crc: int
    ticks: int


@dataclass(frozen=True)
class Fault:
    """Registers at a fault on the device; `cause` is one of FAULT_CAUSES."""

    pc: int
    lr: int
    cfsr: int
    hfsr: int
    mmfar: int
    bfar: int
    cause: int = 0

    @property
    def hang(self) -> bool:
        """Whether the watchdog raised it: nothing was wrong at `pc` but that it never ended."""
        return self.cause != 0

    def __str__(self) -> str:
        return " ".join(f"{name}={value:08x}" for name, value in vars(self).items() if name != "cause")


_HELLO = struct.Struct("<HBB16s32s12I4BI16s")
_STEP = struct.Struct("<HIII8sQ")
_RESULT = struct.Struct("<BBHHHQI")
_TRACE = struct.Struct("<HHHHIQ")
_FAULT = struct.Struct("<7I")


def _unpack(layout: struct.Struct, body: bytes, name: str) -> tuple:
    if len(body) != layout.size:
        raise FrameError(f"{name} has {len(body)} bytes instead of {layout.size}")
    return layout.unpack(body)


def parse_hello(body: bytes) -> Hello:
    """HELLO's reply. Raises FrameError when it is malformed."""
    fixed = _unpack(_HELLO, body[: _HELLO.size], "HELLO")
    names, rest = [], body[_HELLO.size :]
    for _ in range(2):
        if not rest or len(rest) < 1 + rest[0]:
            raise FrameError("HELLO's names are cut off")
        names.append(rest[1 : 1 + rest[0]].decode("ascii", "replace"))
        rest = rest[1 + rest[0] :]
    version, status, flags, build_id, sha256, *numbers, carry, mode, table_status, dtype, record, key = fixed
    if carry >= len(CARRIES) or mode > TABLE_WIRE or dtype >= len(TABLE_STORAGES):
        raise FrameError(f"HELLO tells carry type {carry}, table mode {mode}, table type {dtype}")
    return Hello(
        version, status, bool(flags & 1), build_id.hex(), sha256.hex(), *numbers,
        CARRIES[carry], mode, table_status, TABLE_STORAGES[dtype], record, key.hex(), *names,
        reset_cause(flags >> 4 & 7),
    )  # fmt: skip


def hello_version(body: bytes) -> int:
    """Protocol version of HELLO's reply, which stands first in every version. Raises FrameError when it is cut off."""
    return _unpack(struct.Struct("<H"), body[:2], "HELLO")[0]


def parse_step(body: bytes) -> StepEvent:
    """A STEP event. Raises FrameError when it is malformed."""
    step, carry, logits, tokens, q, ticks = _unpack(_STEP, body, "STEP")
    return StepEvent(step, carry, logits, tokens, *struct.unpack("<2f", q), ticks, q)


def parse_result(body: bytes) -> RunResult:
    """RUN's reply. Raises FrameError when it is malformed."""
    status, halted, steps, total, _, ticks, stack = _unpack(_RESULT, body, "RESULT")
    return RunResult(status, bool(halted), steps, total, ticks, stack)


def parse_trace(body: bytes) -> TraceEvent:
    """TRACE's reply. Raises FrameError when it is malformed."""
    step, ops, of, _, crc, ticks = _unpack(_TRACE, body, "TRACE")
    return TraceEvent(step, ops, of, crc, ticks)


def parse_row(body: bytes) -> tuple[int, bool]:
    """ROW's reply: (bytes of the record that the device holds, whether the row is whole). Raises FrameError."""
    got, whole, _ = _unpack(struct.Struct("<HBB"), body, "ROW")
    return got, bool(whole)


def parse_crc(body: bytes) -> int:
    """LOAD's reply: CRC-32 of the input row. Raises FrameError."""
    return _unpack(struct.Struct("<I"), body, "LOAD")[0]


def parse_data(body: bytes) -> tuple[int, int]:
    """Head of READ's reply: (offset, bytes of the whole tensor). Raises FrameError."""
    return _unpack(struct.Struct("<II"), body[:READ_HEADER], "DATA")


def parse_fault(body: bytes) -> Fault:
    """A FAULT frame. Raises FrameError when it is malformed."""
    return Fault(*_unpack(_FAULT, body, "FAULT"))


def parse_boot(body: bytes) -> str:
    """Why the firmware started, from a BOOT frame. Raises FrameError when it is malformed."""
    return reset_cause(_unpack(struct.Struct("<BB"), body, "BOOT")[0])


def run_body(flags: int, steps: int, min_steps: int, at: int, puzzle: int, input_crc: int, threshold: float) -> bytes:
    """Body of a RUN request."""
    return struct.pack("<BBHHHIIf", flags, 0, steps, min_steps, at, puzzle, input_crc, threshold)


def row_body(index: int, offset: int, piece: bytes) -> bytes:
    """Body of a ROW request: `piece` of the record of puzzle `index`, beginning at `offset`."""
    return struct.pack("<IH", index, offset) + piece


def decode_carry(carry: str, stored: bytes, scales: bytes = b"", columns: bool = False) -> np.ndarray:
    """A carry tensor as float32, flat, from its stored bytes.

    Args:
        carry: "fp32" (f32 [S, D]), "fp16" (IEEE binary16 [S, D]) or "int8" (int8 [S, D], value = float32(q) * scale).
        scales: f32 [S], for int8 only.
        columns: `scales` is f32 [D], one a channel, as token mixing leaves a tensor.

    Raises:
        FrameError: the sizes do not go together.
    """
    kind = np.dtype(CARRY_TYPES[carry])
    rows = len(scales) // 4
    if len(stored) % kind.itemsize or len(scales) % 4 or (carry == "int8" and (not rows or len(stored) % rows)):
        raise FrameError(f"a carry of {len(stored)} bytes and {len(scales)} bytes of scales")
    values = np.frombuffer(stored, kind)
    if carry != "int8":
        return values.astype(np.float32)
    scale = np.frombuffer(scales, "<f4")
    q = values.reshape((-1, rows) if columns else (rows, -1)).astype(np.float32)
    return (q * (scale if columns else scale[:, None])).reshape(-1)
