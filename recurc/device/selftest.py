"""SELFTEST's frames: a nonce goes to the device, sums over its memory come back (runtime_c/SPEC.md, section "Proof")."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from recurc.device.frames import FrameError

NONCE_BYTES = 16
_REPLY = struct.Struct("<5I32s32s")


@dataclass(frozen=True)
class Selftest:
    """What lies in the device's memory.

    Status of its image; size, CRC-32 and sha256(nonce, bytes) of the whole image, and of the mapped puzzle table (zeros where
    there is none).
    """

    status: int
    image_bytes: int
    image_crc: int
    table_bytes: int
    table_crc: int
    image_sha256: bytes
    table_sha256: bytes


def parse_selftest(body: bytes) -> Selftest:
    """SELFTEST's reply. Raises FrameError when it is malformed."""
    if len(body) != _REPLY.size:
        raise FrameError(f"SELFTEST has {len(body)} bytes instead of {_REPLY.size}")
    return Selftest(*_REPLY.unpack(body))
