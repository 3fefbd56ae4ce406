"""One equivalent form of a puzzle: its cells in another order, its tokens under other names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from recurc.errors import InputError

Tokens = TypeVar("Tokens", bound=NDArray[np.integer])


def _bijection(values: ArrayLike, what: str, where: str) -> NDArray[np.uint16]:
    try:
        found = np.asarray(values)
    except ValueError:  # lists of unlike lengths
        found = np.empty((0, 0))
    if found.ndim != 1 or found.dtype.kind not in "iu":
        raise InputError(f"the {what} of a symmetry are no list of whole numbers", where=where,
                         next=f"Give the {what} as the numbers from 0 in another order")  # fmt: skip
    seen = np.bincount(found.clip(0, len(found)).astype(np.intp), minlength=len(found) + 1) if len(found) else np.zeros(1, int)
    if (found < 0).any() or seen[-1] or (seen[:-1] != 1).any():
        missing = next((i for i in range(len(found)) if seen[i] == 0), None)
        twice = next((i for i in range(len(found)) if seen[i] > 1), None)
        why = "; ".join(
            text
            for text in (
                f"{missing} is missing" if missing is not None else "",
                f"{twice} is there {seen[twice]} times" if twice is not None else "",
                f"{int(found.max())} is more than {len(found) - 1}" if seen[-1] else "",
            )
            if text
        )
        raise InputError(f"the {what} of a symmetry are no permutation", where=where, why=why or "a number is negative",
                         next=f"Every number from 0 to {len(found) - 1} has to be there once")  # fmt: skip
    return found.astype(np.uint16)


@dataclass(frozen=True, eq=False)
class Symmetry:
    """Cell i of the other form is the original's cell `cells[i]`, with its token t called `tokens[t]`.

    cells: uint16 [seq], a permutation. tokens: uint16 [vocab], a permutation.
    """

    cells: NDArray[np.uint16]
    tokens: NDArray[np.uint16]

    @classmethod
    def of(cls, cells: ArrayLike, tokens: ArrayLike, where: str = "symmetry") -> Symmetry:
        """A symmetry of lists of numbers.

        Raises:
            InputError: one of them is no permutation; `where` names it.
        """
        return cls(_bijection(cells, "cells", where), _bijection(tokens, "tokens", where))

    @classmethod
    def identity(cls, seq: int, vocab: int) -> Symmetry:
        return cls(np.arange(seq, dtype=np.uint16), np.arange(vocab, dtype=np.uint16))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Symmetry):
            return NotImplemented
        return np.array_equal(self.cells, other.cells) and np.array_equal(self.tokens, other.tokens)

    def __hash__(self) -> int:
        return hash((self.cells.tobytes(), self.tokens.tobytes()))

    def present(self, puzzle: Tokens) -> Tokens:
        """A puzzle or an answer [..., seq] in the other form, of the same dtype."""
        return cast(Tokens, self.tokens[puzzle[..., self.cells]].astype(puzzle.dtype))

    def back(self, answer: Tokens) -> Tokens:
        """What `present` made, or an answer in the other form, in the original's: [..., seq] of the same dtype."""
        return self.inverse().present(answer)

    def row(self, puzzle_id: int) -> int:
        """The row of the puzzle table that the form is asked with: the puzzle's own."""
        return puzzle_id

    def own(self, answer: Tokens) -> Tokens:
        """An answer to the puzzle itself, as it is."""
        return answer

    def inverse(self) -> Symmetry:
        """The symmetry that leads back: its `present` is this one's `back`."""
        return Symmetry(np.argsort(self.cells).astype(np.uint16), np.argsort(self.tokens).astype(np.uint16))

    def then(self, other: Symmetry) -> Symmetry:
        """This one, and `other` of what it gives."""
        return Symmetry(self.cells[other.cells], other.tokens[self.tokens])


def checked(symmetry: Symmetry, seq: int, vocab: int, where: str) -> Symmetry:
    """The symmetry, which is one for puzzles of this size.

    Raises:
        InputError: it is for others.
    """
    if (len(symmetry.cells), len(symmetry.tokens)) != (seq, vocab):
        raise InputError("the symmetry is for other puzzles", where=where,
                         why=f"it has {len(symmetry.cells)} cells and {len(symmetry.tokens)} tokens, and the puzzles have "
                         f"{seq} and {vocab}", next="Give one entry for each cell and for each token")  # fmt: skip
    return symmetry
