"""Forms with rows of their own: grids of ARC led from one row's form to another's, in Python, in C, and by the reference."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recurc.resources import resource_dir
from recurc.solve import ACCEPT, Policy, form_of, solve
from recurc.storage.image import _ROW
from recurc.symmetries import Grids
from recurc.symmetries.grids import TURNS, VOCAB, reframed, size_of
from recurc.targets.toolchain import compile_shared
from tests.solve.scripted import OK, SECTION, SOURCE, STATE, STEPS, Script
from tests.tools import need

SIDE, ROWS, ROOM = 4, 6, 5  # cells of a canvas's side, rows of the puzzle table, restarts that there is room for
NAMES = ("<blank>", "a", "a|||t1|||0132456789", "a|||t7|||0987654321", "b", "a|||t6|||0213456789")
GRIDS = Grids.of(NAMES, 9, "names")
# t0 .. t7 as dataset/common.py of the reference has them
DIHEDRAL = (lambda g: g, np.rot90, lambda g: np.rot90(g, 2), lambda g: np.rot90(g, 3), np.fliplr, np.flipud, np.transpose,
            lambda g: np.fliplr(np.rot90(g)))  # fmt: skip
UNDO = (0, 3, 2, 1, 4, 5, 6, 7)


def canvas(grid: np.ndarray, side: int = SIDE) -> np.ndarray:
    """Tokens of a grid of colours at the upper left, as the reference's dataset has them."""
    out = np.zeros((side, side), np.uint8)
    rows, columns = grid.shape
    out[rows : rows + 1, :columns] = out[:rows, columns : columns + 1] = 1
    out[:rows, :columns] = grid + 2
    return out.ravel()


def reference_crop(tokens: np.ndarray, side: int = SIDE) -> tuple[int, int]:
    """`_crop` of the reference's evaluators/arc.py, on a smaller canvas."""
    grid, most, size, width = tokens.reshape(side, side), 0, (0, 0), side
    for rows in range(1, side + 1):
        for columns in range(1, width + 1):
            x = grid[rows - 1, columns - 1]
            if (x < 2) | (x > 11):
                width = columns - 1
                break
        if rows * width > most:
            most, size = rows * width, (rows, width)
    return size


tokens = st.lists(st.sampled_from([0, 1, 2, 2, 3, 3, 4, 11, 12]), min_size=SIDE**2, max_size=SIDE**2)
grids = st.integers(0, 2**32 - 1).map(
    lambda seed: (r := np.random.default_rng(seed)).integers(0, 10, r.integers(1, SIDE + 1, 2)).astype(np.uint8)
)


@given(tokens)
def test_the_grid_of_a_canvas_is_the_references(found):
    assert size_of(np.array(found).reshape(SIDE, SIDE)) == reference_crop(np.array(found))


@given(grids, st.sampled_from((1, 2, 3, 5)), st.sampled_from((1, 2, 3, 5)))
def test_forms_are_the_references_augmentations(grid, here, there):
    """The task's grid under two names, turned and coloured as the reference does: each is led to the other."""

    def named(row: int) -> np.ndarray:
        _, *how = NAMES[row].split("|||")
        if not how:
            return canvas(grid)
        return canvas(DIHEDRAL[int(how[0][1])](np.array(list(how[1])).astype(np.uint8)[grid]))

    one, other = GRIDS.rows[here], GRIDS.rows[there]
    assert reframed(named(here), one, other).tolist() == named(there).tolist()
    forms = {form.number: form for form in GRIDS.forms(named(here), here)}
    assert set(forms) == {1, 2, 3, 5} - {here}
    if here != there:
        assert forms[there].back(named(there)).tolist() == named(here).tolist()


@pytest.mark.parametrize("turn", range(8))
def test_each_turn_is_the_references(turn):
    grid = np.arange(6, dtype=np.uint8).reshape(2, 3)
    names = Grids.of(("a", f"a|||t{turn}|||0123456789"), 1, "n")
    found = names.forms(canvas(grid), 0)[0].present(canvas(grid))
    assert found.tolist() == canvas(DIHEDRAL[turn](grid)).tolist() and len(set(TURNS)) == 8
    assert names.forms(found, 1)[0].present(found).tolist() == canvas(DIHEDRAL[UNDO[turn]](DIHEDRAL[turn](grid))).tolist()


def test_rows_of_a_task_follow_each_other_in_a_circle():
    puzzle = canvas(np.ones((2, 3), np.uint8))
    assert [f.number for f in GRIDS.forms(puzzle, 2)] == [3, 5, 1] and len(GRIDS) == 3
    assert [f.number for f in Grids.of(NAMES, 2, "n").forms(puzzle, 5)] == [1, 2]
    assert GRIDS.forms(puzzle, 0) == GRIDS.forms(puzzle, 4) == (), "a row alone in its task has no other form"
    moved = np.roll(puzzle.reshape(SIDE, SIDE), 1, axis=0).ravel()
    assert GRIDS.forms(moved, 2) == (), "nor has what is no grid at the upper left"


# -- in C -----------------------------------------------------------------------------------------------------------------


def image_of(grids: Grids) -> np.ndarray:
    records = np.zeros(len(grids.rows), _ROW)
    records["following"] = grids.following
    records["turn"], records["colours"] = [r.turn for r in grids.rows], [r.colours for r in grids.rows]
    return np.frombuffer(b"\xff" * 3 + records.tobytes(), np.uint8).copy()


@pytest.fixture(scope="module")
def script(tmp_path_factory) -> Script:
    need("host")
    runtime = resource_dir("runtime_c")
    sources = [SOURCE, *(runtime / "solve" / f"rc_{part}.c" for part in ("solve", "grids"))]
    flags = [f"-DSEQ={SIDE**2}", f"-DVOCAB={VOCAB}", f"-DFORMS={len(GRIDS)}", f"-DROWS={ROWS}", f"-DRESTARTS={ROOM}"]
    library = compile_shared(sources, [runtime / "include"], tmp_path_factory.mktemp("script") / "grids.so", flags)
    made = Script(library, SIDE**2, VOCAB, (), ROOM)
    made.forms, made.image = GRIDS, image_of(GRIDS)  # type: ignore[assignment]
    made.rows = made._array("script_rows", ctypes.c_uint32, (1 + ROOM,))  # type: ignore[attr-defined]
    return made


@given(st.integers(0, ROWS - 1), st.integers(1, ROOM), st.sampled_from(ACCEPT), st.sampled_from([0.0, 0.5]),
       st.integers(0, 2**32 - 1))  # fmt: skip
@settings(max_examples=300, deadline=None)
def test_both_answer_the_same(script, row, restarts, accept, noise, seed):
    """Runs say grids or anything, in their own form; puzzles are grids, moved ones, or anything. With noise there are runs of
    the puzzle itself behind those of its forms."""
    rng = np.random.default_rng(seed)

    def anything() -> np.ndarray:
        if rng.integers(4) == 0:
            return rng.integers(0, VOCAB, SIDE**2).astype(np.uint8)
        return canvas(rng.integers(0, 3, rng.integers(1, SIDE + 1, 2)).astype(np.uint8))

    puzzle, said = anything(), [anything() for _ in range(2)]
    forms = GRIDS.forms(puzzle, row)
    for run in range(1 + ROOM):
        form = form_of(run, forms)
        for step in range(STEPS):
            answer = said[rng.integers(2)]
            script.tokens[run, step] = answer if form is None else form.present(answer)
            script.margins[run, step] = rng.choice([-1.0, 0.0, 2.0])
    told, margins = script.tokens.copy(), script.margins.copy()
    policy = Policy(3, restarts, 2, 1.0, 1, accept, noise)
    wanted = solve(lambda run: zip(told[run], margins[run].tolist()), forms, policy)
    found, _ = script.solve(puzzle, policy, row)
    assert found.tokens.tobytes() == wanted.tokens.tobytes()
    assert vars(found) | {"tokens": None} == vars(wanted) | {"tokens": None}
    for run in range(wanted.restarts + 1):
        form = form_of(run, forms)
        assert script.rows[run] == (row if form is None else form.row(row))  # type: ignore[attr-defined]
        assert script.asked[run].tobytes() == (puzzle if form is None else form.present(puzzle)).tobytes()


@pytest.mark.parametrize(
    ("row", "field", "value"),
    [
        (1, "following", ROWS),
        (2, "following", 0xFFFFFFFF),
        (2, "turn", 8),
        (1, "turn", 255),
        (2, "colours", 10),
        (1, "colours", 7),
    ],
)
def test_records_of_a_hostile_image_are_not_followed(script, row, field, value):
    """A row beyond the table, a turn that is none, a colour that is none or there twice: the puzzle ends, nothing else does."""
    good = script.image.copy()
    try:
        records = script.image[3:].view(_ROW)
        records[row][field] = value
        script.margins[:] = -9.0
        status, solver = script.begin(canvas(np.ones((2, 3), np.uint8)), Policy(1, 3, 1), 1)
        found = [status]
        while found[-1] == OK and len(found) < 9:
            found.append(script.lib.rc_solve_step(ctypes.byref(solver)))
        assert found[-1] == SECTION and script.lib.rc_solve_step(ctypes.byref(solver)) == STATE
    finally:
        script.image[:] = good


def test_a_circle_that_does_not_close_ends(script):
    good = script.image.copy()
    try:
        script.image[3:].view(_ROW)["following"][[1, 2, 3, 5]] = 2, 3, 2, 3
        script.margins[:] = -9.0
        answer, runs = script.solve(canvas(np.ones((2, 3), np.uint8)), Policy(1, 9, 1), 1)
        assert runs == [0, 1, 2, 3] and not answer.solved
    finally:
        script.image[:] = good
