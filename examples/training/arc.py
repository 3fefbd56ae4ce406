"""ARC tasks as a dataset of the reference code's form, on a small canvas.

A *task* has a few demonstrations (pairs of grids) and one to three test pairs. An *augmentation* turns or mirrors all its grids
(`t0` ... `t7`) and permutes the colours 1-9 (colour 0 stays). Every (task, augmentation) is a puzzle of its own with its own
identifier, hence its own row of the puzzle embedding: the row is all that tells the model which rule to apply, for an input
comes alone, without the demonstrations. Identifier 0 is "<blank>", never used.

Demonstrations are for training; test pairs, of the task as it is and of all augmentations, are held out. As the same rule in
other colours and another orientation is trained on, a held-out pair is new in its grids, not in its rule.

Tokens: 0 PAD, 1 end of grid (the row under and the column right of it), colour c -> c + 2. The grid lies at the upper left,
in training sometimes moved (input and output by the same amount).

    python -m examples.training.arc examples/recipes/arc-mini.toml DIR      writes the whole dataset
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .puzzles import Puzzles, write_split

EOS, FIRST_COLOUR = 1, 2
VOCAB = 12
SEPARATOR = "|||"
RETRIES = 5  # augmentations are drawn at most this often per wanted one; a plain task has few that differ
STAY = 0.5  # share of training examples whose grids are not moved on the canvas

Grid = np.ndarray  # uint8 [rows, columns], colours 0-9
Pair = tuple[Grid, Grid]

# t0 ... t7 as the reference numbers them, and for each the one that undoes it.
DIHEDRAL = (
    lambda g: g,
    lambda g: np.rot90(g, 1),
    lambda g: np.rot90(g, 2),
    lambda g: np.rot90(g, 3),
    np.fliplr,
    np.flipud,
    np.transpose,
    lambda g: np.fliplr(np.rot90(g, 1)),
)
UNDO = (0, 3, 2, 1, 4, 5, 6, 7)


class ArcError(ValueError):
    """The task file or the recipe's sizes are wrong; the message says what."""


@dataclass(frozen=True)
class Augmentation:
    """turn: 0-7, an index of `DIHEDRAL`; colours: colour c becomes colours[c]."""

    turn: int = 0
    colours: tuple[int, ...] = tuple(range(10))

    def apply(self, grid: Grid) -> Grid:
        return DIHEDRAL[self.turn](np.array(self.colours, np.uint8)[grid])

    def undo(self, grid: Grid) -> Grid:
        return np.argsort(self.colours).astype(np.uint8)[DIHEDRAL[UNDO[self.turn]](grid)]

    def name(self, task: str) -> str:
        """The puzzle's name as the reference writes it; parsed by `parse_name`."""
        return SEPARATOR.join((task, f"t{self.turn}", "".join(map(str, self.colours))))


def parse_name(name: str) -> tuple[str, Augmentation]:
    """Puzzle name -> (task, augmentation); a bare task is the identity."""
    if SEPARATOR not in name:
        return name, Augmentation()
    task, turn, colours = name.split(SEPARATOR)
    return task, Augmentation(int(turn[1:]), tuple(int(c) for c in colours))


@dataclass(frozen=True)
class Puzzle:
    """One (task, augmentation)."""

    name: str
    train: tuple[Pair, ...]
    test: tuple[Pair, ...]

    def key(self) -> bytes:
        """Equal for two puzzles with the same pairs, in whatever order and split."""
        return hashlib.sha256(b"|".join(sorted(_bytes(a) + _bytes(b) for a, b in self.train + self.test))).digest()


def _bytes(grid: Grid) -> bytes:
    return bytes(grid.shape) + np.ascontiguousarray(grid).tobytes()


def read_tasks(path: Path) -> dict[str, dict]:
    """The task file: name -> {"train": [{"input", "output"}...], "test": [...], ...}.

    Raises:
        ArcError: not readable, or not of this form.
    """
    try:
        tasks = json.loads(path.read_text(encoding="utf-8"))
        for name, task in tasks.items():
            for pair in task["train"] + task["test"]:
                for grid in (np.array(pair["input"]), np.array(pair["output"])):
                    if grid.ndim != 2 or grid.size == 0 or grid.min() < 0 or grid.max() > 9:
                        raise ArcError(f"{path}: {name}: a grid is not a rectangle of colours 0-9")
    except OSError as error:
        raise ArcError(f"{path}: {error.strerror}") from error
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise ArcError(f"{path}: not a file of ARC tasks: {error!r}") from error
    return tasks


def build_groups(tasks: dict[str, dict], augmentations: int, seed: int) -> list[list[Puzzle]]:
    """For each task the list of its puzzles: as it is, then up to `augmentations` that all differ."""
    rng = np.random.default_rng([seed, 7])
    groups = []
    for name, task in tasks.items():
        pairs = {
            side: tuple((np.array(p["input"], np.uint8), np.array(p["output"], np.uint8)) for p in task[side])
            for side in ("train", "test")
        }
        group = [Puzzle(name, pairs["train"], pairs["test"])]
        seen = {group[0].key()}
        for _ in range(RETRIES * augmentations):
            if len(group) > augmentations:
                break
            how = Augmentation(int(rng.integers(8)), (0, *(int(c) for c in rng.permutation(np.arange(1, 10)))))
            moved = {s: tuple((how.apply(a), how.apply(b)) for a, b in pairs[s]) for s in pairs}
            puzzle = Puzzle(how.name(name), moved["train"], moved["test"])
            if puzzle.key() not in seen:
                seen.add(puzzle.key())
                group.append(puzzle)
        groups.append(group)
    return groups


def encode(grid: Grid, canvas: int, down: int = 0, right: int = 0) -> np.ndarray:
    """Grid -> tokens uint8 [canvas * canvas], moved `down` and `right`."""
    rows, columns = grid.shape
    out = np.zeros((canvas, canvas), np.uint8)
    out[down : down + rows, right : right + columns] = grid + FIRST_COLOUR
    out[down + rows : down + rows + 1, right : right + columns] = EOS
    out[down : down + rows, right + columns : right + columns + 1] = EOS
    return out.reshape(-1)


def decode(tokens: np.ndarray, canvas: int) -> Grid | None:
    """Tokens -> the grid at the upper left; None when no whole grid stands there (what lies outside it does not count)."""
    square = tokens.reshape(canvas, canvas)
    colour = square >= FIRST_COLOUR
    rows = canvas if colour[:, 0].all() else int(colour[:, 0].argmin())
    columns = canvas if colour[0].all() else int(colour[0].argmin())
    grid = square[:rows, :columns]
    if not grid.size or not colour[:rows, :columns].all():
        return None
    return grid - FIRST_COLOUR


class ArcData:
    """All puzzles of a recipe. `names[i]` is the puzzle with identifier i; `draw` gives training examples."""

    def __init__(self, tasks: dict[str, dict], canvas: int, augmentations: int, seed: int):
        self.tasks, self.canvas = tasks, canvas
        self.groups = build_groups(tasks, augmentations, seed)
        puzzles = [p for group in self.groups for p in group]
        self.names = ["<blank>", *(p.name for p in puzzles)]
        self.ids = {p.name: i for i, p in enumerate(puzzles, 1)}
        for p in puzzles:
            if max(n for a, b in p.train + p.test for n in a.shape + b.shape) > canvas:
                raise ArcError(f"task {p.name}: a grid does not fit the canvas of {canvas} x {canvas}")

    def encode_pair(self, pair: Pair, rng: np.random.Generator | None = None) -> tuple[np.ndarray, np.ndarray]:
        """(input, label) tokens; moved by a random amount when `rng` is given."""
        down = right = 0
        if rng is not None and rng.random() >= STAY:
            down = rng.integers(self.canvas - max(g.shape[0] for g in pair) + 1)
            right = rng.integers(self.canvas - max(g.shape[1] for g in pair) + 1)
        return encode(pair[0], self.canvas, down, right), encode(pair[1], self.canvas, down, right)

    def draw(self, count: int, rng: np.random.Generator) -> Puzzles:
        """Demonstrations: a random task, one of its puzzles, one of its pairs."""
        rows = []
        for _ in range(count):
            group = self.groups[rng.integers(len(self.groups))]
            puzzle = group[rng.integers(len(group))]
            pair = puzzle.train[rng.integers(len(puzzle.train))]
            rows.append((*self.encode_pair(pair, rng), self.ids[puzzle.name]))
        return _stack(rows)

    def held_out(self) -> Puzzles:
        """All test pairs, not moved: first of the tasks as they are, then of each task's first augmentation, and so on.

        So the first few examples of this split are of all tasks.
        """
        rows = []
        for depth in range(max(map(len, self.groups))):
            for group in self.groups:
                if depth < len(group):
                    puzzle = group[depth]
                    rows += [(*self.encode_pair(pair), self.ids[puzzle.name]) for pair in puzzle.test]
        return _stack(rows)

    def task_of(self, ids: np.ndarray) -> np.ndarray:
        """Task names [N] of puzzle identifiers [N]."""
        return np.array([parse_name(self.names[i])[0] for i in ids])

    def write_names(self, folder: Path) -> None:
        """identifiers.json and test_puzzles.json (the tasks with their solutions), beside the splits."""
        (folder / "identifiers.json").write_text(json.dumps(self.names) + "\n")
        plain = {name: {side: task[side] for side in ("train", "test")} for name, task in self.tasks.items()}
        (folder / "test_puzzles.json").write_text(json.dumps(plain, separators=(",", ":")) + "\n")

    def write(self, folder: Path, seed: int) -> None:
        """The whole dataset as the reference groups it: a group is a task, a puzzle one of its augmentations.

        In `train` one demonstration of each puzzle stays at the upper left, the others are moved once.
        """
        rng = np.random.default_rng([seed, 5])
        for split in ("train", "test"):
            rows, puzzle_starts, group_starts = [], [0], [0]
            for puzzle, last in self._walk():
                pairs = getattr(puzzle, split)
                stays = rng.integers(len(pairs))
                for i, pair in enumerate(pairs):
                    move = rng if split == "train" and i != stays else None
                    rows.append((*self.encode_pair(pair, move), self.ids[puzzle.name]))
                puzzle_starts.append(len(rows))
                if last:
                    group_starts.append(len(puzzle_starts) - 1)
            write_split(folder / split, _stack(rows), VOCAB, len(self.names), puzzle_starts, group_starts)
        self.write_names(folder)

    def _walk(self) -> Iterator[tuple[Puzzle, bool]]:
        """Every puzzle, and whether it is its group's last."""
        for group in self.groups:
            for i, puzzle in enumerate(group):
                yield puzzle, i == len(group) - 1


def _stack(rows: list[tuple[np.ndarray, np.ndarray, int]]) -> Puzzles:
    inputs, labels, ids = zip(*rows, strict=True)
    return Puzzles(np.stack(inputs), np.stack(labels), np.array(ids, np.int32))


def main(argv: list[str]) -> int:
    from .recipe import RecipeError, read_recipe

    if len(argv) != 2:
        print("usage: python -m examples.training.arc RECIPE.toml DIR", file=sys.stderr)
        return 2
    try:
        task = read_recipe(Path(argv[0])).task
        if task.kind != "arc":
            raise RecipeError(f"{argv[0]}: a recipe of kind {task.kind!r}, not 'arc'")
        data = task.data()
    except (OSError, RecipeError, ArcError) as error:
        print(f"arc: {error}", file=sys.stderr)
        return 2
    data.write(Path(argv[1]), task.seed)
    print(f"{len(data.groups)} tasks, {len(data.names)} identifiers: {argv[1]}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
