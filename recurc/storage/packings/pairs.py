"""Pairs: half words that add up, for cores with dual 16-bit multiplies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recurc.storage.packings.packing import Groups, Integers, Packing


@dataclass(frozen=True)
class PairIntegers(Integers):
    """One word a pair of k for int4 and two for int8: each half of a word belongs to one k.

    Half words add up rather than hold fields side by side, so that a kernel may multiply by the whole word too:
    int4: w0 + 16 w1 + 256 w2 + 4096 (w3 - 8); int8: (w0 + 128) + 256 w1, then (w2 + 128) + 256 w3. See SPEC.md.
    """

    @property
    def widest(self) -> int:
        return super().widest if self.bits == 8 else 15 * 256

    def operands(self, q: np.ndarray) -> bytes:
        full = self.full(q)
        w0, w1, w2, w3 = (full[:, i] for i in range(4))
        if self.bits != 8:
            return (w0 + 16 * w1 + 256 * w2 + 4096 * (w3 - 8)).astype("<i2").tobytes()
        halves = np.stack((w0 + 128 + 256 * w1, w2 + 128 + 256 * w3), axis=-1)  # [tiles, k, 2]
        pairs = halves.reshape(len(full), -1, 2, 2).swapaxes(2, 3)  # [tiles, k/2, word, half]
        return np.ascontiguousarray(pairs).astype("<i2").tobytes()

    def values(self, operands: bytes, n: int, k: int) -> np.ndarray:
        depth = self.packing.padded(k)
        halves = np.frombuffer(operands, "<i2").astype(np.int32)
        if self.bits != 8:
            sums = halves.reshape(-1, depth) + 8 * 4096  # 0..65535: four fields of four bits
            channels = np.stack([sums >> 4 * i & 15 for i in range(4)], axis=1)
        else:
            pairs = halves.reshape(-1, depth // 2, 2, 2).swapaxes(2, 3).reshape(-1, depth, 2)
            low = pairs & 255
            channels = np.stack((low[..., 0] - 128, pairs[..., 0] >> 8, low[..., 1] - 128, pairs[..., 1] >> 8), axis=1)
        return channels.reshape(-1, depth)[:n, :k]


class PairGroups(Groups):
    """A word each eight k of a channel: the halves of (word << 4i) & 0xF000F000 are 4096 w of k + 2i and k + 2i + 1."""

    def operands(self, q: np.ndarray) -> bytes:
        lanes = self.packing.lanes
        full = self.full(q, lanes) & 15
        eights = full.reshape(len(full), lanes, -1, 4, 2) @ (1 << np.array([0, 16]))  # [.., k/8, i]
        words = eights @ (1 << 4 * np.arange(3, -1, -1))
        return np.ascontiguousarray(words.swapaxes(1, 2)).astype("<u4").tobytes()

    def values(self, operands: bytes, n: int, k: int) -> np.ndarray:
        depth = self.packing.padded(k)
        words = np.frombuffer(operands, "<u4").reshape(-1, depth // 8, self.packing.lanes).swapaxes(1, 2)  # [tiles, lane, k/8]
        shifts = np.array([[12 - 4 * i, 28 - 4 * i] for i in range(4)], np.uint32)
        q = (words[..., None, None] >> shifts & 15).astype(np.int16).reshape(-1, depth)[:n, :k]
        return np.where(q > 7, q - 16, q).astype(np.int16)


@dataclass(frozen=True)
class Pairs(Packing):
    """Tiles of 4 channels."""

    integers = PairIntegers
    groups = PairGroups


PAIRS = Pairs(3, 4, flip=0x80008000)
