"""The puzzle table file, to the bit (runtime_c/SPEC.md, section "Puzzle table file"): header, records, their CRC.

Written by `quant/tables.py`, read by `build/tablefile.py` and on the device by runtime_c/image/rc_table.c.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

import numpy as np

from recurc.types import F32Array

MAGIC = b"RCT1"
ENDIAN_MARK = 0x01020304
VERSION = (1, 0)
STORAGES = ("fp32", "int8")  # dtype 0 and 1
MAX_RECORD = 0xFFFF  # an offset in a record has 16 bits on the wire
HEADER = struct.Struct("<4sIHHIIIIIQ16s68xI")
CRC_BYTES = 4
_SCALE_BYTES = 4
_LARGEST = np.finfo(np.float32).max

assert HEADER.size == 128


class TableError(ValueError):
    """Bytes that are no header of a table, or no record of it; the text says why."""


def record_bytes(storage: str, dim: int) -> int:
    """Size of a record: [scale f32, int8 only][row, padded with zeros to 4 bytes][CRC]."""
    return (4 * dim if storage == "fp32" else _SCALE_BYTES + -(-dim // 4) * 4) + CRC_BYTES


@dataclass(frozen=True)
class TableHeader:
    """What a table says of itself: type of its rows, their number and length, and the key of model and storage."""

    storage: str
    rows: int
    dim: int
    key: bytes

    @property
    def record_bytes(self) -> int:
        return record_bytes(self.storage, self.dim)

    @property
    def file_bytes(self) -> int:
        return HEADER.size + self.rows * self.record_bytes

    def pack(self) -> bytes:
        """The file's first 128 bytes."""
        fields = (MAGIC, ENDIAN_MARK, *VERSION, 0, STORAGES.index(self.storage), self.rows, self.dim, self.record_bytes,
                  self.file_bytes, self.key)  # fmt: skip
        return HEADER.pack(*fields, zlib.crc32(HEADER.pack(*fields, 0)[:-4]))

    def crc(self, index: int, body: bytes | memoryview) -> int:
        """CRC of the record of row `index`: over key, index and the record's other bytes."""
        return zlib.crc32(body, zlib.crc32(index.to_bytes(4, "little"), zlib.crc32(self.key)))


def unpack_header(data: bytes) -> TableHeader:
    """The header at the start of a table file.

    Raises:
        TableError: not a table, cut off, damaged, or of a version or with flags that this recurc does not know.
    """
    if data[:4] != MAGIC:
        raise TableError("it does not start with RCT1")
    if len(data) < HEADER.size:
        raise TableError(f"it has {len(data)} bytes, its header alone has {HEADER.size}")
    _, endian, major, minor, flags, dtype, rows, dim, record, total, key, crc = HEADER.unpack(data[: HEADER.size])
    if crc != zlib.crc32(data[: HEADER.size - 4]):
        raise TableError("the header's CRC is wrong")
    if endian != ENDIAN_MARK or major != VERSION[0] or flags or dtype >= len(STORAGES):
        raise TableError(f"version {major}.{minor}, flags {flags:#x}, type {dtype} are not what this recurc reads")
    header = TableHeader(STORAGES[dtype], rows, dim, key)
    if not dim or record != header.record_bytes or total != header.file_bytes:
        raise TableError(f"its sizes do not go together: {rows} rows of {dim}, {record} bytes a record, {total} in all")
    return header


def decode_record(header: TableHeader, index: int, record: bytes) -> np.ndarray:
    """float32 [dim] of a record, exactly as the device decodes it (rc_table_decode).

    Raises:
        TableError: wrong size, wrong CRC for this key and index, or a scale or value that is not finite.
    """
    if len(record) != header.record_bytes:
        raise TableError(f"a record of {len(record)} bytes instead of {header.record_bytes}")
    body = record[:-CRC_BYTES]
    if header.crc(index, body) != int.from_bytes(record[-CRC_BYTES:], "little"):
        raise TableError("its CRC is wrong")
    if header.storage == "fp32":
        row = np.frombuffer(body, "<f4")
        if not np.isfinite(row).all():
            raise TableError("a value is not finite")
        return row.astype(np.float32)
    scale: np.float32 = np.frombuffer(body, "<f4", 1)[0]
    with np.errstate(over="ignore"):
        if not (scale >= 0 and scale * np.float32(128) <= _LARGEST):
            raise TableError(f"its scale is {scale}")
    values: F32Array = np.frombuffer(body, "i1", header.dim, _SCALE_BYTES).astype(np.float32)
    return values * scale
