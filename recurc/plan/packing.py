"""How integer and fp32 weights lie in the image: one `Packing` a kind of kernel, described to the bit in runtime_c/SPEC.md.

A packing holds a layer part by part (gate and up are parts of one tensor, as are q, k and v), a part tile by tile of
`tile` output channels. `k` is padded to a multiple of `depth`; padding is zeros, which meet zero activations.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recurc.quant.weights import GROUP, GROUPED_BITS

_TOPS = np.uint32(0x88888888)  # the top bits of eight int4 operands


def _up(n: int, to: int) -> int:
    return -(-n // to) * to


@dataclass(frozen=True)
class Packing:
    """Base: `id` in the image header; `tile` output channels a tile; `depth`: k is padded to a multiple of it.

    Weights in groups are packed `lanes` channels at a time, so that channels are padded to those only: here two apart (see
    Apart) as q + 8.
    """

    id: int
    tile: int
    depth: int = 8
    lanes: int = 4
    flip: int = 0  # bits of a word of int4 operands that are stored inverted: set where the weight's fourth bit is clear

    def padded(self, k: int) -> int:
        """k rounded up to the packing's depth: elements of one row of quantized activations."""
        return _up(k, self.depth)

    def tile_bytes(self, k: int, bits: float) -> int:
        """Bytes from one tile of channels to the next."""
        return self.tile * (4 * k if bits == 32 else self.padded(k) * int(bits) // 8)

    def channels(self, n: int, bits: float) -> int:
        """n up to whole tiles, or to whole lanes of weights in groups: channels that are stored."""
        return _up(n, self.lanes if bits == GROUPED_BITS else self.tile)

    def part_bytes(self, n: int, k: int, bits: float) -> int:
        """Bytes of one part of n channels."""
        return self.channels(n, bits) * self.tile_bytes(k, bits) // self.tile

    def group_bytes(self, n: int, k: int) -> int:
        """Bytes of the groups' scales of one part of n channels."""
        return _up(n, self.lanes) * -(-k // GROUP)

    def pack_groups(self, m: np.ndarray) -> bytes:
        """Groups' scales m [n, groups] of one part, [n / lanes][groups][lanes]."""
        full = np.zeros((_up(len(m), self.lanes), m.shape[1]), np.uint8)
        full[:len(m)] = m
        return np.ascontiguousarray(full.reshape(-1, self.lanes, m.shape[1]).swapaxes(1, 2)).tobytes()

    def pack_grouped(self, q: np.ndarray) -> bytes:
        """q [n, k] of one part in groups, -8..7, to its bytes; padding is zeros."""
        return _apart(self._full(q + 8, self.lanes))

    def zeros(self, zero: np.ndarray, bits: float) -> np.ndarray | None:
        """Zero points as the kernels want them, uint8 a channel; None when the kernels need none."""
        return zero.astype(np.uint8) if bits < 8 else None

    def widest(self, bits: float) -> int:
        """Largest magnitude that a kernel multiplies an activation with; k * widest * 127 must fit int32."""
        return 8 * 255 if bits == GROUPED_BITS else 2 * (255 if bits == 8 else 15)

    def pack_int(self, q: np.ndarray, bits: float) -> bytes:
        """q [n, k] of one part to its bytes."""
        return self._squeezed(self._operands(q, 4)) if bits == 3 else self._operands(q, bits)

    def _operands(self, q: np.ndarray, bits: float) -> bytes:
        """What tile functions read: 4 or 8 bits a weight."""
        raise NotImplementedError

    def _squeezed(self, operands: bytes) -> bytes:
        """Three words for every four words of int4 operands whose weights are below 8: the fourth word's bits take the
        place of the other three's top bits, which carry nothing."""
        words = np.frombuffer(operands, "<u4").reshape(-1, 4) ^ np.uint32(self.flip)
        assert not (words & _TOPS).any(), "a weight above 7"
        fourth = words[:, 3:]
        return (words[:, :3] | (fourth << np.array([3, 2, 1], np.uint32) & _TOPS)).astype("<u4").tobytes()

    def pack_f32(self, w: np.ndarray) -> bytes:
        """w float32 [n, k] of one part: plain rows."""
        return w.astype("<f4").tobytes()

    def _full(self, q: np.ndarray, tile: int = 0) -> np.ndarray:
        """q with zero channels up to whole tiles and zeros up to the padded depth, [tiles, tile, padded k]."""
        (n, k), tile = q.shape, tile or self.tile
        full = np.zeros((_up(n, tile), self.padded(k)), dtype=np.int64)
        full[:n, :k] = q
        return full.reshape(-1, tile, full.shape[1])


def _apart(full: np.ndarray) -> bytes:
    """Values 0..15 [tiles, 4, k]: two words each four k, one a pair of channels; bits 4i to 4i + 3 of a half are k + i."""
    fours = full.reshape(len(full), 4, -1, 4) @ (1 << 4 * np.arange(4))  # [tiles, channel, k/4]
    return np.ascontiguousarray(fours.swapaxes(1, 2)).astype("<u2").tobytes()


@dataclass(frozen=True)
class Apart(Packing):
    """Tiles of 4 channels. int4: two words each four k, one a pair of channels that lie 16 bits apart in it: bits 4i to
    4i + 3 are w of k + i. int8: [k][4] bytes. fp32: plain rows, no channel is padded.
    """

    def part_bytes(self, n: int, k: int, bits: float) -> int:
        return n * 4 * k if bits == 32 else super().part_bytes(n, k, bits)

    def _operands(self, q: np.ndarray, bits: float) -> bytes:
        full = self._full(q)
        if bits == 8:
            return np.ascontiguousarray(full.swapaxes(1, 2)).astype(np.int8).tobytes()
        return _apart(full)


@dataclass(frozen=True)
class Panels(Packing):
    """Panels of 16 channels, unsigned bytes ordered [k/4][16][4]; int8 as q + 128 with zero point 128. fp32: [k][16].

    A tile is up to four panels, one after the other; channels are padded to whole panels only.
    """

    panel: int = 16
    lanes: int = 16

    def part_bytes(self, n: int, k: int, bits: float) -> int:
        return _up(n, self.panel) * self.tile_bytes(k, bits) // self.tile

    def tile_bytes(self, k: int, bits: float) -> int:
        return self.tile * (4 * k if bits == 32 else self.padded(k))

    def zeros(self, zero: np.ndarray, bits: float) -> np.ndarray | None:
        return np.full(len(zero), 128, np.uint8) if bits == 8 else zero.astype(np.uint8)

    def pack_int(self, q: np.ndarray, bits: float) -> bytes:
        n, k = q.shape
        full = np.zeros((_up(n, self.panel), self.padded(k)), dtype=np.uint8)  # what is padding stays zero
        full[:n, :k] = q + (128 if bits == 8 else 0)
        quads = full.reshape(-1, self.panel, full.shape[1] // 4, 4).swapaxes(1, 2)
        return np.ascontiguousarray(quads).tobytes()

    def pack_grouped(self, q: np.ndarray) -> bytes:
        return self.pack_int(q + 8, 4)

    def pack_f32(self, w: np.ndarray) -> bytes:
        full = np.zeros((_up(len(w), self.panel), w.shape[1]), dtype="<f4")
        full[:len(w)] = w
        return np.ascontiguousarray(full.reshape(-1, self.panel, w.shape[1]).swapaxes(1, 2)).tobytes()

    def unpack_int(self, data: bytes, n: int, k: int, bits: float) -> np.ndarray:
        """q int16 [n, k] of one part, as `pack_int` took it."""
        quads = np.frombuffer(data, np.uint8).reshape(-1, self.padded(k) // 4, self.panel, 4).swapaxes(1, 2)
        return quads.reshape(-1, self.padded(k))[:n, :k].astype(np.int16) - (128 if bits == 8 else 0)

    def unpack_grouped(self, data: bytes, n: int, k: int) -> np.ndarray:
        """q int16 [n, k] of one part, as `pack_grouped` took it."""
        return self.unpack_int(data, n, k, 4) - 8

    def unpack_groups(self, data: bytes, n: int, k: int) -> np.ndarray:
        """m uint8 [n, groups] of one part, as `pack_groups` took it."""
        groups = -(-k // GROUP)
        return np.frombuffer(data, np.uint8).reshape(-1, groups, self.lanes).swapaxes(1, 2).reshape(-1, groups)[:n]

    def unpack_f32(self, data: bytes, n: int, k: int) -> np.ndarray:
        """w float32 [n, k] of one part, as `pack_f32` took it."""
        return np.frombuffer(data, "<f4").reshape(-1, k, self.panel).swapaxes(1, 2).reshape(-1, k)[:n].astype(np.float32)


@dataclass(frozen=True)
class Pairs(Packing):
    """Tiles of 4 channels, one word a pair of k for int4 and two for int8: each half of a word belongs to one k.

    Half words add up rather than hold fields side by side, so that a kernel may multiply by the whole word too:
    int4: w0 + 16 w1 + 256 w2 + 4096 (w3 - 8); int8: (w0 + 128) + 256 w1, then (w2 + 128) + 256 w3. See SPEC.md.
    """

    def widest(self, bits: float) -> int:
        return 15 * 256 if bits in (3, 4) else super().widest(bits)

    def part_bytes(self, n: int, k: int, bits: float) -> int:
        return n * 4 * k if bits == 32 else super().part_bytes(n, k, bits)

    def _operands(self, q: np.ndarray, bits: float) -> bytes:
        full = self._full(q)
        w0, w1, w2, w3 = full.swapaxes(0, 1)
        if bits == 4:
            return (w0 + 16 * w1 + 256 * w2 + 4096 * (w3 - 8)).astype("<i2").tobytes()
        halves = np.stack((w0 + 128 + 256 * w1, w2 + 128 + 256 * w3), axis=-1)  # [tiles, k, 2]
        pairs = halves.reshape(len(full), -1, 2, 2).swapaxes(2, 3)  # [tiles, k/2, word, half]
        return np.ascontiguousarray(pairs).astype("<i2").tobytes()


    def pack_grouped(self, q: np.ndarray) -> bytes:
        """A word each eight k of a channel: the halves of (word << 4i) & 0xF000F000 are 4096 w of k + 2i and k + 2i + 1."""
        full = self._full(q, self.lanes) & 15
        eights = full.reshape(len(full), self.lanes, -1, 4, 2) @ (1 << np.array([0, 16]))  # [.., k/8, i]
        words = eights @ (1 << 4 * np.arange(3, -1, -1))
        return np.ascontiguousarray(words.swapaxes(1, 2)).astype("<u4").tobytes()


@dataclass(frozen=True)
class Lanes(Packing):
    """Tiles whose channels lie side by side, a vector's lanes. int4: [k/2][tile] bytes, the lower k in the low nibble, in
    groups two's complement; int8: [k][tile]. fp32: plain rows, no channel is padded.
    """

    lanes: int = 32

    def part_bytes(self, n: int, k: int, bits: float) -> int:
        return n * 4 * k if bits == 32 else super().part_bytes(n, k, bits)

    def _operands(self, q: np.ndarray, bits: float) -> bytes:
        lanes = self._full(q).swapaxes(1, 2)  # [tiles, k, tile]
        if bits == 8:
            return np.ascontiguousarray(lanes).astype(np.int8).tobytes()
        return (lanes[:, 0::2] + 16 * lanes[:, 1::2]).astype(np.uint8).tobytes()

    def pack_grouped(self, q: np.ndarray) -> bytes:
        return self._operands(q & 15, 4)


@dataclass(frozen=True)
class Sixteens(Packing):
    """Tiles of 16 channels in groups of four, a group 16 k at a time: int4 two vectors of 16 bytes, each byte
    w_j + 16 (w_j+1 - 8) of one k for two channels; int8 four vectors, one a channel. fp32: plain rows, no channel is padded.
    """

    def padded(self, k: int) -> int:
        return max(2 * self.depth, super().padded(k))

    def part_bytes(self, n: int, k: int, bits: float) -> int:
        return n * 4 * k if bits == 32 else super().part_bytes(n, k, bits)

    def _operands(self, q: np.ndarray, bits: float) -> bytes:
        full = self._full(q)
        if bits == 4:
            full = full[:, 0::2] + 16 * (full[:, 1::2] - 8)
        steps = full.reshape(-1, 2 if bits == 4 else 4, full.shape[2] // self.depth, self.depth)  # [groups, vector, step, k]
        return np.ascontiguousarray(steps.swapaxes(1, 2)).astype(np.int8).tobytes()

    def tile_bytes(self, k: int, bits: float) -> int:
        return self.tile * _up(k, GROUP) // 2 if bits == GROUPED_BITS else super().tile_bytes(k, bits)

    def pack_grouped(self, q: np.ndarray) -> bytes:
        """[channel][groups][16] bytes: the low nibble is k, the high one k + 16, both two's complement."""
        full = np.zeros((_up(len(q), self.lanes), _up(q.shape[1], GROUP)), np.uint8)
        full[:len(q), :q.shape[1]] = q & 15
        halves = full.reshape(len(full), -1, 2, GROUP // 2)
        return np.ascontiguousarray(halves[:, :, 0] | halves[:, :, 1] << 4).tobytes()


PANELS = Panels(2, 64)
PAIRS = Pairs(3, 4, flip=0x80008000)
APART = Apart(4, 4)
LANES = Lanes(8, 32, 16)
SIXTEENS = Sixteens(5, 16, 16, flip=0x80808080)
