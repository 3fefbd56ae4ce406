"""How frames go over the wire: COBS, CRC-32, and the receiver that finds them in a stream (runtime_c/SPEC.md, "Frames")."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

MAX_BODY = 1024
LONGEST = 1036  # bytes between two delimiters; what is longer is no frame


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
    """Splits a byte stream into frames. However much comes without a delimiter, it keeps no more than the longest frame."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def push(self, data: bytes) -> list[Frame | FrameError]:
        """Frames completed by `data`, malformed ones as the FrameError they raise."""
        found: list[Frame | FrameError] = []
        *ended, rest = data.split(b"\0")
        for part in ended:
            self._keep(part)
            if self._buffer:
                found.append(self._frame())
            self._buffer.clear()
        self._keep(rest)
        return found

    def _keep(self, part: bytes) -> None:
        self._buffer += part[: LONGEST + 1 - len(self._buffer)]  # one more than the longest shows that it was longer

    def _frame(self) -> Frame | FrameError:
        if len(self._buffer) > LONGEST:
            return FrameError(f"more than {LONGEST} bytes without a delimiter")
        try:
            return decode(bytes(self._buffer))
        except FrameError as e:
            return e
