"""Mazes with one shortest path: generator, symmetries, and a provable train/test split.

A maze is a square of walls and floor with a wall around it. Rooms lie at the odd positions; a random spanning tree of them
is carved (growing from its newest room or from any, hence corridors and short dead ends), then `loops` more walls between
rooms are opened, so that a longer way round exists and distances must be compared. Where the side is even, one border is two
cells thick. Start and goal are two floor cells between which exactly one shortest path exists: the label is the only right
answer, not one of several.

Tokens as in the original's maze data: 0 PAD (never occurs), 1 wall, 2 floor, 3 start, 4 goal, 5 path (labels only, between
start and goal). In the text form of those: `#`, blank, `S`, `G`, `o`.

The split: the *class key* of a maze is the smallest image of its walls under the eight symmetries of the square, and a hash
of it says whether the maze belongs to training or to the held-out set, whatever start and goal.

    python -m examples.training.maze DIR --side 30 --train 1000 --test 200      writes a dataset of any side
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections import deque
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .puzzles import Puzzles, write_split

WALL, FLOOR, START, GOAL, PATH = 1, 2, 3, 4, 5
VOCAB = 6
TEXT = "?# SGo"  # token -> character
STRAIGHT = 0.6  # how often the tree grows on from its newest room; the higher, the longer the corridors
HELD_OUT_PART = 8  # one maze in eight is held out
STARTS_TRIED = 4  # in one maze; then another maze is drawn
MAZES_TRIED = 2000  # for one puzzle; then the wanted lengths are given up

MOVES = ((0, 1), (1, 0), (0, -1), (-1, 0))

Cell = tuple[int, int]


class MazeError(Exception):
    """Sizes that give no maze; the message says what."""


def carve(side: int, loops: int, rng: np.random.Generator) -> np.ndarray:
    """A random maze: bool [side, side], True where it is floor."""
    rooms = (side - 1) // 2
    floor = np.zeros((side, side), bool)
    floor[1 : 2 * rooms : 2, 1 : 2 * rooms : 2] = True
    # All randomness at once: a call for each room would take most of the time.
    order = rng.random((rooms * rooms, 4)).argsort(1).tolist()
    first = divmod(int(rng.integers(rooms * rooms)), rooms)
    pick = rng.random((rooms * rooms * 5, 2)).tolist()
    active, seen = [first], {first}
    for newest, which in pick:  # a room has four turns and one end: five picks each at most
        i = -1 if newest < STRAIGHT else int(which * len(active))
        r, c = active[i]
        turns = order[r * rooms + c]
        if not turns:
            del active[i]
            if not active:
                break
            continue
        down, right = MOVES[turns.pop()]
        to = r + down, c + right
        if 0 <= to[0] < rooms and 0 <= to[1] < rooms and to not in seen:
            floor[2 * r + down + 1, 2 * c + right + 1] = True
            seen.add(to)
            active.append(to)
    inner = range(1, 2 * rooms)
    walls = [(r, c) for r in inner for c in inner if (r + c) % 2 and not floor[r, c]]
    for i in rng.permutation(len(walls))[:loops]:
        floor[walls[i]] = True
    return floor


def distances(floor: np.ndarray, start: Cell) -> tuple[np.ndarray, np.ndarray]:
    """From `start` to every cell: (steps [side, side], -1 where there is no way; number of shortest ways, the same shape)."""
    side = len(floor)
    open_ = floor.tolist()
    steps = [[-1] * side for _ in range(side)]
    ways = [[0] * side for _ in range(side)]
    steps[start[0]][start[1]], ways[start[0]][start[1]] = 0, 1
    queue = deque([start])
    while queue:
        r, c = queue.popleft()
        for down, right in MOVES:  # the border is wall, so no step leaves the square
            y, x = r + down, c + right
            if open_[y][x]:
                if steps[y][x] < 0:
                    steps[y][x] = steps[r][c] + 1
                    queue.append((y, x))
                if steps[y][x] == steps[r][c] + 1:
                    ways[y][x] += ways[r][c]
    return np.array(steps), np.array(ways)


def walk_back(steps: np.ndarray, goal: Cell) -> list[Cell]:
    """The cells of a shortest path, from `goal` to the start that `steps` counts from; the only one where there is one."""
    path = [goal]
    while steps[path[-1]] > 0:
        r, c = path[-1]
        path.append(next((r + y, c + x) for y, x in MOVES if steps[r + y, c + x] == steps[r, c] - 1))
    return path


def tokens(floor: np.ndarray, start: Cell, goal: Cell, path: list[Cell]) -> tuple[np.ndarray, np.ndarray]:
    """(input, label), uint8 [side * side]."""
    grid = np.where(floor, FLOOR, WALL).astype(np.uint8)
    grid[start], grid[goal] = START, GOAL
    label = grid.copy()
    for cell in path:
        if cell not in (start, goal):
            label[cell] = PATH
    return grid.reshape(-1), label.reshape(-1)


def as_text(grid: np.ndarray) -> str:
    """Tokens [side * side] in the text form of the original's CSV files, row after row without line ends."""
    return "".join(TEXT[t] for t in grid)


# -------------------------------------------------------------------------------------- split
def symmetries(grid: np.ndarray) -> list[np.ndarray]:
    """The eight images of a square."""
    return [np.rot90(g, turns) for g in (grid, grid.T) for turns in range(4)]


def class_key(floor: np.ndarray) -> bytes:
    """What the split is made on: equal for mazes that are turned or mirrored images of each other."""
    return min(np.packbits(g).tobytes() for g in symmetries(floor))


def is_held_out(key: bytes) -> bool:
    return int.from_bytes(hashlib.sha256(key).digest()[:4], "big") % HELD_OUT_PART == 0


# ------------------------------------------------------------------------------------ puzzles
@dataclass(frozen=True)
class MazeSource:
    """One side of the split. Mazes are drawn on the fly; `steps` is the length of the shortest path, inclusive.

    Sides in `small` occur as often as the full one: a smaller maze somewhere in a square of walls, easier to learn from.
    """

    side: int
    loops: int
    steps: tuple[int, int]
    held_out: bool
    small: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.side < 5 or self.loops < 0 or not 1 <= self.steps[0] <= self.steps[1]:
            raise MazeError(f"no maze of side {self.side} with {self.loops} loops and paths of {self.steps} steps")
        if not all(5 <= side < self.side for side in self.small):
            raise MazeError(f"small mazes of sides {self.small}: they must be from 5 to under {self.side}")

    def floor(self, rng: np.random.Generator) -> np.ndarray:
        """A maze: bool [side, side], True where it is floor."""
        inner = int(rng.choice((self.side, *self.small))) if self.small else self.side
        down, right = rng.integers(self.side - inner + 1, size=2)
        whole = np.zeros((self.side, self.side), bool)
        whole[down : down + inner, right : right + inner] = carve(inner, self.loops, rng)
        return whole

    def draw(self, count: int, rng: np.random.Generator) -> Puzzles:
        rows = [self.one(rng) for _ in range(count)]
        return Puzzles(np.stack([x for x, _ in rows]), np.stack([y for _, y in rows]), np.zeros(count, np.int32))

    def distinct(self, count: int, rng: np.random.Generator) -> Puzzles:
        """`count` puzzles of different walls, as a held-out set should be."""
        seen, rows = set(), []
        while len(rows) < count:
            x, y = self.one(rng)
            key = class_key(x.reshape(self.side, -1) != WALL)
            if key not in seen:
                seen.add(key)
                rows.append((x, y))
        return Puzzles(np.stack([x for x, _ in rows]), np.stack([y for _, y in rows]), np.zeros(count, np.int32))

    def one(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """(input, label) of one puzzle.

        Raises:
            MazeError: mazes of this size have no (or hardly any) paths of the wanted length.
        """
        low, high = self.steps
        for _ in range(MAZES_TRIED):
            floor = self.floor(rng)
            if is_held_out(class_key(floor)) != self.held_out:
                continue
            floor = symmetries(floor)[rng.integers(8)]
            cells = np.argwhere(floor)
            for start in rng.permutation(cells)[:STARTS_TRIED]:
                steps, ways = distances(floor, tuple(start.tolist()))
                goals = np.argwhere((steps >= low) & (steps <= high) & (ways == 1))
                if len(goals):
                    goal = tuple(goals[rng.integers(len(goals))].tolist())
                    return tokens(floor, tuple(start.tolist()), goal, walk_back(steps, goal))
        raise MazeError(f"mazes of side {self.side} with {self.loops} loops have too few paths of {low}-{high} steps")


# ------------------------------------------------------------------------------------ dataset
def write_dataset(folder: Path, train: Puzzles, test: Puzzles) -> None:
    """Both splits and identifiers.json, as the original's builder leaves them."""
    write_split(folder / "train", train, VOCAB)
    write_split(folder / "test", test, VOCAB)
    (folder / "identifiers.json").write_text(json.dumps(["<blank>"]) + "\n")


def main(argv: list[str]) -> int:
    p = argparse.ArgumentParser(prog="python -m examples.training.maze", description="Write a maze dataset.")
    p.add_argument("folder", type=Path)
    p.add_argument("--side", type=int, default=30)
    p.add_argument("--loops", type=int, default=10, help="walls opened beside the spanning tree")
    p.add_argument("--steps", type=int, nargs=2, default=(60, 400), metavar=("MIN", "MAX"), help="length of the path")
    p.add_argument("--train", type=int, default=1000, help="puzzles for training")
    p.add_argument("--test", type=int, default=200, help="puzzles held out")
    p.add_argument("--seed", type=int, default=0)
    args = p.parse_args(argv)
    try:
        train, test = (MazeSource(args.side, args.loops, tuple(args.steps), held_out) for held_out in (False, True))
        write_dataset(
            args.folder,
            train.draw(args.train, np.random.default_rng([args.seed, 3])),
            test.distinct(args.test, np.random.default_rng([args.seed, 1])),
        )
    except (OSError, MazeError) as error:
        print(f"maze: {error}", file=sys.stderr)
        return 2
    print(f"{args.train} training and {args.test} held-out mazes of {args.side} x {args.side}: {args.folder}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
