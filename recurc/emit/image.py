"""The weights image `model.rcm`: written here, read by runtime_c/image/rc_image.c; layout in runtime_c/SPEC.md."""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from recurc.emit.architecture import ARCHITECTURE_BYTES, Facts, digest, facts
from recurc.errors import InputError
from recurc.ir.program import Program
from recurc.plan.budget import image_up
from recurc.plan.kernels import KernelSet
from recurc.quant.model import QuantizedModel
from recurc.storage.form import Forms, forms_of
from recurc.storage.image import IMAGE_ALIGN as ALIGN
from recurc.storage.image import IMAGE_ENTRY_BYTES, IMAGE_HEADER_BYTES, KINDS, SectionSpec, image_sections

MAGIC = b"RCM1"
ENDIAN_MARK = 0x01020304
VERSION = (1, 1)
ARITHMETIC_ID = 2
HEADER = struct.Struct(f"<4sIHHIIIIIII32s{ARCHITECTURE_BYTES}sI32xI")
ENTRY = struct.Struct("<IIIII12x")

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
    """A whole image: its bytes, its sections in order, the sha256 of its body (the model's identity), and the architecture
    that code must have to take it."""

    data: bytes
    sections: tuple[Section, ...]
    packing: int
    sha256: str
    architecture: bytes

    def section(self, name: str) -> Section:
        return next(s for s in self.sections if s.name == name)


def _place(contents: Sequence[SectionSpec]) -> tuple[tuple[Section, ...], int]:
    """Sections one after the other, and the size of the image."""
    offset, sections = image_up(HEADER.size + ENTRY.size * len(contents)), []
    for section in contents:
        sections.append(Section(section.kind, section.name, offset, section.bytes))
        offset += image_up(section.bytes)
    return tuple(sections), offset


def architecture(program: Program, forms: Forms, kernels: KernelSet) -> Facts:
    """What the code of a model depends on, whatever its weights are; see `recurc.emit.architecture`."""
    each = forms_of(program, forms)
    sections, _ = _place(image_sections(program, each, kernels.weights))
    return facts(program, each, kernels, ARITHMETIC_ID, [(KINDS[s.kind], s.offset, s.bytes) for s in sections])


def build_image(model: QuantizedModel, kernels: KernelSet, counter: int = 0) -> Image:
    """Pack a quantized model for a kernel set. Deterministic: equal models give equal bytes.

    Args:
        counter: of updates, 0 to 2^32 - 1.
    """
    contents = image_sections(model.program, forms_of(model.program, model.forms), kernels.weights)
    sections, total = _place(contents)
    table, parts = b"", []
    for index, (section, placed) in enumerate(zip(contents, sections, strict=True)):
        data = section.write(model)
        assert len(data) == section.bytes, section.name
        table += ENTRY.pack(KINDS[section.kind], index, placed.offset, len(data), zlib.crc32(data))
        parts.append(data + bytes(image_up(len(data)) - len(data)))
    body = table + bytes(sections[0].offset - HEADER.size - len(table)) + b"".join(parts)
    sha256, pinned = hashlib.sha256(body), digest(architecture(model.program, model.forms, kernels))
    fields = (
        MAGIC,
        ENDIAN_MARK,
        *VERSION,
        0,
        ARITHMETIC_ID,
        kernels.packing,
        len(contents),
        total,
        HEADER.size,
        zlib.crc32(table),
        sha256.digest(),
        pinned,
        counter,
    )
    crc = zlib.crc32(HEADER.pack(*fields, 0)[:-4])
    data = HEADER.pack(*fields, crc) + body
    assert len(data) == total
    return Image(data, sections, kernels.packing, sha256.hexdigest(), pinned)


def architecture_in(data: bytes) -> bytes:
    """The digest of its architecture that a whole image tells."""
    told: bytes = HEADER.unpack(data[: HEADER.size])[12]
    return told


def check_image(data: bytes, where: str = "image") -> Sequence[tuple[int, int, int]]:
    """Check an image's checksums and bounds; returns (kind, offset, bytes) of its sections.

    Raises:
        InputError: not an image, truncated, or corrupt; says where.
    """

    def bad(why: str) -> InputError:
        return InputError("the weights image is not usable", where=where, why=why, next="build it again")

    if len(data) < HEADER.size or data[:4] != MAGIC:
        raise bad("it does not start with RCM1")
    fields = HEADER.unpack(data[: HEADER.size])
    _, endian, major, _, flags, arithmetic, _, count, total, table_at, table_crc, sha256, _, _, crc = fields
    if crc != zlib.crc32(data[: HEADER.size - 4]):
        raise bad("the header's CRC is wrong")
    if endian != ENDIAN_MARK or major != VERSION[0] or flags or arithmetic != ARITHMETIC_ID:
        raise bad(f"version {major}, flags {flags:#x}, arithmetic {arithmetic} are not what this recurc writes")
    if total != len(data) or table_at + count * ENTRY.size > total:
        raise bad(f"it has {len(data)} bytes and its header says {total}")
    table = data[table_at : table_at + count * ENTRY.size]
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
        if section_crc != zlib.crc32(data[offset : offset + size]):
            raise bad(f"the CRC of section {i} is wrong")
        sections.append((kind, offset, size))
    if hashlib.sha256(data[HEADER.size :]).digest() != sha256:
        raise bad("its sha256 is wrong")
    return sections
