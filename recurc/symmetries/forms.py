"""Other forms of puzzles: the same for all of them, or told by the puzzle's row."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from recurc.symmetries.grids import Grids
from recurc.symmetries.symmetry import Symmetry, Tokens

Forms = tuple[Symmetry, ...] | Grids


class Form(Protocol):
    """One other form of a puzzle."""

    def row(self, puzzle_id: int) -> int:
        """The row of the puzzle table that it is asked with; the puzzle's own is `puzzle_id`."""

    def present(self, puzzle: Tokens) -> Tokens:
        """A puzzle [seq] in the form."""

    def back(self, answer: Tokens) -> Tokens:
        """An answer in the form, as one of the puzzle: so that equal ones have equal tokens."""

    def own(self, answer: Tokens) -> Tokens:
        """An answer to the puzzle itself, made equal to those that are led back."""


def forms_for(forms: Forms, puzzle: NDArray[np.integer], puzzle_id: int) -> tuple[Form, ...]:
    """Those that one puzzle [seq] of a row of the puzzle table is asked in, in this order."""
    return forms.forms(puzzle, puzzle_id) if isinstance(forms, Grids) else forms
