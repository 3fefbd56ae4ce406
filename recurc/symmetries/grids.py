"""Forms of ARC-style puzzles: the same grids turned, mirrored and in other colours, each under a row of the puzzle table.

A puzzle is a rectangle of colours at the upper left of a square canvas, and its row says which rule to apply, in which
orientation and colours. Every augmentation that a model was trained with has a row of its own, so the other forms of a puzzle
are those of the other rows of its task. Where a cell goes depends on the size of the rectangle, and an answer may have another
size than its puzzle: a form is no permutation of the canvas. See runtime_c/SPEC.md, "Form".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

import numpy as np
from numpy.typing import NDArray

from recurc.errors import InputError
from recurc.reading import shown
from recurc.symmetries.symmetry import Tokens

COLOURS, PAD, END, FIRST = 10, 0, 1, 2  # tokens: nothing, the end of a row or column, colour c is c + FIRST
VOCAB = FIRST + COLOURS
_SEPARATOR = "|||"
_SWAP, _UP, _LEFT = 1, 2, 4  # rows become columns; then the rows are told from below, the columns from the right
TURNS = (0, _SWAP | _LEFT, _UP | _LEFT, _SWAP | _UP, _LEFT, _UP, _SWAP, _SWAP | _UP | _LEFT)  # t0 .. t7 of identifiers.json
BLANK = "<blank>"
MOST = 1 << 14  # forms of examples that are held against others
EXPECTED = 20.0  # times that chance would have met a row that was never met; by Poisson, one in 500 million
LEAST_SHARE = 0.1  # of the forms, whose rows the data has, that it has at least: demonstrations are moved in training


class NoForms(InputError):
    """Puzzles that are no grids of ARC, or of which nothing says that they have other forms."""


@dataclass(frozen=True)
class Augmentation:
    """What a row of the puzzle table makes of a task's grids: turn, of TURNS, and colours: colour c becomes colours[c]."""

    turn: int
    colours: tuple[int, ...]


IDENTITY = Augmentation(0, tuple(range(COLOURS)))


def size_of(canvas: NDArray[np.integer]) -> tuple[int, int]:
    """(rows, columns) of the largest rectangle of colours at the upper left of a canvas [side, side], the first such one."""
    coloured = (canvas >= FIRST) & (canvas < VOCAB)
    found, width = (0, 0), len(canvas)
    for row, line in enumerate(coloured, 1):
        width = min(width, len(line) if line.all() else int(line.argmin()))
        if row * width > math.prod(found):
            found = row, width
    return found


def _turned(base: NDArray[np.integer], turn: int) -> NDArray[np.integer]:
    grid = base[:: -1 if turn & _UP else 1, :: -1 if turn & _LEFT else 1]
    return grid.T if turn & _SWAP else grid


def _unturned(grid: NDArray[np.integer], turn: int) -> NDArray[np.integer]:
    base = grid.T if turn & _SWAP else grid
    return base[:: -1 if turn & _UP else 1, :: -1 if turn & _LEFT else 1]


def reframed(canvas: Tokens, one: Augmentation, other: Augmentation) -> Tokens:
    """The grid of a canvas [seq], as one augmentation has it, as another one has it: [seq] of the same dtype, with its ends
    around it and nothing beyond."""
    found = np.frombuffer(_reframed(np.asarray(canvas, np.uint8).tobytes(), one, other), np.uint8)
    return cast(Tokens, found.astype(canvas.dtype))


@lru_cache(1 << 14)
def _reframed(canvas: bytes, one: Augmentation, other: Augmentation) -> bytes:
    side = math.isqrt(len(canvas))
    square = np.frombuffer(canvas, np.uint8).reshape(side, side)
    rows, columns = size_of(square)
    names = np.array(other.colours)[np.argsort(one.colours)]
    grid = _turned(_unturned(names[square[:rows, :columns] - FIRST], one.turn), other.turn)
    out = np.full((side, side), PAD, np.uint8)
    rows, columns = grid.shape
    out[rows : rows + 1, :columns] = END
    out[:rows, columns : columns + 1] = END
    out[:rows, :columns] = grid + FIRST
    return out.tobytes()


@dataclass(frozen=True)
class GridForm:
    """A puzzle of one augmentation as that of another, whose row of the puzzle table has this number."""

    here: Augmentation
    there: Augmentation
    number: int

    def row(self, puzzle_id: int) -> int:
        """The row of the puzzle table that the form is asked with."""
        return self.number

    def present(self, puzzle: Tokens) -> Tokens:
        """A puzzle or an answer [seq] in the other form."""
        return reframed(puzzle, self.here, self.there)

    def back(self, answer: Tokens) -> Tokens:
        """An answer in the other form, in the puzzle's own."""
        return reframed(answer, self.there, self.here)

    def own(self, answer: Tokens) -> Tokens:
        """An answer to the puzzle itself: the grid that it shows, and nothing beyond."""
        return reframed(answer, self.here, self.here)


@dataclass(frozen=True, eq=False)
class Grids:
    """Forms of all puzzles, by their rows of the puzzle table.

    count: the most other forms that a puzzle is asked in. following: uint32 [rows], the next row of the same task, in a circle;
    a row that follows itself has no other forms. rows: what each of them makes of its task's grids.
    """

    count: int
    following: NDArray[np.uint32]
    rows: tuple[Augmentation, ...]

    @classmethod
    def of(cls, names: Sequence[str], count: int, where: str) -> Grids:
        """Those that the names of puzzle identifiers tell: TASK for a task as it is, TASK|||t3|||0241356789 for another form.

        Raises:
            InputError: a name tells no form, or no task has more than one; `where` names the file.
        """
        tasks: dict[str, list[int]] = {}
        rows = []
        for number, name in enumerate(names):
            task, found = _parsed(name, number, where)
            rows.append(found)
            if task != BLANK:
                tasks.setdefault(task, []).append(number)
        following = np.arange(len(names), dtype=np.uint32)
        for members in tasks.values():
            following[members] = members[1:] + members[:1]
        if (following == np.arange(len(names))).all():
            raise NoForms("the puzzles have no other forms", where=where,
                          why=f"its {len(names)} names are of as many tasks; another form is named TASK|||t3|||0241356789",
                          next="Name another symmetry, or `none`")  # fmt: skip
        most = max(map(len, tasks.values())) - 1
        return cls(min(count, most), following, tuple(rows))

    @classmethod
    def blank(cls, count: int, rows: int) -> Grids:
        """So many of so many rows, of which nothing is known."""
        return cls(count, np.zeros(rows, np.uint32), (IDENTITY,) * rows)

    def __len__(self) -> int:
        return self.count

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Grids) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    @property
    def _key(self) -> tuple[int, bytes, tuple[Augmentation, ...]]:
        return self.count, self.following.tobytes(), self.rows

    def forms(self, puzzle: NDArray[np.integer], puzzle_id: int) -> tuple[GridForm, ...]:
        """Other forms of a puzzle [seq] of a row, in the order in which they are asked; none of one that is no grid at the
        upper left with its ends around it and nothing beyond."""
        here = self.rows[puzzle_id]
        if not np.array_equal(reframed(puzzle, here, here), puzzle):
            return ()
        found, row = list[GridForm](), int(self.following[puzzle_id])
        while row != puzzle_id and len(found) < self.count:
            found.append(GridForm(here, self.rows[row], row))
            row = int(self.following[row])
        return tuple(found)


def _parsed(name: str, number: int, where: str) -> tuple[str, Augmentation]:
    """(task, augmentation) of a puzzle identifier's name."""
    task, *how = name.split(_SEPARATOR)
    if not how:
        return task, IDENTITY
    turn, colours = how[-2:] if len(how) > 1 else ("", "")
    if turn[:1] != "t" or turn[1:] not in map(str, range(len(TURNS))) or sorted(colours) != list(map(str, range(COLOURS))):
        raise InputError("the name of a puzzle identifier tells no form", where=f"{where}, identifier {number}",
                         why=f"it is {shown(name)}, not TASK|||t3|||0241356789: one of {len(TURNS)} turns, and ten colours",
                         next="Correct the name, or name another symmetry")  # fmt: skip
    return task, Augmentation(TURNS[int(turn[1:])], tuple(map(int, colours)))


def contradiction(grids: Grids, inputs: NDArray[np.integer], labels: NDArray[np.integer], ignored: NDArray[np.bool_],
                  puzzle_ids: NDArray[np.integer]) -> str:  # fmt: skip
    """How labelled examples [N, seq] contradict the forms, as a clause that names one; "" where they do not.

    An example in the form of another row has that row's answer: where the data has the same input under that row, its label is
    held against it. A label has to be a grid. Where the data has many examples in their other forms, it has some in those of
    each row: a row that should have been met often and never was has another form than its name says.
    """
    if not len(grids):
        return ""
    looked, met = dict.fromkeys(puzzle_ids.tolist(), 0), dict.fromkeys(puzzle_ids.tolist(), 0)
    labelled = np.flatnonzero((~ignored).any(axis=1))
    some = np.linspace(0, len(labelled) - 1, min(len(labelled), max(1, MOST // len(grids)))).astype(int)
    asked = {
        int(i): [(form, form.present(inputs[i]).tobytes()) for form in grids.forms(inputs[i], int(puzzle_ids[i]))]
        for i in labelled[some]
    }
    wanted = {(form.number, presented) for forms in asked.values() for form, presented in forms}
    keys = ((int(row), puzzle.tobytes()) for row, puzzle in zip(puzzle_ids, inputs))
    known = {key: i for i, key in enumerate(keys) if key in wanted}
    for i, forms in asked.items():
        label, kept = np.where(ignored[i], PAD, labels[i]).astype(inputs.dtype), ~ignored[i]
        if forms and (forms[0][0].own(label) != label)[kept].any():
            return f"the answer of example {i} is no grid at the upper left with its ends around it"
        for form, presented in forms:
            if form.number in looked:
                looked[form.number] += 1
            other = known.get((form.number, presented))
            if other is None:
                continue
            met[form.number] += 1
            wrong = (form.present(label) != labels[other]) & ~ignored[other]
            if wrong.any():
                cell = int(wrong.argmax())
                here, there = int(form.present(label)[cell]), int(labels[other, cell])
                return (f"example {i} of row {int(puzzle_ids[i])} is example {other} in the form of row {form.number}, and its "
                        f"answer has {here} in cell {cell}, the other one {there}")  # fmt: skip
    share = sum(met.values()) / max(1, sum(looked.values()))
    for row, times in looked.items():
        if not met[row] and times * max(share, LEAST_SHARE) >= EXPECTED:
            return f"of {times} examples that it has in the form of row {row} by that row's name, it has none"
    return ""
