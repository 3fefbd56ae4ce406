"""The puzzle generator: validity, uniqueness, symmetry invariance of the class keys, the split."""

import random

import numpy as np
import pytest

from examples.training import sudoku


def units(n):
    h, w = sudoku.BOXES[n]
    cells = np.arange(n * n).reshape(n, n)
    boxes = cells.reshape(n // h, h, n // w, w).transpose(0, 2, 1, 3).reshape(n, n)
    return np.concatenate([cells, cells.T, boxes])


def count_solutions(puzzle, n, limit=2):
    """A second, plain solver, independent of the one under test."""
    peers = [set() for _ in range(n * n)]
    for unit in units(n):
        for cell in unit:
            peers[cell] |= set(unit) - {cell}
    grid = list(puzzle)

    def search():
        options = {}
        for cell in range(n * n):
            if grid[cell] == 0:
                used = {grid[p] for p in peers[cell]}
                options[cell] = [d for d in range(1, n + 1) if d not in used]
        if not options:
            return 1
        cell = min(options, key=lambda c: len(options[c]))
        found = 0
        for digit in options[cell]:
            grid[cell] = digit
            found += search()
            if found >= limit:
                break
        grid[cell] = 0
        return found

    return search()


@pytest.mark.parametrize("n, dig_to, givens", [(4, 4, (4, 8)), (6, 10, (10, 16)), (9, 30, (30, 36))])
def test_drawn_puzzles_are_valid_unique_and_in_range(n, dig_to, givens):
    pool = sudoku.make_pool(n, 12, dig_to, seed=5, held_out=False)
    inputs, labels = sudoku.draw(pool, 12, givens, np.random.default_rng(0))
    assert inputs.dtype == labels.dtype == np.uint8 and inputs.shape == (12, n * n)
    assert inputs.min() >= 1 and inputs.max() <= n + 1  # no PAD; blank 1; digits 2..n+1
    shown = inputs > 1
    assert (inputs[shown] == labels[shown]).all()
    for unit in units(n):
        assert (np.sort(labels[:, unit], 1) == np.arange(2, n + 2)).all()
    for puzzle in inputs.astype(int) - 1:
        assert count_solutions(puzzle, n) == 1
        assert sudoku.is_unique(puzzle.tolist(), n)
    base = (pool.puzzles > 0).sum(1)
    assert shown.sum(1).min() >= givens[0]
    assert shown.sum(1).max() <= max(givens[1], base.max())


def test_two_solutions_are_noticed():
    rng = random.Random(3)
    solution = sudoku.random_solution(4, rng)
    assert not sudoku.is_unique([0] * 16, 4)
    assert sudoku.is_unique(solution, 4)


@pytest.mark.parametrize("n", [4, 6, 9])
def test_class_keys_do_not_change_under_symmetries(n):
    pool = sudoku.make_pool(n, 1, {4: 6, 6: 12, 9: 36}[n], seed=9, held_out=False)
    wanted = sudoku.class_key(pool.puzzles[0], pool.solutions[0], n)
    same = int((pool.puzzles[0] > 0).sum())
    inputs, labels = sudoku.draw(pool, 24, (same, same), np.random.default_rng(1))
    assert len({x.tobytes() for x in inputs}) > 12  # the symmetries did something
    for x, y in zip(inputs, labels, strict=True):
        assert sudoku.class_key(x - 1, y - 1, n) == wanted


def test_class_keys_tell_grids_apart():
    rng = random.Random(0)
    keys = {sudoku.solution_invariant(sudoku.random_solution(9, rng), 9) for _ in range(200)}
    assert len(keys) == 200
    assert len({sudoku.canonical(sudoku.random_solution(4, rng), 4) for _ in range(60)}) == 2
    assert len(sudoku.cell_symmetries(4)) == 128 and len(sudoku.cell_symmetries(6)) == 3456


@pytest.mark.parametrize("n", [4, 6, 9])
def test_the_two_sides_of_the_split_share_no_class(n):
    dig_to = {4: 5, 6: 12, 9: 40}[n]
    keys = []
    for held_out in (False, True):
        pool = sudoku.make_pool(n, 25, dig_to, seed=2, held_out=held_out)
        keys.append({sudoku.class_key(p, s, n) for p, s in zip(pool.puzzles, pool.solutions, strict=True)})
    assert not keys[0] & keys[1]


def test_held_out_set_has_distinct_puzzles_in_range():
    pool = sudoku.make_pool(9, 10, 30, seed=4, held_out=True)
    inputs, _ = sudoku.held_out_set(pool, 40, (30, 34), np.random.default_rng(0))
    givens = (inputs > 1).sum(1)
    assert len(np.unique(inputs, axis=0)) == 40 and givens.min() >= 30 and givens.max() <= 34
