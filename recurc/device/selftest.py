"""SELFTEST's frames: a nonce goes to the device, sums over its memory come back (runtime_c/SPEC.md, section "Proof")."""

from __future__ import annotations

from dataclasses import dataclass

from recurc.device.frames import LAYOUTS, REPLY, SELFTEST

NONCE_BYTES = 16


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
    return Selftest(**LAYOUTS[SELFTEST | REPLY].unpack(body))
