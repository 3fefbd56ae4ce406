"""The generator of Random123's paper: its published vectors, and numbers that are as likely as each other."""

from __future__ import annotations

from collections import Counter

import pytest

from recurc.threefry import Stream, threefry


@pytest.mark.parametrize(("counter", "key", "words"), [  # kat_vectors of Random123, threefry2x32 with 20 rounds
    ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
    ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
    ((0x243F6A88, 0x85A308D3), (0x13198A2E, 0x03707344), (0xC4923A9C, 0x483DF7A0)),
])  # fmt: skip
def test_published_vectors(counter, key, words):
    assert threefry(key, counter) == words


def test_a_stream_is_its_counters_in_order():
    stream = Stream(7, 3)
    found = [stream.word() for _ in range(6)]
    assert found == [w for i in range(3) for w in threefry((7, 3), (i, 0))]
    assert Stream(7, 4).word() != found[0] != Stream(8, 3).word()


@pytest.mark.parametrize("n", [1, 2, 3, 10, 81])
def test_every_number_is_as_likely(n):
    stream = Stream(1)
    counts = Counter(stream.below(n) for _ in range(2000))
    assert set(counts) == set(range(n))
    square = sum((counts[i] - 2000 / n) ** 2 / (2000 / n) for i in range(n))
    assert square < n - 1 + 6 * (2 * (n - 1)) ** 0.5 + 1e-9  # chi squared, six standard deviations; the seed is fixed


@pytest.mark.parametrize("n", [0, -1, (1 << 32) + 1])
def test_no_number_is_below_that(n):
    with pytest.raises(ValueError, match="a number below"):
        Stream(0).below(n)


def test_the_largest_range():
    stream = Stream(2)
    assert stream.below(1 << 32) == threefry((2, 0), (0, 0))[0]


def test_a_permutation_has_every_number_once():
    assert sorted(Stream(5).permutation(30)) == list(range(30)) and list(Stream(5).permutation(0)) == []
