"""What all packings share: tiles, padding, and a codec for each kind of numbers.

A packing holds a layer part by part (gate and up are parts of one tensor, as are q, k and v), a part tile by tile of
`tile` output channels. `k` is padded to a multiple of `depth`; padding is zeros, which meet zero activations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from recurc.storage.packings.narrow import NARROW, Narrow
from recurc.types import I64Array

GROUP = 32  # inputs of a channel that share a scale in weights in groups


def up(n: int, to: int) -> int:
    """n rounded up to a multiple."""
    return -(-n // to) * to


@dataclass(frozen=True)
class Codec:
    """How one kind of numbers lies in a packing. A part is n channels of k weights.

    Fields: packing. `widest`: largest magnitude that a kernel multiplies an activation with; k * widest * 127 must fit int32.
    """

    packing: Packing

    @property
    def widest(self) -> int:
        raise NotImplementedError

    @property
    def depth(self) -> int:
        """k is padded to a multiple of it."""
        return self.packing.depth

    @property
    def flip(self) -> int:
        """Bits of a word of 4-bit operands that are stored inverted."""
        return self.packing.flip

    def tile_bytes(self, k: int) -> int:
        """Bytes from one tile of channels to the next."""
        raise NotImplementedError

    def channels(self, n: int) -> int:
        """Channels that are stored for n: up to whole tiles."""
        return up(n, self.packing.tile)

    @property
    def turn(self) -> int:
        """Channels that are stored together, so that a kernel reads them together."""
        return self.packing.tile

    def part_bytes(self, n: int, k: int) -> int:
        """Bytes of one part."""
        return self.channels(n) * self.tile_bytes(k) // self.packing.tile

    def pack(self, values: np.ndarray) -> bytes:
        """Values [n, k] of one part to their bytes."""
        raise NotImplementedError

    def unpack(self, data: bytes, n: int, k: int) -> np.ndarray:
        """The inverse of `pack`."""
        raise NotImplementedError

    def full(self, q: np.ndarray, tile: int = 0) -> I64Array:
        """q with zero channels up to whole tiles and zeros up to the padded depth, [tiles, tile, padded k]."""
        (n, k), tile = q.shape, tile or self.packing.tile
        full = np.zeros((up(n, tile), self.packing.padded(k)), dtype=np.int64)
        full[:n, :k] = q
        return full.reshape(-1, tile, full.shape[1])


class Floats(Codec):
    """fp32: plain rows, no channel is padded."""

    @property
    def widest(self) -> int:
        return 0  # no integers

    def tile_bytes(self, k: int) -> int:
        return self.packing.tile * 4 * k

    def channels(self, n: int) -> int:
        return n

    def pack(self, values: np.ndarray) -> bytes:
        return values.astype("<f4").tobytes()

    def unpack(self, data: bytes, n: int, k: int) -> np.ndarray:
        return np.frombuffer(data, "<f4").reshape(n, k).astype(np.float32)


@dataclass(frozen=True)
class Integers(Codec):
    """q [n, k] of 8, 4, 3 or 2 bits. Fewer than four are the operands of four with what they do not need left out."""

    bits: int

    @property
    def widest(self) -> int:
        return 2 * (255 if self.bits == 8 else 15)

    def tile_bytes(self, k: int) -> int:
        return self.packing.tile * (self.packing.padded(k) * self.bits // 8)

    @property
    def zeros_stored(self) -> bool:
        """Whether the image has zero points."""
        return self.bits < 8

    def zeros(self, zero: np.ndarray) -> np.ndarray:
        """Zero points as the kernels want them, uint8 [n]."""
        return zero.astype(np.uint8)

    def pack(self, values: np.ndarray) -> bytes:
        operands = self.operands(values)
        return NARROW[self.bits].narrowed(operands, self.flip) if self.bits in NARROW else operands

    def unpack(self, data: bytes, n: int, k: int) -> np.ndarray:
        """int16 [n, k]."""
        operands = NARROW[self.bits].widened(data, self.flip) if self.bits in NARROW else data
        return self.values(operands, n, k).astype(np.int16)

    def operands(self, q: np.ndarray) -> bytes:
        """What tile functions read: 8 bits a weight, or 4 (of 3 and 2 bits too)."""
        raise NotImplementedError

    def values(self, operands: bytes, n: int, k: int) -> np.ndarray:
        """The inverse of `operands`."""
        raise NotImplementedError


@dataclass(frozen=True)
class Groups(Codec):
    """q [n, k] -8..7 in groups of 32 inputs, `lanes` channels at a time, with the groups' scales m [n, groups] beside them.

    narrow: how operands of fewer bits are stored; None for four.
    """

    narrow: Narrow | None = None

    @property
    def widest(self) -> int:
        return 8 * 255

    @property
    def flip(self) -> int:
        return self.packing.group_flip

    def tile_bytes(self, k: int) -> int:
        four = self.packing.tile * (up(self.packing.padded(k), self.depth) * 4 // 8)
        return four if self.narrow is None else four * self.narrow.few // self.narrow.many

    def pack(self, values: np.ndarray) -> bytes:
        operands = self.operands(values)
        return operands if self.narrow is None else self.narrow.narrowed(operands, self.flip)

    def unpack(self, data: bytes, n: int, k: int) -> np.ndarray:
        """int16 [n, k]."""
        return self.values(data if self.narrow is None else self.narrow.widened(data, self.flip), n, k)

    def operands(self, q: np.ndarray) -> bytes:
        """What tile functions read: 4 bits a weight."""
        raise NotImplementedError

    def values(self, operands: bytes, n: int, k: int) -> np.ndarray:
        """The inverse of `operands`, int16 [n, k]."""
        raise NotImplementedError

    @property
    def turn(self) -> int:
        return self.packing.lanes

    def channels(self, n: int) -> int:
        return up(n, self.packing.lanes)

    def scale_bytes(self, n: int, k: int) -> int:
        """Bytes of the groups' scales of one part."""
        return up(n, self.packing.lanes) * -(-k // GROUP)

    def pack_scales(self, m: np.ndarray) -> bytes:
        """m [n, groups] of one part, as [n / lanes][groups][lanes]."""
        lanes = self.packing.lanes
        full = np.zeros((up(len(m), lanes), m.shape[1]), np.uint8)
        full[: len(m)] = m
        return np.ascontiguousarray(full.reshape(-1, lanes, m.shape[1]).swapaxes(1, 2)).tobytes()

    def unpack_scales(self, data: bytes, n: int, k: int) -> np.ndarray:
        """The inverse of `pack_scales`, uint8 [n, groups]."""
        groups = -(-k // GROUP)
        return np.frombuffer(data, np.uint8).reshape(-1, groups, self.packing.lanes).swapaxes(1, 2).reshape(-1, groups)[:n]


@dataclass(frozen=True)
class Packing:
    """Base: `id` in the image header; `tile` output channels a tile; `depth`: k is padded to a multiple of it.

    Weights in groups are packed `lanes` channels at a time, so that channels are padded to those only. `flip`: bits of a word
    of int4 operands that are stored inverted, set where the weight's fourth bit is clear. `group_flip`: of operands in groups,
    which are else in two's complement.
    """

    floats: ClassVar[type[Codec]] = Floats
    integers: ClassVar[type[Integers]] = Integers
    groups: ClassVar[type[Groups]] = Groups

    id: int
    tile: int
    depth: int = 8
    lanes: int = 4
    flip: int = 0
    group_flip: int = 0

    def padded(self, k: int) -> int:
        """k rounded up to the packing's depth: elements of one row of quantized activations."""
        return up(k, self.depth)
