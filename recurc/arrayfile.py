"""Reading `.npy` files: one array of numbers whose header claims no more than the file has."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recurc.errors import printable
from recurc.reading import Unreadable, open_regular, read_into, read_part, shown, size_of

MAGIC = b"\x93NUMPY"
_LONGEST_HEADER = 4096  # NumPy writes 118 bytes for an array of plain numbers
_AXES = 32
_DIMENSION = 2**31 - 1
# What NumPy writes for an array of plain numbers, and nothing else of Python's syntax.
_HEADER = re.compile(
    r"\{'descr': '([<>|=]?[a-zA-Z]\d{0,4})', 'fortran_order': (True|False), "
    r"'shape': \(((?:\d{1,19}, ?)*(?:\d{1,19})?)\),? ?\}[ \n]*"
)


@dataclass(frozen=True)
class _Layout:
    """What a header says: where the numbers begin, their type, the shape, and whether columns come first."""

    start: int
    dtype: np.dtype
    shape: tuple[int, ...]
    columns: bool

    def arranged(self, data: np.ndarray) -> np.ndarray:
        return data.reshape(self.shape[::-1]).T if self.columns else data.reshape(self.shape)


def read_npy(path: Path, kinds: str, ndim: int | None = None) -> np.ndarray:
    """The array of a `.npy` file, in memory.

    Args:
        kinds: NumPy's letters for the kinds of numbers that are taken: "iu" for whole ones.
        ndim: number of its dimensions; None: any.

    Raises:
        Unreadable: no such array, or fewer bytes than its shape takes.
    """
    with open_regular(path) as file:
        size = size_of(file)
        layout = _layout(read_part(file, 0, min(size, _LONGEST_HEADER + 12)), size, kinds, ndim)
        data = np.empty(math.prod(layout.shape), layout.dtype)
        if data.size:
            read_into(file, layout.start, data.view(np.uint8).data)
    return layout.arranged(data)


def npy_of(data: bytes, kinds: str, ndim: int | None = None) -> np.ndarray:
    """The array in a `.npy` file's bytes, read only; arguments and errors as of `read_npy`."""
    layout = _layout(data[: _LONGEST_HEADER + 12], len(data), kinds, ndim)
    count = math.prod(layout.shape)
    return layout.arranged(np.frombuffer(data, layout.dtype, count, layout.start) if count else np.empty(0, layout.dtype))


def _layout(head: bytes, size: int, kinds: str, ndim: int | None) -> _Layout:
    """The header at the start of a file of `size` bytes."""
    if not size:
        raise Unreadable("the file is empty")
    start, header = _header(head, size)
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
    if len(shape) != (len(shape) if ndim is None else ndim) or len(shape) > _AXES or dtype.kind not in kinds:
        numbers = "whole numbers" if "f" not in kinds else "numbers"
        where = "a few dimensions" if ndim is None else f"{ndim} dimension(s)"
        raise Unreadable(f"expected {numbers} in {where}, found {dtype} {_text(shape)}")
    if max(shape, default=0) > _DIMENSION or start + math.prod(shape) * dtype.itemsize > size:
        raise Unreadable(
            f"it is truncated or damaged: it has {size} bytes, and its header claims {_text(shape)} numbers of "
            f"{dtype.itemsize} bytes"
        )
    return _Layout(start, dtype, shape, match[2] == "True")


def _header(head: bytes, size: int) -> tuple[int, str]:
    """(where the numbers begin, the header's text)."""
    if head[:6] != MAGIC:
        raise Unreadable("it is a pickle or other file, not an array: pickled objects are never loaded")
    if len(head) < 12 or head[6] not in (1, 2, 3):
        raise Unreadable("its header is incomplete or of an unknown version")
    width = 2 if head[6] == 1 else 4
    length = int.from_bytes(head[8 : 8 + width], "little")
    if length > min(_LONGEST_HEADER, size - 8 - width):
        raise Unreadable(f"its header claims {length} bytes, the file has {size}")
    return 8 + width + length, head[8 + width : 8 + width + length].decode("latin-1")


def _text(shape: tuple[int, ...]) -> str:
    return "x".join(str(n) for n in shape[:8]) + ("x..." if len(shape) > 8 else "") if shape else "()"
