"""Random numbers that are the same everywhere: a counter-based generator in 32-bit integer arithmetic.

Threefry-2x32 with 20 rounds (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011). A key
and a counter give two words, so any draw can be computed without those before it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA
_WORD = 0xFFFFFFFF


def threefry(key: tuple[int, int], counter: tuple[int, int]) -> tuple[int, int]:
    """Two random words of 32 bits for a key and a counter of two words each."""
    keys = (key[0], key[1], _PARITY ^ key[0] ^ key[1])
    a, b = (counter[0] + keys[0]) & _WORD, (counter[1] + keys[1]) & _WORD
    for block in range(5):
        for turn in _ROTATIONS[block % 2]:
            a = (a + b) & _WORD
            b = ((b << turn) & _WORD | b >> 32 - turn) ^ a
        a = (a + keys[(block + 1) % 3]) & _WORD
        b = (b + keys[(block + 2) % 3] + block + 1) & _WORD
    return a, b


def threefry_words(key: tuple[int, int], low: NDArray[np.uint32], high: int) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """`threefry` for many counters: their first words [n], and the second word of all."""
    k = [np.uint32(word & _WORD) for word in (key[0], key[1], _PARITY ^ key[0] ^ key[1])]
    a, b = low + k[0], np.full_like(low, high & _WORD) + k[1]
    for block in range(5):
        for turn in _ROTATIONS[block % 2]:
            a = a + b
            b = (b << np.uint32(turn) | b >> np.uint32(32 - turn)) ^ a
        a = a + k[(block + 1) % 3]
        b = b + (k[(block + 2) % 3] + np.array(block + 1, np.uint32))
    return a, b


class Stream:
    """Numbers one after the other: those of `key` = (seed, stream), with counters from 0."""

    def __init__(self, seed: int, stream: int = 0) -> None:
        self._key = (seed & _WORD, stream & _WORD)
        self._counter = 0
        self._left: list[int] = []

    def word(self) -> int:
        """The next 32 bits."""
        if not self._left:
            self._left = list(reversed(threefry(self._key, (self._counter & _WORD, self._counter >> 32))))
            self._counter += 1
        return self._left.pop()

    def below(self, n: int) -> int:
        """A whole number from 0 to n - 1, each as likely; n at most 2^32."""
        if not 0 < n <= 1 << 32:
            raise ValueError(f"a number below {n}")
        unfair = (1 << 32) % n  # of the first products, some would be one more often than others
        while True:
            product = self.word() * n
            if product & _WORD >= unfair:
                return product >> 32

    def permutation(self, n: int) -> NDArray[np.intp]:
        """The numbers 0 to n - 1 in an order drawn by Fisher and Yates' method, from the last place down."""
        order = list(range(n))
        for i in range(n - 1, 0, -1):
            j = self.below(i + 1)
            order[i], order[j] = order[j], order[i]
        return np.array(order, dtype=np.intp)
