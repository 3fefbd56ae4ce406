"""The wire's messages: the bodies of requests and replies (runtime_c/SPEC.md, section "Wire"); `coding` frames them."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from recurc.device.bodies import row_body as row_body
from recurc.device.bodies import run_body as run_body
from recurc.device.bodies import solve_body as solve_body
from recurc.device.coding import LONGEST as LONGEST  # whoever speaks of messages speaks of frames  # fmt: skip
from recurc.device.coding import MAX_BODY as MAX_BODY
from recurc.device.coding import Frame as Frame
from recurc.device.coding import FrameError as FrameError
from recurc.device.coding import Receiver as Receiver
from recurc.device.coding import cobs_decode as cobs_decode
from recurc.device.coding import cobs_encode as cobs_encode
from recurc.device.coding import decode as decode
from recurc.device.coding import encode as encode
from recurc.device.statuses import STATUS_ARGUMENT as STATUS_ARGUMENT
from recurc.device.statuses import STATUS_FRAME as STATUS_FRAME
from recurc.device.statuses import STATUS_NUMBER as STATUS_NUMBER
from recurc.device.statuses import STATUS_ROW as STATUS_ROW
from recurc.device.statuses import STATUS_STATE as STATUS_STATE
from recurc.device.statuses import STATUS_STEPS as STATUS_STEPS
from recurc.device.statuses import STATUS_TABLE as STATUS_TABLE
from recurc.device.statuses import STATUS_TEXT as STATUS_TEXT
from recurc.device.statuses import status_text as status_text
from recurc.types import F32Array

VERSION = 7
MAX_NAME = 31
READ_HEADER = 8
MAX_READ = MAX_BODY - READ_HEADER
LOAD_HEADER = 4
MAX_LOAD = MAX_BODY - LOAD_HEADER
ROW_HEADER = 6
MAX_ROW = MAX_BODY - ROW_HEADER

HELLO, LOAD, RUN, READ, SELFTEST, RESET, EXIT, ROW, TRACE, SOLVE = range(1, 11)
REPLY = 0x80
STEP, BOOT, NAK, FAULT = 0xC3, 0xFD, 0xFE, 0xFF
RUN_BEGIN, RUN_HALT = 1, 2

TENSORS = {
    "z_H": 0, "z_L": 1, "logits": 2, "q": 3, "tokens": 4, "input": 5, "H_scale": 6, "L_scale": 7, "columns": 8, "answer": 9,
}  # fmt: skip
TENSOR_TYPES = {"tokens": "u1", "input": "u1", "answer": "u1"}  # the others are "<f4", but for the carry
CARRY_SCALES = {"z_H": "H_scale", "z_L": "L_scale"}
CARRY_PARTS = ("z_H", "H_scale", "z_L", "L_scale", "columns")  # what a carry checksum covers, as far as it is there
CARRIES = ("fp32", "fp16", "int8")
CARRY_TYPES = {"fp32": "<f4", "fp16": "<f2", "int8": "i1"}
TABLE_NONE, TABLE_MAPPED, TABLE_WIRE = range(3)
TABLE_STORAGES = ("", "fp32", "int8")

# Why a firmware started, and what raised a fault.
RESET_CAUSES = ("unknown", "power", "pin", "software", "watchdog")
FAULT_CAUSES = ("exception", "watchdog", "hardware watchdog")


def reset_cause(code: int) -> str:
    """A reset cause of rc_port.h in a word."""
    return RESET_CAUSES[code] if code < len(RESET_CAUSES) else "unknown"


def fault_cause(code: int) -> str:
    """What raised a fault, in a word or two."""
    return FAULT_CAUSES[code] if code < len(FAULT_CAUSES) else "unknown"


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

    Its number from 1, CRC-32 of carry, logits and tokens, both halting logits (and their bytes), ticks it took; the run that
    it is of, 0 outside of SOLVE.
    """

    step: int
    carry_crc: int
    logits_crc: int
    tokens_crc: int
    q_halt: float
    q_continue: float
    ticks: int
    q_bytes: bytes
    run: int = 0


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
class SolveResult:
    """End of a SOLVE: whether its answer is believed; steps of all runs; how often it was asked again; the run that the answer
    is of, the halting margin after that one's last step, how many runs had ended with its answer then, CRC-32 of the answer's
    tokens; ticks of all steps and of beginning runs, deepest stack use in bytes."""

    status: int
    solved: bool
    total_steps: int
    restarts: int
    run: int
    ticks: int
    stack_used: int
    margin: float
    answer_crc: int
    votes: int


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


class Layout:
    """Fields of a body, little-endian, one after the other: their names, and what they are as `struct` writes it.

    A field whose name begins with "zero" is reserved. `tail`: what follows them, "" (nothing), "names" or "data".
    """

    def __init__(self, name: str, fields: str = "", tail: str = "") -> None:
        self.name, self.tail = name, tail
        self.fields = tuple((field, code) for field, _, code in (word.partition(":") for word in fields.split()))
        self.struct = struct.Struct("<" + "".join(code for _, code in self.fields))
        self.size = self.struct.size

    def unpack(self, body: bytes) -> dict[str, Any]:
        """Values by name. Raises FrameError when the length is wrong or a reserved field is not zero."""
        if len(body) != self.size and not (self.tail and len(body) > self.size):
            raise FrameError(f"{self.name} has {len(body)} bytes instead of {self.size}")
        values = dict(zip((name for name, _ in self.fields), self.struct.unpack(body[: self.size]), strict=True))
        for name, value in values.items():
            if name.startswith("zero") and value:
                raise FrameError(f"{self.name} has {value} where it is reserved")
        return values

    def pack(self, values: Mapping[str, Any]) -> bytes:
        """The other way round."""
        return self.struct.pack(*(values[name] for name, _ in self.fields))


# All that a device sends, by type.
LAYOUTS: Mapping[int, Layout] = {
    HELLO | REPLY: Layout(
        "HELLO", "version:H status:B flags:B build_id:16s model_sha256:32s seq_len:I vocab:I rows:I hidden:I puzzles:I steps:I "
        "h_cycles:I l_cycles:I arena_bytes:I stack_bytes:I tick_hz:I image_bytes:I carry:B table_mode:B table_status:B "
        "table_storage:B record_bytes:I table_key:16s", "names"),
    LOAD | REPLY: Layout("LOAD", "crc:I"),
    RUN | REPLY: Layout("RESULT", "status:B halted:B steps:H total_steps:H zero:H ticks:Q stack_used:I"),
    SOLVE | REPLY: Layout(
        "ANSWER", "status:B solved:B total_steps:H restarts:H run:H ticks:Q stack_used:I margin:f answer_crc:I votes:H"),
    READ | REPLY: Layout("DATA", "offset:I size:I", "data"),
    SELFTEST | REPLY: Layout(
        "SELFTEST", "status:I image_bytes:I image_crc:I table_bytes:I table_crc:I image_sha256:32s table_sha256:32s"),
    RESET | REPLY: Layout("RESET"),
    EXIT | REPLY: Layout("EXIT"),
    ROW | REPLY: Layout("ROW", "held:H whole:B zero:B"),
    TRACE | REPLY: Layout("TRACE", "step:H ops:H of:H zero:H carry_crc:I ticks:Q"),
    STEP: Layout("STEP", "step:H carry_crc:I logits_crc:I tokens_crc:I q_bytes:8s ticks:Q run:H"),
    BOOT: Layout("BOOT", "cause:B status:B"),
    NAK: Layout("NAK", "status:B type:B"),
    FAULT: Layout("FAULT", "pc:I lr:I cfsr:I hfsr:I mmfar:I bfar:I cause:I"),
}  # fmt: skip


def _flag(value: int, name: str) -> bool:
    if value > 1:
        raise FrameError(f"{name} is {value}, neither 0 nor 1")
    return bool(value)


def printable(raw: bytes) -> str:
    """A name as HELLO tells it: what is not printable ASCII becomes U+FFFD, so that nothing else reaches a terminal."""
    return "".join(chr(byte) if 32 <= byte < 127 else "\N{REPLACEMENT CHARACTER}" for byte in raw)


def told_name(name: str) -> str:
    """What a firmware that was built with a name tells of it."""
    return printable(name.encode()[:MAX_NAME])


def _name(data: bytes) -> tuple[str, bytes]:
    """A name of HELLO, and what follows it."""
    if not data or data[0] > MAX_NAME or len(data) < 1 + data[0]:
        raise FrameError("HELLO's names are cut off or too long")
    return printable(data[1 : 1 + data[0]]), data[1 + data[0] :]


def parse_hello(body: bytes) -> Hello:
    """HELLO's reply. Raises FrameError when it is malformed."""
    layout = LAYOUTS[HELLO | REPLY]
    v = layout.unpack(body)
    board, rest = _name(body[layout.size :])
    model, rest = _name(rest)
    carry, mode, storage, flags = v.pop("carry"), v["table_mode"], v.pop("table_storage"), v.pop("flags")
    if carry >= len(CARRIES) or mode > TABLE_WIRE or storage >= len(TABLE_STORAGES):
        raise FrameError(f"HELLO tells carry type {carry}, table mode {mode}, table type {storage}")
    if rest or flags & ~_HELLO_FLAGS:
        raise FrameError(f"HELLO has {len(rest)} bytes after its names and flags {flags:#04x}")
    for name in ("build_id", "model_sha256", "table_key"):
        v[name] = v[name].hex()
    return Hello(**v, can_exit=bool(flags & 1), carry=CARRIES[carry], table_storage=TABLE_STORAGES[storage], board=board,
                 model=model, reset_cause=reset_cause(flags >> 4))  # fmt: skip


_HELLO_FLAGS = 0x71  # EXIT ends the program; three bits of why the firmware started


def hello_version(body: bytes) -> int:
    """Protocol version of HELLO's reply, which stands first in every version. Raises FrameError when it is cut off."""
    if len(body) < 2:
        raise FrameError(f"HELLO has {len(body)} bytes")
    return int.from_bytes(body[:2], "little")


def parse_step(body: bytes) -> StepEvent:
    """A STEP event. Raises FrameError when it is malformed."""
    v = LAYOUTS[STEP].unpack(body)
    halt, go_on = struct.unpack("<2f", v["q_bytes"])
    return StepEvent(**v, q_halt=halt, q_continue=go_on)


def parse_result(body: bytes) -> RunResult:
    """RUN's reply. Raises FrameError when it is malformed."""
    v = LAYOUTS[RUN | REPLY].unpack(body)
    v.pop("zero")
    return RunResult(**{**v, "halted": _flag(v["halted"], "RESULT's halted")})


def parse_solve(body: bytes) -> SolveResult:
    """SOLVE's reply. Raises FrameError when it is malformed."""
    v = LAYOUTS[SOLVE | REPLY].unpack(body)
    return SolveResult(**{**v, "solved": _flag(v["solved"], "ANSWER's solved")})


def parse_trace(body: bytes) -> TraceEvent:
    """TRACE's reply. Raises FrameError when it is malformed."""
    v = LAYOUTS[TRACE | REPLY].unpack(body)
    v.pop("zero")
    return TraceEvent(**v)


def parse_row(body: bytes) -> tuple[int, bool]:
    """ROW's reply: (bytes of the record that the device holds, whether the row is whole). Raises FrameError."""
    v = LAYOUTS[ROW | REPLY].unpack(body)
    return v["held"], _flag(v["whole"], "ROW's whole")


def parse_crc(body: bytes) -> int:
    """LOAD's reply: CRC-32 of the input row. Raises FrameError."""
    return int(LAYOUTS[LOAD | REPLY].unpack(body)["crc"])


def parse_data(body: bytes) -> tuple[int, int]:
    """Head of READ's reply: (offset, bytes of the whole tensor). Raises FrameError."""
    v = LAYOUTS[READ | REPLY].unpack(body)
    return v["offset"], v["size"]


def parse_empty(body: bytes) -> None:
    """Reply to RESET or EXIT. Raises FrameError when it is not empty."""
    LAYOUTS[RESET | REPLY].unpack(body)


def parse_fault(body: bytes) -> Fault:
    """A FAULT frame. Raises FrameError when it is malformed."""
    return Fault(**LAYOUTS[FAULT].unpack(body))


def parse_boot(body: bytes) -> str:
    """Why the firmware started, from a BOOT frame. Raises FrameError when it is malformed."""
    return reset_cause(LAYOUTS[BOOT].unpack(body)["cause"])


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
    scale: F32Array = np.frombuffer(scales, "<f4")
    q: F32Array = values.reshape((-1, rows) if columns else (rows, -1)).astype(np.float32)
    return (q * (scale if columns else scale[:, None])).reshape(-1)
