"""Shapes of JSON documents from outside: what each value must be, checked before anything uses it.

A shape is a function that takes a value and the path to it, and raises ShapeError where the value is something else. What is
not described is refused, sizes are bounded, and numbers have ranges, so that later code may rely on all of it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from recurc.text import LONGEST_TEXT, hidden, one_line
from recurc.types import is_float32

Shape = Callable[[Any, str], None]


class ShapeError(ValueError):
    """A value that is not what a document may have there; the text names it by its path."""


def _wrong(at: str, value: Any, wanted: str) -> ShapeError:
    shown = f": {one_line(value)[:80]!r}" if isinstance(value, (str, float, bool)) or value is None else ""
    return ShapeError(f"{at} is not {wanted}{shown}")


def text(longest: int = LONGEST_TEXT, pattern: str | None = None, raw: bool = False) -> Shape:
    """A text without control characters (unless `raw`), that matches `pattern` as a whole."""
    compiled = re.compile(pattern) if pattern else None

    def check(value: Any, at: str) -> None:
        if not isinstance(value, str) or len(value) > longest:
            raise _wrong(at, value, f"a text of at most {longest} characters")
        if not raw and hidden(value):
            raise _wrong(at, value, "a text without control characters")
        if compiled is not None and not compiled.fullmatch(value):
            raise _wrong(at, value, "what stands there")

    return check


def word(*allowed: str) -> Shape:
    """One of some words."""

    def check(value: Any, at: str) -> None:
        if value not in allowed or not isinstance(value, str):
            raise _wrong(at, value, f"one of {', '.join(allowed)}")

    return check


def integer(low: int = 0, high: int = 1 << 62) -> Shape:
    """A whole number in a range, both ends included."""

    def check(value: Any, at: str) -> None:
        if type(value) is not int or not low <= value <= high:
            raise _wrong(at, value, f"a whole number from {low} to {high}")

    return check


def number(low: float = -1e300, high: float = 1e300) -> Shape:
    """A number in a range; infinite only where an end of the range is."""

    def check(value: Any, at: str) -> None:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or math.isnan(value) or not low <= value <= high:
            raise _wrong(at, value, f"a number from {low:g} to {high:g}")

    return check


def float32(value: Any, at: str) -> None:
    """A number of 32 bits, or an infinite one."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not is_float32(value):
        raise _wrong(at, value, "a number of 32 bits")


def boolean(value: Any, at: str) -> None:
    """true or false."""
    if not isinstance(value, bool):
        raise _wrong(at, value, "true or false")


def optional(shape: Shape) -> Shape:
    """The shape, or null."""
    return lambda value, at: None if value is None else shape(value, at)


def list_of(shape: Shape, most: int = 1 << 16) -> Shape:
    """A list of at most so many."""

    def check(value: Any, at: str) -> None:
        if not isinstance(value, list) or len(value) > most:
            raise _wrong(at, value, f"a list of at most {most}")
        for i, item in enumerate(value):
            shape(item, f"{at}[{i}]")

    return check


def table_of(shape: Shape, most: int = 1 << 16, key: Shape | None = None) -> Shape:
    """An object with keys that are not known beforehand; names of at most 200 characters, or as `key` says."""
    named = key or text(200)

    def check(value: Any, at: str) -> None:
        if not isinstance(value, dict) or len(value) > most:
            raise _wrong(at, value, f"a table of at most {most} entries")
        for name, item in value.items():
            named(name, f"a name in {at}")
            shape(item, f"{at}.{name}")

    return check


@dataclass(frozen=True)
class Record:
    """The shape of an object with the keys of `needed` and, where they are there, those of `more`; no others."""

    needed: Mapping[str, Shape]
    more: Mapping[str, Shape]

    def __call__(self, value: Any, at: str) -> None:
        if not isinstance(value, dict):
            raise _wrong(at, value, "a table")
        for name in self.needed:
            if name not in value:
                raise ShapeError(f"{at} has no {name!r}")
        for name, item in value.items():
            shape = self.needed.get(name) or self.more.get(name)
            if shape is None:
                raise ShapeError(f"{at} has an unknown entry {one_line(name)[:80]!r}")
            shape(item, f"{at}.{name}")


def record(needed: Mapping[str, Shape], more: Mapping[str, Shape] | None = None) -> Record:
    """An object with these keys and, where they are there, `more`; no others."""
    return Record(needed, more or {})
