"""The kinds of task a recipe can name: what `[task]` holds, and what training and export need of it.

A kind is one dataclass with the methods below; `KINDS` lists them. Everything else in this package is the same for all.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np

from . import arc, maze, sudoku
from .puzzles import Group, Puzzles, Source, write_split

EXAMPLES = Path(__file__).resolve().parent.parent
Say = Callable[[str], None]


@dataclass(frozen=True)
class SudokuSource:
    """Training puzzles drawn from a pool of base puzzles."""

    pool: sudoku.Pool
    givens: tuple[int, int]

    def draw(self, count: int, rng: np.random.Generator) -> Puzzles:
        return one_identifier(*sudoku.draw(self.pool, count, self.givens, rng))


def one_identifier(inputs: np.ndarray, labels: np.ndarray) -> Puzzles:
    return Puzzles(inputs, labels, np.zeros(len(inputs), np.int32))


@dataclass(frozen=True)
class SudokuTask:
    n: int  # symbols: 4, 6 or 9
    givens: tuple[int, int]  # training puzzles, inclusive
    test_givens: tuple[int, int]  # held-out puzzles, inclusive
    dig_to: int  # base puzzles have at least this many givens
    pool: int  # base puzzles for training
    test_pool: int = 2000  # base puzzles held out
    test_dig_to: int = 0  # fewest givens of those; 0: as in training
    seed: int = 0
    kind: str = "sudoku"

    def __post_init__(self) -> None:
        if self.n not in sudoku.BOXES:
            raise ValueError(f"n must be one of {sorted(sudoku.BOXES)}")

    def sizes(self) -> dict[str, int]:
        """The model's fields that the task settles."""
        return {"seq_len": self.n**2, "vocab_size": self.n + 2}

    def sources(self, folder: Path, say: Say) -> tuple[SudokuSource, sudoku.Pool]:
        """The training source and the held-out pool; cached in `folder`, a pure function of the recipe."""
        result = []
        for held_out, count in ((False, self.pool), (True, self.test_pool)):
            side = "test" if held_out else "train"
            stop = (self.test_dig_to or self.dig_to) if held_out else self.dig_to
            path = folder / f"pool-{self.n}-{stop}-{count}-{self.seed}-{side}.npz"
            if not path.exists():
                say(f"digging {count} {side} base puzzles ...")
                pool = sudoku.make_pool(self.n, count, stop, self.seed, held_out)
                part = path.with_suffix(".part.npz")
                np.savez_compressed(part, puzzles=pool.puzzles, solutions=pool.solutions)
                os.replace(part, path)
            with np.load(path) as z:
                result.append(sudoku.Pool(self.n, z["puzzles"], z["solutions"]))
        return SudokuSource(result[0], self.givens), result[1]

    def test_set(self, held_out: sudoku.Pool, count: int) -> Puzzles:
        """`count` held-out puzzles, always the same for a recipe."""
        rng = np.random.default_rng([self.seed, 1])
        return one_identifier(*sudoku.held_out_set(held_out, count, self.test_givens, rng))

    def groups(self, puzzles: Puzzles, edges: tuple[int, ...]) -> list[Group]:
        """The puzzles by their number of givens; `edges` cut them into buckets [a, b)."""
        givens = (puzzles.inputs > 1).sum(1)
        return [Group({"givens": [int(a), int(b) - 1]}, (givens >= a) & (givens < b)) for a, b in pairwise(edges)]

    def about_test(self, puzzles: Puzzles) -> str:
        givens = (puzzles.inputs > 1).sum(1)
        return f"held out: {int(givens.min())}-{int(givens.max())} givens"

    def write_data(self, folder: Path, train: Puzzles, test: Puzzles) -> None:
        write_split(folder / "train", train, self.n + 2)
        write_split(folder / "test", test, self.n + 2)
        (folder / "identifiers.json").write_text('["<blank>"]\n')

    def more_figures(self, predict, train: Puzzles, test: Puzzles, tokens: np.ndarray, q: np.ndarray) -> dict:
        return {}


@dataclass(frozen=True)
class ArcTask:
    tasks: str  # the task file, relative to the examples folder
    canvas: int  # side of the square the grids lie on
    augmentations: int  # of each task, besides the task as it is
    seed: int = 0
    kind: str = "arc"

    @cached_property
    def _data(self) -> arc.ArcData:
        return arc.ArcData(arc.read_tasks(EXAMPLES / self.tasks), self.canvas, self.augmentations, self.seed)

    def data(self) -> arc.ArcData:
        """All puzzles; built once."""
        return self._data

    def sizes(self) -> dict[str, int]:
        return {"seq_len": self.canvas**2, "vocab_size": arc.VOCAB, "num_puzzle_identifiers": len(self.data().names)}

    def sources(self, folder: Path, say: Say) -> tuple[arc.ArcData, arc.ArcData]:
        return self.data(), self.data()

    def test_set(self, held_out: arc.ArcData, count: int) -> Puzzles:
        return held_out.held_out().take(count)

    def groups(self, puzzles: Puzzles, edges: tuple[int, ...]) -> list[Group]:
        """The puzzles by task."""
        task = self.data().task_of(puzzles.ids)
        rules = self.data().tasks
        return [Group({"task": name, "rule": rules[name].get("rule", "")}, task == name) for name in rules]

    def about_test(self, puzzles: Puzzles) -> str:
        return "held out: test pairs"

    def write_data(self, folder: Path, train: Puzzles, test: Puzzles) -> None:
        for split, puzzles in (("train", train), ("test", test)):
            write_split(folder / split, puzzles, arc.VOCAB, len(self.data().names))
        self.data().write_names(folder)

    def more_figures(self, predict, train: Puzzles, test: Puzzles, tokens: np.ndarray, q: np.ndarray) -> dict:
        """The training pairs, wrong puzzle rows, and the vote over augmentations; see `arc_figures.py`."""
        from .arc_figures import figures

        return figures(self.data(), predict, train, test, tokens[:, -1], q[:, -1])


@dataclass(frozen=True)
class MazeTask:
    side: int  # cells, the surrounding wall included
    loops: int  # walls opened beside the spanning tree
    steps: tuple[int, int]  # length of the shortest path of training mazes, inclusive
    test_steps: tuple[int, int]  # of held-out mazes
    small: tuple[int, ...] = ()  # sides of smaller mazes among the training mazes, each as frequent as the full side
    seed: int = 0
    kind: str = "maze"

    def __post_init__(self) -> None:
        self._sources()  # sizes that give no maze are refused here

    def sizes(self) -> dict[str, int]:
        return {"seq_len": self.side**2, "vocab_size": maze.VOCAB}

    def _sources(self) -> tuple[maze.MazeSource, maze.MazeSource]:
        return (
            maze.MazeSource(self.side, self.loops, tuple(self.steps), False, tuple(self.small)),
            maze.MazeSource(self.side, self.loops, tuple(self.test_steps), True),
        )

    def sources(self, folder: Path, say: Say) -> tuple[maze.MazeSource, maze.MazeSource]:
        return self._sources()

    def test_set(self, held_out: maze.MazeSource, count: int) -> Puzzles:
        return held_out.distinct(count, np.random.default_rng([self.seed, 1]))

    def groups(self, puzzles: Puzzles, edges: tuple[int, ...]) -> list[Group]:
        """The mazes by the length of their path; `edges` cut them into buckets [a, b)."""
        steps = (puzzles.labels == maze.PATH).sum(1) + 1
        return [Group({"steps": [int(a), int(b) - 1]}, (steps >= a) & (steps < b)) for a, b in pairwise(edges)]

    def about_test(self, puzzles: Puzzles) -> str:
        steps = (puzzles.labels == maze.PATH).sum(1) + 1
        return f"held out: paths of {int(steps.min())}-{int(steps.max())}"

    def write_data(self, folder: Path, train: Puzzles, test: Puzzles) -> None:
        maze.write_dataset(folder, train, test)

    def more_figures(self, predict, train: Puzzles, test: Puzzles, tokens: np.ndarray, q: np.ndarray) -> dict:
        return {}


Task = SudokuTask | ArcTask | MazeTask
KINDS: dict[str, type[Task]] = {"sudoku": SudokuTask, "arc": ArcTask, "maze": MazeTask}

__all__ = ["EXAMPLES", "KINDS", "ArcTask", "MazeTask", "Source", "SudokuTask", "Task"]
