"""Sixteens: vectors of 16 bytes along k, for Arm's MVE."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recurc.storage.packings.packing import GROUP, Groups, Integers, Packing, up


@dataclass(frozen=True)
class SixteenIntegers(Integers):
    """Channels in groups of four, a group 16 k at a time: int4 two vectors of 16 bytes, each byte w_j + 16 (w_j+1 - 8) of one
    k for two channels; int8 four vectors, one a channel."""

    @property
    def _vectors(self) -> int:
        return 4 if self.bits == 8 else 2

    def operands(self, q: np.ndarray) -> bytes:
        full, depth = self.full(q), self.packing.depth
        if self.bits != 8:
            full = full[:, 0::2] + 16 * (full[:, 1::2] - 8)
        steps = full.reshape(-1, self._vectors, full.shape[2] // depth, depth)  # [groups, vector, step, k]
        return np.ascontiguousarray(steps.swapaxes(1, 2)).astype(np.int8).tobytes()

    def values(self, operands: bytes, n: int, k: int) -> np.ndarray:
        depth = self.packing.padded(k)
        steps = np.frombuffer(operands, np.int8).reshape(-1, depth // self.packing.depth, self._vectors, self.packing.depth)
        rows = steps.swapaxes(1, 2).reshape(-1, depth).astype(np.int16)
        if self.bits != 8:
            both = rows + 128  # w_j + 16 w_j+1
            rows = np.stack((both & 15, both >> 4), axis=1).reshape(-1, depth)
        return rows[:n, :k]


class SixteenGroups(Groups):
    """[channel][groups][16] bytes: the low nibble is k, the high one k + 16, both two's complement."""

    @property
    def depth(self) -> int:
        return GROUP

    def operands(self, q: np.ndarray) -> bytes:
        n, k = q.shape
        full = np.zeros((up(n, self.packing.lanes), up(k, GROUP)), np.uint8)
        full[:n, :k] = q & 15
        halves = full.reshape(len(full), -1, 2, GROUP // 2)
        return np.ascontiguousarray(halves[:, :, 0] | halves[:, :, 1] << 4).tobytes()

    def values(self, operands: bytes, n: int, k: int) -> np.ndarray:
        both = np.frombuffer(operands, np.uint8).reshape(-1, up(k, GROUP) // GROUP, 1, GROUP // 2)
        q = np.concatenate((both & 15, both >> 4), axis=2).reshape(len(both), -1)[:n, :k].astype(np.int16)
        return np.where(q > 7, q - 16, q).astype(np.int16)


@dataclass(frozen=True)
class Sixteens(Packing):
    """Tiles of 16 channels."""

    integers = SixteenIntegers
    groups = SixteenGroups

    def padded(self, k: int) -> int:
        return max(2 * self.depth, super().padded(k))


SIXTEENS = Sixteens(5, 16, 16, flip=0x80808080)
