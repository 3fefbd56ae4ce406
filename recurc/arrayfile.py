"""Reading `.npy` files: one array of numbers whose header claims no more than the file has."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import BinaryIO

import numpy as np

from recurc.errors import printable
from recurc.reading import Unreadable, open_regular, read_into, read_part, shown, size_of

_MAGIC = b"\x93NUMPY"
_LONGEST_HEADER = 4096  # NumPy writes 118 bytes for an array of plain numbers
_DIMENSION = 2**31 - 1
# What NumPy writes for an array of plain numbers, and nothing else of Python's syntax.
_HEADER = re.compile(
    r"\{'descr': '([<>|=]?[a-zA-Z]\d{0,4})', 'fortran_order': (True|False), "
    r"'shape': \(((?:\d{1,19}, ?)*(?:\d{1,19})?)\),? ?\}[ \n]*"
)


def read_npy(path: Path, kinds: str, ndim: int) -> np.ndarray:
    """The array of a `.npy` file, in memory.

    Args:
        kinds: NumPy's letters for the kinds of numbers that are taken: "iu" for whole ones.
        ndim: number of its dimensions.

    Raises:
        Unreadable: no such array, or fewer bytes than its shape takes.
    """
    with open_regular(path) as file:
        size = size_of(file)
        if not size:
            raise Unreadable("the file is empty")
        start, header = _header(file, size)
        match = _HEADER.fullmatch(header)
        if header.startswith("{'descr': '|O'"):
            raise Unreadable("it holds pickled objects, which recurc never loads")
        if match is None:
            raise Unreadable(f"its header is not that of an array of numbers: {printable(header.strip(), 80)}")
        shape = tuple(int(n) for n in re.findall(r"\d+", match[3]))
        try:
            dtype = np.dtype(match[1])
        except (TypeError, ValueError):
            raise Unreadable(f"its numbers are of an unknown type, {shown(match[1])}") from None
        if len(shape) != ndim or dtype.kind not in kinds:
            raise Unreadable(f"expected whole numbers in {ndim} dimension(s), found {dtype} {_text(shape)}")
        count = math.prod(shape)
        if max(shape) > _DIMENSION or start + count * dtype.itemsize > size:
            raise Unreadable(
                f"it is truncated or damaged: it has {size} bytes, and its header claims {_text(shape)} numbers of "
                f"{dtype.itemsize} bytes"
            )
        data = np.empty(count, dtype)
        if count:
            read_into(file, start, memoryview(data.view(np.uint8)))
    return data.reshape(shape[::-1]).T if match[2] == "True" else data.reshape(shape)


def _header(file: BinaryIO, size: int) -> tuple[int, str]:
    """(where the numbers begin, the header's text)."""
    head = read_part(file, 0, min(size, 12))
    if head[:6] != _MAGIC:
        raise Unreadable("it is a pickle or other file, not an array: pickled objects are never loaded")
    if len(head) < 12 or head[6] not in (1, 2, 3):
        raise Unreadable("its header is incomplete or of an unknown version")
    width = 2 if head[6] == 1 else 4
    length = int.from_bytes(head[8 : 8 + width], "little")
    if length > min(_LONGEST_HEADER, size - 8 - width):
        raise Unreadable(f"its header claims {length} bytes, the file has {size}")
    return 8 + width + length, read_part(file, 8 + width, length).decode("latin-1")


def _text(shape: tuple[int, ...]) -> str:
    return "x".join(str(n) for n in shape[:8]) + ("x..." if len(shape) > 8 else "") if shape else "()"
