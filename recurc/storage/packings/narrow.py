"""Weights of three and two bits: 4-bit operands, words of eight, whose bits that such weights leave empty are not stored.

Words are freed of what a packing stores inverted (`Codec.flip`) first, so that those bits are 0. runtime_c/SPEC.md has the
same to the bit, and a C function for each (rc_unpack_s3, rc_unpack_s2) widens tiles again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from recurc.types import U32Array

_TOPS = np.uint32(0x88888888)  # the top bit of each of eight operands


class Narrow(ABC):
    """One width. many: words of operands that are stored together. few: words that they become. used: bits of them."""

    many: int
    few: int
    used: np.uint32

    def narrowed(self, operands: bytes, flip: int) -> bytes:
        """The bytes that are stored for 4-bit operands."""
        words = np.frombuffer(operands, "<u4").reshape(-1, self.many) ^ np.uint32(flip)
        assert not self._beyond(words).any(), "a weight of more bits"
        return self._join(words).astype("<u4").tobytes()

    def widened(self, data: bytes, flip: int) -> bytes:
        """The inverse of `narrowed`."""
        words = self._split(np.frombuffer(data, "<u4").reshape(-1, self.few)) ^ np.uint32(flip)
        return words.astype("<u4").tobytes()

    def _beyond(self, words: U32Array) -> U32Array:
        """Bits that are set where an operand cannot be stored."""
        return np.asarray(words & ~self.used)

    @abstractmethod
    def _join(self, words: U32Array) -> U32Array:
        """words [n, many] -> [n, few]."""

    @abstractmethod
    def _split(self, words: U32Array) -> U32Array:
        """The inverse of `_join`."""


class _Three(Narrow):
    """Three words for every four: the fourth word's bits take the place of the other three's top bits."""

    many, few, used = 4, 3, np.uint32(0x77777777)
    _lifts = np.array([3, 2, 1], np.uint32)

    def _join(self, words: U32Array) -> U32Array:
        return np.asarray(words[:, :3] | (words[:, 3:] << self._lifts & _TOPS))

    def _split(self, words: U32Array) -> U32Array:
        fourth = np.bitwise_or.reduce((words & _TOPS) >> self._lifts, axis=1)
        return np.concatenate((words & self.used, fourth[:, None]), axis=1)


class _Two(Narrow):
    """One word for every two: the middle bits of the first word's operands go down by one place, those of the second up."""

    many, few, used = 2, 1, np.uint32(0x66666666)
    _one = np.uint32(1)

    def _join(self, words: U32Array) -> U32Array:
        return np.asarray(words[:, :1] >> self._one | words[:, 1:] << self._one)

    def _split(self, words: U32Array) -> U32Array:
        return np.concatenate((words << self._one & self.used, words >> self._one & self.used), axis=1)


NARROW: dict[int, Narrow] = {3: _Three(), 2: _Two()}
