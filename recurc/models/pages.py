"""Reading arrays that are larger than memory: in pieces, each piece's pages given back after use.

Pages of a mapped file count as the process's memory until something needs the room, so one pass over a table of
gigabytes would look (and, in a container with a limit, act) like holding it all.
"""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

CHUNK = 1 << 20  # elements a piece
_WORTH_IT = 1 << 23  # bytes: below this an array stays mapped; finding out what backs it would cost more
_DONTNEED = 4  # MADV_DONTNEED on Linux, the only system that has /proc/self/smaps


@dataclass(frozen=True)
class _Mapping:
    """One range of addresses: bounds, the file's inode (0: no file), and bytes that differ from the file."""

    start: int
    end: int
    inode: int
    private: bool
    changed: bool


def _mappings() -> Iterator[_Mapping]:
    """This process's mappings; none where the system does not tell."""
    for listing in ("/proc/self/smaps", "/proc/self/maps"):  # the second does not tell what was changed
        found: list[_Mapping] = []
        try:
            with open(listing) as file:
                for line in file:
                    first, _, rest = line.partition(" ")
                    if not first.endswith(":"):
                        start, end = (int(x, 16) for x in first.split("-"))
                        permissions, _, _, inode = rest.split()[:4]
                        found.append(_Mapping(start, end, int(inode), permissions[3] == "p", True))
                    elif first == "Anonymous:":
                        found[-1] = replace(found[-1], changed=int(rest.split()[0]) != 0)
        except (OSError, ValueError, IndexError):
            continue
        yield from found
        return


def _droppable(start: int, end: int) -> bool:
    """Whether all of a range is mapped from a file that still holds every byte of it.

    A private mapping with pages of its own has been written to: dropping those would bring the old values back.
    """
    at = start
    for m in _mappings():
        if m.start <= at < m.end:
            if not m.inode or (m.private and m.changed):
                return False
            at = m.end
            if at >= end:
                return True
    return False


def dropper(array: np.ndarray) -> Callable[[np.ndarray], None]:
    """A function that gives back the pages under a part of `array`, to be called when the part has been read.

    It does nothing where the array is small, not contiguous, or not mapped from a file. Nothing may write to the array
    while the function is in use.
    """
    start, size = array.__array_interface__["data"][0], array.nbytes
    if size < _WORTH_IT or not array.flags.c_contiguous or not _droppable(start, start + size):
        return lambda part: None
    madvise = ctypes.CDLL(None, use_errno=True).madvise
    madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]

    def drop(part: np.ndarray) -> None:
        at = part.__array_interface__["data"][0]
        first = at // mmap.PAGESIZE * mmap.PAGESIZE
        last = -(-(at + part.nbytes) // mmap.PAGESIZE) * mmap.PAGESIZE
        madvise(first, last - first, _DONTNEED)  # advice: when it is refused, memory is only less flat

    return drop


def pieces(array: np.ndarray, elements: int = CHUNK) -> Iterator[tuple[int, np.ndarray]]:
    """(first row, rows) of an array, about `elements` values at a time; each piece's pages are given back after it.

    A piece is a view: what is to last must be copied from it.
    """
    if not array.size:
        return
    drop = dropper(array)
    step = max(1, elements // max(1, array[0].size))
    for begin in range(0, len(array), step):
        part = array[begin : begin + step]
        yield begin, part
        drop(part)
