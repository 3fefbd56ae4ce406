"""Images that were changed by somebody who knows the format: every CRC-32 fits again."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

from elftools.elf.elffile import ELFFile

HEADER, ENTRY, HEADER_CRC, TABLE_CRC, RESERVED, SHA, ARCHITECTURE = 128, 32, 124, 36, 100, 40, 72
WEIGHTS = 3
Change = Callable[[bytearray], None]


def sections(image: bytes) -> list[tuple[int, int, int]]:
    """(kind, offset, bytes) of an image's sections."""
    count = struct.unpack_from("<I", image, 24)[0]
    return [
        (kind, at, size)
        for kind, _, at, size, _ in (struct.unpack_from("<5I", image, HEADER + ENTRY * i) for i in range(count))
    ]


def with_right_checksums(image: bytearray) -> None:
    """Make all CRC-32s of an image fit its bytes."""
    found = sections(image)
    for i, (_, at, size) in enumerate(found):
        struct.pack_into("<I", image, HEADER + ENTRY * i + 16, zlib.crc32(image[at : at + size]))
    struct.pack_into("<I", image, TABLE_CRC, zlib.crc32(image[HEADER : HEADER + ENTRY * len(found)]))
    struct.pack_into("<I", image, HEADER_CRC, zlib.crc32(image[:HEADER_CRC]))


def weight_bytes(image: bytearray, most: int = 8192) -> None:
    """Change so many bytes of weights, or all there are, in the lowest bit."""
    places = [i for kind, at, size in sections(image) if kind == WEIGHTS for i in range(at, at + size)][:most]
    assert len(places) == most
    for i in places:
        image[i] ^= 1
    with_right_checksums(image)


def one_weight_bit(image: bytearray) -> None:
    weight_bytes(image, 1)


def padding(image: bytearray) -> None:
    """A byte that belongs to no section."""
    at, size = next((at, size) for _, at, size in sections(image) if size % 64)
    assert image[at + size] == 0
    image[at + size] = 1
    with_right_checksums(image)


def reserved(image: bytearray) -> None:
    """A byte of the header that has no meaning yet; no sha256 in the image covers it."""
    image[RESERVED + 5] = 1
    with_right_checksums(image)


def minor(image: bytearray) -> None:
    struct.pack_into("<H", image, 10, 7)
    with_right_checksums(image)


def swapped(image: bytearray) -> None:
    """The contents of two sections of one kind and size exchanged."""
    found = sections(image)
    (_, a, size), (_, b, _) = next(
        (x, y)
        for i, x in enumerate(found)
        for y in found[i + 1 :]
        if (x[0], x[2]) == (y[0], y[2]) and image[x[1] : x[1] + x[2]] != image[y[1] : y[1] + y[2]]
    )
    image[a : a + size], image[b : b + size] = image[b : b + size], image[a : a + size]
    with_right_checksums(image)


def forged_elf(elf: Path, out: Path, change: Change) -> Path:
    """A copy of a firmware with its image changed."""
    data = bytearray(elf.read_bytes())
    with open(elf, "rb") as file:
        found = ELFFile(file)
        table = found.get_section_by_name(".symtab")
        start, end = (table.get_symbol_by_name(f"rc_image_{which}")[0]["st_value"] for which in ("start", "end"))
        segment = next(
            s
            for s in found.iter_segments()
            if s["p_type"] == "PT_LOAD" and s["p_vaddr"] <= start < s["p_vaddr"] + s["p_filesz"]
        )
        at = segment["p_offset"] + start - segment["p_vaddr"]
    image = data[at : at + end - start]
    assert image[:4] == b"RCM1"
    change(image)
    data[at : at + end - start] = image
    out.write_bytes(data)
    out.chmod(0o755)
    return out


def with_whole_crc(image: bytearray, wanted: int) -> None:
    """Make the CRC-32 of the whole image `wanted` too, by four bytes of padding: CRC-32 is affine in them."""
    at = next(at + size for _, at, size in sections(image) if -size % 64 >= 4)
    assert not any(image[at : at + 4])

    def crc(word: int) -> int:
        struct.pack_into("<I", image, at, word)
        return zlib.crc32(image)

    none = crc(0)
    basis: list[tuple[int, int]] = []  # (change of the CRC, word that makes it), with distinct leading bits
    for bit in range(32):
        change, word = crc(1 << bit) ^ none, 1 << bit
        for other, by in basis:
            if change ^ other < change:
                change, word = change ^ other, word ^ by
        basis.append((change, word))
        basis.sort(reverse=True)
    left, word = wanted ^ none, 0
    for change, by in basis:
        if left ^ change < left:
            left, word = left ^ change, word ^ by
    assert crc(word) == wanted
