"""The weights image `model.rcm`: written here, read by runtime_c/image/rc_image.c; layout in runtime_c/SPEC.md."""

from __future__ import annotations

import hashlib
import struct
import zlib
from dataclasses import dataclass
from typing import Sequence

import numpy as np

from recurc.errors import InputError
from recurc.plan.budget import IMAGE_ALIGN as ALIGN
from recurc.plan.budget import IMAGE_ENTRY_BYTES, IMAGE_HEADER_BYTES
from recurc.plan.kernels import KernelSet
from recurc.quant.model import QuantizedModel

MAGIC = b"RCM1"
ENDIAN_MARK = 0x01020304
VERSION = (1, 0)
ARITHMETIC_ID = 2
HEADER = struct.Struct("<4sIHHIIIIIII32s52xI")
ENTRY = struct.Struct("<IIIII12x")
KINDS = {"table": 1, "vector": 2, "weights": 3, "scales": 4, "zeros": 5, "groups": 6}

assert (HEADER.size, ENTRY.size) == (IMAGE_HEADER_BYTES, IMAGE_ENTRY_BYTES)


@dataclass(frozen=True)
class Section:
    """One section: kind (see KINDS), a name for people and generated code, byte offset in the image, size."""

    kind: str
    name: str
    offset: int
    bytes: int


@dataclass(frozen=True)
class Image:
    """A whole image: its bytes, its sections in order, and the sha256 of its body (the model's identity)."""

    data: bytes
    sections: tuple[Section, ...]
    packing: int
    sha256: str

    def section(self, name: str) -> Section:
        return next(s for s in self.sections if s.name == name)


def _up(n: int) -> int:
    return -(-n // ALIGN) * ALIGN


def _blobs(model: QuantizedModel, kernels: KernelSet) -> list[tuple[str, str, bytes]]:
    blobs = [("table", f"table.{role}", np.ascontiguousarray(t, dtype="<f4").tobytes())
             for role, t in model.tables.items()]
    blobs += [("vector", name, v.astype("<f4").tobytes()) for name, v in model.vectors.items()]
    if model.puzzles:  # the model's identity covers the table that belongs to it
        blobs.append(("vector", "puzzle_key", model.puzzles.key))
    for name, v in model.rope_vectors().items():
        blobs.append(("table", name, np.ascontiguousarray(v, dtype="<f4").tobytes()))
    for ref in model.program.linears:
        for kind, data in kernels.pack(ref, model.weights[ref.name]).items():
            blobs.append((kind, f"{ref.name}:{kind}", data))
    return blobs


def build_image(model: QuantizedModel, kernels: KernelSet) -> Image:
    """Pack a quantized model for a kernel set. Deterministic: equal models give equal bytes."""
    blobs = _blobs(model, kernels)
    offset = _up(HEADER.size + ENTRY.size * len(blobs))
    body_start = offset
    sections, table, parts = [], b"", []
    for index, (kind, name, data) in enumerate(blobs):
        sections.append(Section(kind, name, offset, len(data)))
        table += ENTRY.pack(KINDS[kind], index, offset, len(data), zlib.crc32(data))
        parts.append(data + bytes(_up(len(data)) - len(data)))
        offset += _up(len(data))
    body = table + bytes(body_start - HEADER.size - len(table)) + b"".join(parts)
    digest = hashlib.sha256(body)
    fields = (MAGIC, ENDIAN_MARK, *VERSION, 0, ARITHMETIC_ID, kernels.packing, len(blobs), offset, HEADER.size,
              zlib.crc32(table), digest.digest())
    crc = zlib.crc32(HEADER.pack(*fields, 0)[:-4])
    data = HEADER.pack(*fields, crc) + body
    assert len(data) == offset
    return Image(data, tuple(sections), kernels.packing, digest.hexdigest())


def check_image(data: bytes, where: str = "image") -> Sequence[tuple[int, int, int]]:
    """Check an image's checksums and bounds; returns (kind, offset, bytes) of its sections.

    Raises:
        InputError: not an image, truncated, or corrupt; says where.
    """
    def bad(why: str) -> InputError:
        return InputError("the weights image is not usable", where=where, why=why, next="build it again")

    if len(data) < HEADER.size or data[:4] != MAGIC:
        raise bad("it does not start with RCM1")
    fields = HEADER.unpack(data[:HEADER.size])
    _, endian, major, _, flags, arithmetic, _, count, total, table_at, table_crc, digest, crc = fields
    if crc != zlib.crc32(data[:HEADER.size - 4]):
        raise bad("the header's CRC is wrong")
    if endian != ENDIAN_MARK or major != VERSION[0] or flags or arithmetic != ARITHMETIC_ID:
        raise bad(f"version {major}, flags {flags:#x}, arithmetic {arithmetic} are not what this recurc writes")
    if total != len(data) or table_at + count * ENTRY.size > total:
        raise bad(f"it has {len(data)} bytes and its header says {total}")
    table = data[table_at:table_at + count * ENTRY.size]
    if table_crc != zlib.crc32(table):
        raise bad("the section table's CRC is wrong")
    sections, end = [], table_at + count * ENTRY.size
    for i in range(count):
        kind, index, offset, size, section_crc = ENTRY.unpack_from(table, i * ENTRY.size)
        if index != i or offset % ALIGN or offset + size > total:
            raise bad(f"section {i} lies outside the image")
        if offset < end:
            raise bad(f"section {i} overlaps what comes before it")
        end = offset + size
        if section_crc != zlib.crc32(data[offset:offset + size]):
            raise bad(f"the CRC of section {i} is wrong")
        sections.append((kind, offset, size))
    if hashlib.sha256(data[HEADER.size:]).digest() != digest:
        raise bad("its sha256 is wrong")
    return sections
