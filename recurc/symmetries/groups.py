"""Groups of symmetries by name: sudoku:NxM, square, tokens:A-B, none, several of them joined by +, or a file of them.

A group is a class here with `NAME`, the word before the colon; `named` reads a name. What is drawn of a group depends on the
seed alone.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from recurc.arguments import argument
from recurc.errors import UsageError
from recurc.reading import shown
from recurc.symmetries.file import read_symmetries
from recurc.symmetries.symmetry import Symmetry, checked
from recurc.text import plain
from recurc.threefry import Stream

LONGEST_SYMMETRY = 4096  # characters of a name, which may be a path


class Group(Protocol):
    """Symmetries of puzzles of `seq` cells and `vocab` tokens."""

    @property
    def size(self) -> int:
        """How many symmetries there are, the identity counted."""

    def draw(self, numbers: Stream) -> Symmetry:
        """One of them, each as likely."""


class NamedGroup(Group, Protocol):
    """A group that a user writes by name."""

    NAME: ClassVar[str]
    SPELT: ClassVar[str]  # how a user writes it

    @classmethod
    def read(cls, text: str, seq: int, vocab: int) -> Group:
        """The group of the text after the colon.

        Raises:
            ValueError: no such group, or none for puzzles of this size: says why.
        """

    @classmethod
    def candidates(cls, seq: int, vocab: int) -> tuple[str, ...]:
        """What such puzzles may have, by name: for a look at data that nobody described."""


@dataclass(frozen=True)
class NoSymmetry:
    """Nothing but the puzzle itself."""

    seq: int
    vocab: int
    NAME: ClassVar[str] = "none"
    SPELT: ClassVar[str] = "none"

    @classmethod
    def read(cls, text: str, seq: int, vocab: int) -> NoSymmetry:
        if text:
            raise ValueError("it takes nothing after a colon")
        return cls(seq, vocab)

    @classmethod
    def candidates(cls, seq: int, vocab: int) -> tuple[str, ...]:
        return ()

    @property
    def size(self) -> int:
        return 1

    def draw(self, numbers: Stream) -> Symmetry:
        return Symmetry.identity(self.seq, self.vocab)


@dataclass(frozen=True)
class Sudoku:
    """A sudoku whose boxes have `rows` rows and `columns` columns: bands, stacks, the rows and columns within each, the digits,
    and the transposition where boxes are square. Digits are the last rows x columns tokens."""

    rows: int
    columns: int
    vocab: int
    NAME: ClassVar[str] = "sudoku"
    SPELT: ClassVar[str] = "sudoku:ROWSxCOLUMNS of a box, such as sudoku:3x3"

    @classmethod
    def read(cls, text: str, seq: int, vocab: int) -> Sudoku:
        found = re.fullmatch(r"([1-9]\d?)x([1-9]\d?)", text)
        if not found:
            raise ValueError("a box is given as its rows x its columns, such as 3x3 or 2x3")
        group = cls(int(found[1]), int(found[2]), vocab)
        if group.side**2 != seq:
            raise ValueError(f"boxes of {text} make a grid of {group.side**2} cells, and these puzzles have {seq}")
        if group.side >= vocab:
            raise ValueError(f"{group.side} digits and an empty cell do not fit into {vocab} tokens")
        return group

    @classmethod
    def candidates(cls, seq: int, vocab: int) -> tuple[str, ...]:
        side = math.isqrt(seq)
        boxes = ((rows, side // rows) for rows in range(2, side) if side % rows == 0)
        return tuple(f"sudoku:{rows}x{columns}" for rows, columns in boxes if side**2 == seq and side < vocab)

    @property
    def side(self) -> int:
        return self.rows * self.columns

    @property
    def size(self) -> int:
        lines: int = math.factorial(self.columns) * math.factorial(self.rows) ** self.columns
        lines *= math.factorial(self.rows) * math.factorial(self.columns) ** self.rows
        return lines * math.factorial(self.side) * (2 if self.rows == self.columns else 1)

    def draw(self, numbers: Stream) -> Symmetry:
        down, across = _lines(numbers, self.columns, self.rows), _lines(numbers, self.rows, self.columns)
        cells = np.arange(self.side**2).reshape(self.side, self.side)[down][:, across]
        if self.rows == self.columns and numbers.below(2):
            cells = cells.T
        first = self.vocab - self.side
        return Symmetry.of(cells.ravel(), np.r_[np.arange(first), first + numbers.permutation(self.side)])


def _lines(numbers: Stream, blocks: int, each: int) -> NDArray[np.intp]:
    """An order of blocks x each lines in which blocks stay together."""
    order = numbers.permutation(blocks)
    return np.concatenate([block * each + numbers.permutation(each) for block in order])


@dataclass(frozen=True)
class Square:
    """A square grid turned and mirrored: 8 ways."""

    side: int
    vocab: int
    NAME: ClassVar[str] = "square"
    SPELT: ClassVar[str] = "square"

    @classmethod
    def read(cls, text: str, seq: int, vocab: int) -> Square:
        side = math.isqrt(seq)
        if text:
            raise ValueError("it takes nothing after a colon")
        if side**2 != seq:
            raise ValueError(f"these puzzles have {seq} cells, which make no square")
        return cls(side, vocab)

    @classmethod
    def candidates(cls, seq: int, vocab: int) -> tuple[str, ...]:
        return ("square",) if math.isqrt(seq) ** 2 == seq > 1 else ()

    @property
    def size(self) -> int:
        return 8 if self.side > 1 else 1

    def draw(self, numbers: Stream) -> Symmetry:
        which = numbers.below(8)
        cells = np.rot90(np.arange(self.side**2).reshape(self.side, self.side), which % 4)
        return Symmetry.of((cells.T if which >= 4 else cells).ravel(), np.arange(self.vocab))


@dataclass(frozen=True)
class Relabelling:
    """Tokens `first` to `last` under each other's names."""

    seq: int
    first: int
    last: int
    vocab: int
    NAME: ClassVar[str] = "tokens"
    SPELT: ClassVar[str] = "tokens:FIRST-LAST, such as tokens:2-10"

    @classmethod
    def read(cls, text: str, seq: int, vocab: int) -> Relabelling:
        found = re.fullmatch(r"(\d{1,5})-(\d{1,5})", text)
        if not found:
            raise ValueError("tokens are given as the first and the last, such as tokens:2-10")
        first, last = int(found[1]), int(found[2])
        if not first < last < vocab:
            raise ValueError(f"the last token is {vocab - 1}, and the first comes before the last")
        return cls(seq, first, last, vocab)

    @classmethod
    def candidates(cls, seq: int, vocab: int) -> tuple[str, ...]:
        return (
            (f"tokens:2-{vocab - 1}",) if vocab > 3 else ()
        )  # 0 is padding, 1 an empty cell, as datasets of the field have it

    @property
    def size(self) -> int:
        return math.factorial(self.last - self.first + 1)

    def draw(self, numbers: Stream) -> Symmetry:
        tokens = np.arange(self.vocab)
        tokens[self.first : self.last + 1] = self.first + numbers.permutation(self.last - self.first + 1)
        return Symmetry.of(np.arange(self.seq), tokens)


@dataclass(frozen=True)
class Listed:
    """The symmetries of a file, or of a list."""

    symmetries: tuple[Symmetry, ...]
    NAME: ClassVar[str] = "file"
    SPELT: ClassVar[str] = "file:PATH of a JSON file"

    @classmethod
    def read(cls, text: str, seq: int, vocab: int) -> Listed:
        if not text:
            raise ValueError("the file's path comes after the colon")
        return cls(read_symmetries(Path(text), seq, vocab))

    @classmethod
    def candidates(cls, seq: int, vocab: int) -> tuple[str, ...]:
        return ()

    @property
    def size(self) -> int:
        return len(self.symmetries) + 1

    def draw(self, numbers: Stream) -> Symmetry:
        return self.symmetries[numbers.below(len(self.symmetries))]


@dataclass(frozen=True)
class Joined:
    """A symmetry of each group, one after the other."""

    groups: tuple[Group, ...]

    @property
    def size(self) -> int:
        return math.prod(group.size for group in self.groups)

    def draw(self, numbers: Stream) -> Symmetry:
        first, *more = (group.draw(numbers) for group in self.groups)
        for symmetry in more:
            first = first.then(symmetry)
        return first


GROUPS: tuple[type[NamedGroup], ...] = (NoSymmetry, Sudoku, Square, Relabelling, Listed)
ARC = "arc"  # forms of each puzzle by its row, see `recurc.symmetries.grids`; from the names of the dataset, or arc:FILE
KNOWN = "; ".join((*(group.SPELT for group in GROUPS), "several joined by +, such as square+tokens:2-10",
                   "arc alone, where identifiers.json names the forms of each puzzle, or arc:PATH of such a file"))  # fmt: skip


def is_arc(name: str) -> bool:
    """Whether a name means forms that a puzzle's row tells."""
    return name.partition(":")[0].strip() == ARC


@dataclass(frozen=True)
class Drawn:
    """Symmetries that a function of the user's gives: `function(numbers)` -> (cells [seq], tokens [vocab])."""

    function: Callable[[Stream], tuple[ArrayLike, ArrayLike]]
    seq: int
    vocab: int

    @property
    def size(self) -> int:
        return 1 << 62  # nobody knows

    def draw(self, numbers: Stream) -> Symmetry:
        cells, tokens = self.function(numbers)
        return checked(Symmetry.of(cells, tokens, "symmetry function"), self.seq, self.vocab, "symmetry function")


def named(name: str, seq: int, vocab: int) -> Group:
    """The group that a name means for puzzles of `seq` cells and `vocab` tokens.

    Raises:
        UsageError: there is none of this name, or none for such puzzles.
        InputError: a file of symmetries that holds something else; a name that no manifest could hold.
    """
    plain(name, "the symmetry's name", argument("symmetry"), LONGEST_SYMMETRY)
    found = []
    for part in name.split("+") if not name.startswith("file:") else [name]:
        word, _, rest = part.strip().partition(":")
        group = next((g for g in GROUPS if word == g.NAME), None)
        if group is None:
            raise UsageError(
                f"there is no symmetry {shown(part)}",
                where=argument("symmetry"),
                why=f"known are {KNOWN}",
                next="Choose one of them",
            )
        try:
            found.append(group.read(rest, seq, vocab))
        except ValueError as e:
            raise UsageError(f"the symmetry {shown(part)} cannot be used", where=argument("symmetry"), why=str(e),
                             next=f"Write {group.SPELT}") from None  # fmt: skip
    return found[0] if len(found) == 1 else Joined(tuple(found))


def draw(group: Group, count: int, seed: int) -> tuple[Symmetry, ...]:
    """`count` symmetries of a group, all different and none of them the identity; fewer where the group has fewer.

    The same seed gives the same ones everywhere, and a smaller count the first of them.
    """
    numbers, found = Stream(seed), dict[Symmetry, None]()
    wanted, tries = min(count, group.size - 1), 0
    while len(found) < wanted and tries < 64 * wanted + 64:
        symmetry = group.draw(numbers)
        tries += 1
        if symmetry != Symmetry.identity(len(symmetry.cells), len(symmetry.tokens)):
            found.setdefault(symmetry)
    return tuple(found)
