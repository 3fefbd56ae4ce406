"""What a task's inputs are called: puzzles of cells where they are square grids, examples of tokens where they are not.

Texts are written in the words of puzzles; `said` puts them into the words of the task at hand, which whoever loads a model
or a dataset names with `speak_of`. Names of the model's own parts (puzzle table, puzzle identifier, puzzle rows) stay.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple


class Words(NamedTuple):
    """One input and many, one of its places and many."""

    one: str
    many: str
    place: str
    places: str


PUZZLE = Words("puzzle", "puzzles", "cell", "cells")
SEQUENCE = Words("example", "examples", "token", "tokens")

_current = PUZZLE
_PATTERN = re.compile(
    r"(?<![\w./\\-])(?P<article>[Aa] )?(?P<word>[Pp]uzzles?|[Cc]ells?)(?![\w/\\-]|\.\w)"
    r"(?! (?:tables?|identifiers?|rows?|embeddings?)\b)"
)


def side_of(seq_len: int) -> int | None:
    """Side of a square puzzle of so many cells; None where a sequence of that length is no square."""
    side = math.isqrt(seq_len)
    return side if side * side == seq_len else None


def words_for(seq_len: int) -> Words:
    """What inputs of a length are called."""
    return PUZZLE if side_of(seq_len) else SEQUENCE


def speak_of(seq_len: int) -> None:
    """From now on texts are about inputs of this length."""
    global _current
    _current = words_for(seq_len)


@contextmanager
def own_words() -> Iterator[None]:
    """What is named within this by `speak_of` holds until its end; it begins with puzzles."""
    global _current
    before, _current = _current, PUZZLE
    try:
        yield
    finally:
        _current = before


def said(text: str) -> str:
    """A text in the words of the task."""
    if _current is PUZZLE:
        return text
    return _PATTERN.sub(lambda m: _instead(m["article"] or "", m["word"]), text)


def _instead(article: str, word: str) -> str:
    other = _current[PUZZLE.index(word.lower())]
    if article and other[0] in "aeiou":
        article = article.rstrip() + "n "
    return article + (other.capitalize() if word[0].isupper() and not article else other)
