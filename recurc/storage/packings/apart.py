"""Apart: tiles of 4 channels for portable C."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recurc.storage.packings.packing import Groups, Integers, Packing


def _apart(full: np.ndarray) -> bytes:
    """Values 0..15 [tiles, 4, k]: two words each four k, one a pair of channels; bits 4i to 4i + 3 of a half are k + i."""
    fours = full.reshape(len(full), 4, -1, 4) @ (1 << 4 * np.arange(4))  # [tiles, channel, k/4]
    return np.ascontiguousarray(fours.swapaxes(1, 2)).astype("<u2").tobytes()


def _together(data: bytes, depth: int) -> np.ndarray:
    """The inverse of `_apart`: [channels, depth]."""
    fours = np.frombuffer(data, "<u2").reshape(-1, depth // 4, 4).swapaxes(1, 2)  # [tiles, channel, k/4]
    return (fours[..., None] >> (4 * np.arange(4)) & 15).reshape(-1, depth)


@dataclass(frozen=True)
class ApartIntegers(Integers):
    """int4: two words each four k, one a pair of channels that lie 16 bits apart in it: bits 4i to 4i + 3 are w of k + i.
    int8: [k][4] bytes."""

    def operands(self, q: np.ndarray) -> bytes:
        full = self.full(q)
        if self.bits == 8:
            return np.ascontiguousarray(full.swapaxes(1, 2)).astype(np.int8).tobytes()
        return _apart(full)

    def values(self, operands: bytes, n: int, k: int) -> np.ndarray:
        depth = self.packing.padded(k)
        if self.bits == 8:
            return np.frombuffer(operands, np.int8).reshape(-1, depth, 4).swapaxes(1, 2).reshape(-1, depth)[:n, :k]
        return _together(operands, depth)[:n, :k]


class ApartGroups(Groups):
    """As int4's operands, of q + 8."""

    def operands(self, q: np.ndarray) -> bytes:
        return _apart(self.full(q + 8, self.packing.lanes))

    def values(self, operands: bytes, n: int, k: int) -> np.ndarray:
        return (_together(operands, self.packing.padded(k))[:n, :k] - 8).astype(np.int16)


@dataclass(frozen=True)
class Apart(Packing):
    """Tiles of 4 channels."""

    integers = ApartIntegers
    groups = ApartGroups


APART = Apart(4, 4, group_flip=0x88888888)
