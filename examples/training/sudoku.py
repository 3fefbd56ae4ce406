"""Sudoku puzzles of three sizes: generator, symmetries, and a provable train/test split.

A puzzle with *n* symbols has ``n*n`` cells in boxes of ``BOXES[n]`` (rows, columns).
Grids are int arrays of shape ``(n*n,)``, 0 = empty, digits 1..n. The model sees *tokens*:
0 = PAD (never occurs), 1 = blank, digit d -> d + 1, so the vocabulary has n + 2 entries.

Drawing puzzles with a unique solution is slow in Python, so it is done once: a *pool* of base
puzzles is dug (cells removed while the solution stays unique). Training then draws from the pool,
gives some cells back and applies a random symmetry; both keep the solution unique.

The split: every puzzle has a *class key* that no symmetry can change, and a hash of that key says
whether the puzzle belongs to training or to the held-out set. Two puzzles on different sides
therefore have different keys, hence are no symmetry of each other, whatever was generated.

=====  =============================================================  ====================
size   class key                                                      what is held out
=====  =============================================================  ====================
9x9    cycle-type invariant of the solution grid                      whole solution grids
6x6    canonical form of the solution grid (49 classes exist)         whole solution grids
4x4    canonical form of the puzzle (only 2 solution classes exist)   puzzles
=====  =============================================================  ====================
"""

from __future__ import annotations

import hashlib
import itertools
import random
from dataclasses import dataclass
from functools import cache

import numpy as np

BOXES = {4: (2, 2), 6: (2, 3), 9: (3, 3)}  # n -> (rows, columns) of a box
HELD_OUT_PART = 8  # one class in eight is held out


# ------------------------------------------------------------------------------------- solver
@cache
def _units(n: int) -> tuple[tuple[int, int, int], ...]:
    """(row, column, box) of every cell."""
    h, w = BOXES[n]
    per_row = n // w
    return tuple((c // n, c % n, (c // n // h) * per_row + (c % n) // w) for c in range(n * n))


def solve(grid, n: int, rng: random.Random | None = None, banned: tuple[int, int] | None = None):
    """One solution of `grid` (list of n*n ints, 0 empty) or None.

    `banned` = (cell, digit) forbids a digit in a cell: the puzzle that has digit d in cell c is
    unique exactly when no solution exists with d banned there. `rng` shuffles the branching.
    """
    units = _units(n)
    full = (1 << n) - 1
    rows, cols, boxes = [full] * n, [full] * n, [full] * n
    out = list(grid)
    empty = []
    for cell, digit in enumerate(out):
        if digit == 0:
            empty.append(cell)
            continue
        r, c, b = units[cell]
        bit = 1 << (digit - 1)
        if not (rows[r] & cols[c] & boxes[b] & bit):
            return None  # the givens contradict each other
        rows[r] ^= bit
        cols[c] ^= bit
        boxes[b] ^= bit
    ban_cell, ban_mask = (banned[0], ~(1 << (banned[1] - 1))) if banned else (-1, full)

    def search() -> bool:
        if not empty:
            return True
        best, best_count, best_mask = -1, n + 1, 0
        for i, cell in enumerate(empty):  # the cell with fewest candidates
            r, c, b = units[cell]
            mask = rows[r] & cols[c] & boxes[b]
            if cell == ban_cell:
                mask &= ban_mask
            count = mask.bit_count()
            if count < best_count:
                best, best_count, best_mask = i, count, mask
                if count <= 1:
                    break
        if best_count == 0:
            return False
        cell = empty[best]
        empty[best] = empty[-1]
        empty.pop()
        r, c, b = units[cell]
        bits = [1 << d for d in range(n) if best_mask >> d & 1]
        if rng is not None:
            rng.shuffle(bits)
        for bit in bits:
            rows[r] ^= bit
            cols[c] ^= bit
            boxes[b] ^= bit
            out[cell] = bit.bit_length()
            if search():
                return True
            rows[r] ^= bit
            cols[c] ^= bit
            boxes[b] ^= bit
        empty.append(cell)
        empty[best], empty[-1] = empty[-1], empty[best]
        return False

    return out if search() else None


def is_unique(puzzle, n: int) -> bool:
    """True when `puzzle` has exactly one solution (tests every empty cell's alternative)."""
    first = solve(puzzle, n)
    if first is None:
        return False
    # A second solution differs in some empty cell; fixing cells one by one keeps this short.
    grid = list(puzzle)
    for cell, digit in enumerate(first):
        if grid[cell] == 0:
            if solve(grid, n, banned=(cell, digit)) is not None:
                return False
            grid[cell] = digit
    return True


def random_solution(n: int, rng: random.Random) -> list[int]:
    return solve([0] * (n * n), n, rng)


def dig(solution, n: int, stop: int, rng: random.Random) -> list[int]:
    """Remove givens in random order while the solution stays unique, down to `stop` givens."""
    puzzle = list(solution)
    left = n * n
    order = list(range(n * n))
    rng.shuffle(order)
    for cell in order:
        if left <= stop:
            break
        digit, puzzle[cell] = puzzle[cell], 0
        if solve(puzzle, n, banned=(cell, digit)) is None:
            left -= 1
        else:
            puzzle[cell] = digit
    return puzzle


# --------------------------------------------------------------------------------- symmetries
@cache
def cell_symmetries(n: int) -> np.ndarray:
    """All cell permutations that map valid grids to valid grids; (symmetries, n*n). n <= 6."""
    h, w = BOXES[n]

    def line_orders(block: int) -> list[list[int]]:
        inner = list(itertools.permutations(range(block)))
        orders = []
        for outer in itertools.permutations(range(n // block)):
            for inners in itertools.product(inner, repeat=n // block):
                orders.append([b * block + i for b, order in zip(outer, inners, strict=True) for i in order])
        return orders

    rows, cols = np.array(line_orders(h)), np.array(line_orders(w))
    cells = (rows[:, None, :, None] * n + cols[None, :, None, :]).reshape(-1, n, n)
    if h == w:
        cells = np.concatenate([cells, cells.transpose(0, 2, 1)])
    return cells.reshape(len(cells), n * n)


def canonical(grid, n: int) -> bytes:
    """Smallest image of a grid (0 = empty) under all symmetries and relabelings; n = 4 or 6."""
    images = np.asarray(grid)[cell_symmetries(n)]
    # Relabel digits by order of first appearance: rank the first positions of each digit.
    where = np.stack([(images == d).argmax(1) + (~(images == d).any(1)) * 999 for d in range(1, n + 1)], 1)
    label = np.zeros((len(images), n + 1), np.uint8)
    np.put_along_axis(label[:, 1:], where.argsort(1, kind="stable"), np.arange(1, n + 1, dtype=np.uint8)[None], 1)
    images = np.take_along_axis(label, images, 1)
    return images[np.lexsort(images.T[::-1])[0]].tobytes()


def _cycle_type(a, b) -> tuple[int, ...]:
    """Cycle lengths of the digit permutation a[i] -> b[i]; unchanged by relabeling and by order."""
    step = dict(zip(a, b, strict=True))
    lengths = []
    while step:
        here, length = next(iter(step)), 0
        while here in step:
            here = step.pop(here)
            length += 1
        lengths.append(length)
    return tuple(sorted(lengths))


def solution_invariant(grid, n: int) -> bytes:
    """A key that no symmetry of the Sudoku changes (used for 9x9, whose group is too large to walk).

    For each pair of rows, the cycle type of the permutation from one to the other; collected per
    row (same band and other bands apart), then per band, then per grid, each time sorted; the same
    for columns; the two (rows, columns) sorted because a transposition swaps them.
    """
    square = np.asarray(grid).reshape(n, n)
    sides = []
    for lines, block in ((square.tolist(), BOXES[n][0]), (square.T.tolist(), BOXES[n][1])):
        types = {(i, j): _cycle_type(lines[i], lines[j]) for i in range(n) for j in range(n) if i != j}
        per_line = [
            (
                sorted(types[i, j] for j in range(n) if j != i and j // block == i // block),
                sorted(types[i, j] for j in range(n) if j // block != i // block),
            )
            for i in range(n)
        ]
        sides.append(sorted(sorted(per_line[b : b + block]) for b in range(0, n, block)))
    if BOXES[n][0] == BOXES[n][1]:
        sides.sort()
    return hashlib.sha256(repr(sides).encode()).digest()


def class_key(puzzle, solution, n: int) -> bytes:
    """What the split is made on; see the table at the top of the file."""
    if n == 4:
        return canonical(puzzle, n)
    return canonical(solution, n) if n == 6 else solution_invariant(solution, n)


def is_held_out(key: bytes) -> bool:
    return int.from_bytes(hashlib.sha256(key).digest()[:4], "big") % HELD_OUT_PART == 0


# --------------------------------------------------------------------------------------- pool
@dataclass
class Pool:
    """Base puzzles of one side of the split; arrays (N, n*n) uint8, 0 = empty."""

    n: int
    puzzles: np.ndarray
    solutions: np.ndarray

    def __len__(self) -> int:
        return len(self.puzzles)


def make_pool(n: int, count: int, stop: int, seed: int, held_out: bool, progress=None) -> Pool:
    """Dig `count` base puzzles of the wanted side of the split; `stop` = fewest givens wanted."""
    rng = random.Random(f"{seed}-{n}-{held_out}")
    puzzles, solutions = [], []
    while len(puzzles) < count:
        solution = random_solution(n, rng)
        if n != 4 and is_held_out(class_key(None, solution, n)) != held_out:
            continue
        # 4x4: the puzzle itself is split on, so givens are never added back: vary them here.
        puzzle = dig(solution, n, stop if n != 4 else rng.randint(stop, stop + 4), rng)
        if n == 4 and is_held_out(class_key(puzzle, solution, n)) != held_out:
            continue
        puzzles.append(puzzle)
        solutions.append(solution)
        if progress is not None:
            progress(len(puzzles), count)
    return Pool(n, np.array(puzzles, np.uint8), np.array(solutions, np.uint8))


def draw(pool: Pool, count: int, givens: tuple[int, int], rng: np.random.Generator):
    """`count` random puzzles with a number of givens in `givens` (uniform, inclusive).

    Base puzzles get cells of the solution back up to the drawn number of givens (never fewer than
    the base has; on 4x4 none, see `make_pool`), then a random symmetry.
    Returns (inputs, labels), token arrays (count, n*n) uint8.
    """
    n = pool.n
    pick = rng.integers(len(pool), size=count)
    puzzle, solution = pool.puzzles[pick].astype(np.int64), pool.solutions[pick].astype(np.int64)
    if n != 4:
        want = rng.integers(givens[0], givens[1] + 1, size=(count, 1))
        # Rank the cells: givens first, then the empty ones in random order; show the first `want`.
        order = (rng.random(puzzle.shape) + (puzzle == 0)).argsort(1).argsort(1)
        keep = (order < want) | (puzzle > 0)
        puzzle = np.where(keep, solution, 0)
    cells = _random_cells(n, count, rng)
    relabel = np.zeros((count, n + 1), np.int64)
    relabel[:, 1:] = rng.random((count, n)).argsort(1) + 1
    both = []
    for grid in (puzzle, solution):
        grid = np.take_along_axis(relabel, np.take_along_axis(grid, cells, 1), 1)
        both.append((grid + 1).astype(np.uint8))
    return both[0], both[1]


def _random_cells(n: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """Random cell permutations (count, n*n) that keep rows, columns and boxes."""
    h, w = BOXES[n]

    def lines(block: int) -> np.ndarray:
        outer = rng.random((count, n // block)).argsort(1)
        inner = rng.random((count, n // block, block)).argsort(2)
        return (outer[:, :, None] * block + inner).reshape(count, n)

    cells = lines(h)[:, :, None] * n + lines(w)[:, None, :]
    if h == w:
        flip = rng.random(count) < 0.5
        cells = np.where(flip[:, None, None], cells.transpose(0, 2, 1), cells)
    return cells.reshape(count, n * n)


def held_out_set(pool: Pool, count: int, givens: tuple[int, int], rng: np.random.Generator):
    """`count` distinct puzzles drawn from a held-out pool: (inputs, labels)."""
    seen, inputs, labels = set(), [], []
    for _ in range(1000):
        for x, y in zip(*draw(pool, count, givens, rng), strict=True):
            if x.tobytes() not in seen and givens[0] <= (x > 1).sum() <= givens[1]:
                seen.add(x.tobytes())
                inputs.append(x)
                labels.append(y)
            if len(inputs) == count:
                return np.stack(inputs), np.stack(labels)
    raise RuntimeError(f"could not draw {count} puzzles with {givens[0]}-{givens[1]} givens")
