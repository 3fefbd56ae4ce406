"""Numbers for people, at the places where their form changes."""

from __future__ import annotations

import pytest

from recurc.report.numbers import bytes_text, count_text, percent_text, size_text
from recurc.report.timing import seconds_text


@pytest.mark.parametrize(
    ("n", "text"),
    [
        (0, "0 B"), (1023, "1,023 B"), (10_239, "10,239 B"), (10_240, "10.0 KiB"), (10_291, "10.0 KiB"), (10_292, "10.1 KiB"),
        (1 << 20, "1,024.0 KiB"), ((10 << 20) - 1, "10,240.0 KiB"), (10 << 20, "10.00 MiB"), (3 << 30, "3,072.00 MiB"),
    ],
)  # fmt: skip
def test_bytes(n, text):
    assert bytes_text(n) == text


@pytest.mark.parametrize(
    ("n", "text"),
    [
        (0, "0"), (999, "999"), (999.5, "999.5"), (1000, "1 k"), (999_999, "1000 k"), (1e6, "1 M"), (1_234_567, "1.235 M"),
        (1e9, "1 G"), (1e12, "1 T"), (-1000, "-1 k"),
    ],
)  # fmt: skip
def test_counts(n, text):
    assert count_text(n) == text


@pytest.mark.parametrize(
    ("n", "text"),
    [(0, "0 B"), (1024, "1 KiB"), (1025, "1,025 B"), (512 << 10, "512 KiB"), (1 << 20, "1 MiB"), (3 << 19, "1,536 KiB"),
     (2048 << 20, "2,048 MiB"), ((1 << 20) + 1, "1,024.0 KiB")],
)  # fmt: skip
def test_sizes_of_memories(n, text):
    assert size_text(n) == text


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [
        (0, 0, "0.0 %"), (1, 0, "0.0 %"), (0, 7, "0.0 %"), (7, 7, "100.0 %"), (1, 2, "50.0 %"), (1, 2001, "< 0.1 %"),
        (1, 2000, "0.1 %"), (1, 10**9, "< 0.1 %"), (1999, 2000, "> 99.9 %"), (9994, 10_000, "99.9 %"),
        (10**9 - 1, 10**9, "> 99.9 %"), (3, 2, "150.0 %"),
    ],
)  # fmt: skip
def test_shares(part, whole, text):
    """What is there at all never shows as nothing, what is not all never as all."""
    assert percent_text(part, whole) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(1.0, "1 s"), (99.4, "99.4 s"), (99.5, "100 s"), (0.99, "990 ms"), (0.0994, "99.4 ms"), (1e-3, "1 ms"),
     (9.99e-4, "999 us"), (1e-9, "0.001 us"), (3600.0, "3,600 s")],
)  # fmt: skip
def test_durations(seconds, text):
    assert seconds_text(seconds) == text
