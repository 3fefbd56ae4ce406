"""Lanes: channels side by side as a vector's lanes, for RISC-V V."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recurc.storage.packings.packing import Groups, Integers, Packing
from recurc.types import I64Array


def _nibbles(full: np.ndarray) -> bytes:
    """Values 0..15 [tiles, tile, k]: [k/2][tile] bytes, the lower k in the low nibble."""
    lanes: I64Array = full.swapaxes(1, 2)  # [tiles, k, tile]
    return (lanes[:, 0::2] + 16 * lanes[:, 1::2]).astype(np.uint8).tobytes()


def _of_nibbles(data: bytes, tile: int, depth: int) -> np.ndarray:
    """The inverse of `_nibbles`: [channels, depth]."""
    both = np.frombuffer(data, np.uint8).reshape(-1, depth // 2, 1, tile)
    lanes = np.concatenate((both & 15, both >> 4), axis=2).reshape(-1, depth, tile)
    return lanes.swapaxes(1, 2).reshape(-1, depth).astype(np.int16)


@dataclass(frozen=True)
class LaneIntegers(Integers):
    """int4: [k/2][tile] bytes, the lower k in the low nibble; int8: [k][tile]."""

    def operands(self, q: np.ndarray) -> bytes:
        full = self.full(q)
        return np.ascontiguousarray(full.swapaxes(1, 2)).astype(np.int8).tobytes() if self.bits == 8 else _nibbles(full)

    def values(self, operands: bytes, n: int, k: int) -> np.ndarray:
        tile, depth = self.packing.tile, self.packing.padded(k)
        if self.bits == 8:
            return np.frombuffer(operands, np.int8).reshape(-1, depth, tile).swapaxes(1, 2).reshape(-1, depth)[:n, :k]
        return _of_nibbles(operands, tile, depth)[:n, :k]


class LaneGroups(Groups):
    """As int4's operands, in two's complement."""

    def operands(self, q: np.ndarray) -> bytes:
        return _nibbles(self.full(q & 15))

    def values(self, operands: bytes, n: int, k: int) -> np.ndarray:
        q = _of_nibbles(operands, self.packing.tile, self.packing.padded(k))[:n, :k]
        return np.where(q > 7, q - 16, q).astype(np.int16)


@dataclass(frozen=True)
class Lanes(Packing):
    """Tiles of 32 channels."""

    integers = LaneIntegers
    groups = LaneGroups

    lanes: int = 32


LANES = Lanes(8, 32, 16)
