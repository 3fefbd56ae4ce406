"""The maze generator: paths are shortest and the only ones, the split holds, the files have the reference's form."""

import json
import subprocess
import sys

import numpy as np
import pytest

from examples.training import maze
from examples.training.puzzles import Puzzles
from examples.training.recipe import RecipeError, read_recipe
from examples.training.tasks import EXAMPLES, MazeTask
from recurc.dataset import load_dataset

SIDE = 11
MODELS = sorted(p.parent for p in (EXAMPLES / "models").glob("maze*/config.json"))


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.fixture(scope="module", params=[(11, 0), (11, 4), (12, 3)], ids=str)
def puzzles(request):
    side, loops = request.param
    return side, maze.MazeSource(side, loops, (3, 60), held_out=False).draw(40, rng())


def relaxed(grid, start):
    """Distances by repeated relaxation over the whole square, an oracle that has nothing of the generator's search."""
    far = grid.size
    d = np.where(grid == maze.WALL, far, far - 1)
    d[start] = 0
    while True:
        padded = np.pad(d, 1, constant_values=far)
        near = np.min([padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]], axis=0) + 1
        new = np.where(grid == maze.WALL, far, np.minimum(d, near))
        if np.array_equal(new, d):
            return d
        d = new


def place(grid, token):
    return tuple(np.argwhere(grid == token)[0])


def check_shortest(inputs, labels, side):
    """Each label is a path from start to goal, as short as can be, and the only one of that length."""
    for x, y in zip(inputs.reshape(-1, side, side), labels.reshape(-1, side, side), strict=True):
        assert (x == maze.START).sum() == (x == maze.GOAL).sum() == 1
        assert set(np.unique(x)) <= {maze.WALL, maze.FLOOR, maze.START, maze.GOAL}
        marked = y == maze.PATH
        assert np.array_equal(np.where(marked, maze.FLOOR, y), x)  # nothing but floor is marked, nothing else changes
        start, goal = place(x, maze.START), place(x, maze.GOAL)
        from_start, from_goal = relaxed(x, start), relaxed(x, goal)
        shortest = from_start[goal]
        # A cell lies on some shortest path exactly when its two distances add up; one at each distance: a single path.
        on_some = from_start + from_goal == shortest
        assert on_some.sum() == shortest + 1
        on_some[start] = on_some[goal] = False
        assert np.array_equal(marked, on_some)


def test_labels_are_the_only_shortest_path(puzzles):
    side, (inputs, labels, ids) = puzzles
    check_shortest(inputs, labels, side)
    assert not ids.any()


def test_a_wall_goes_around_and_every_floor_can_be_reached(puzzles):
    side, (inputs, _, _) = puzzles
    for x in inputs.reshape(-1, side, side):
        assert (x[[0, -1]] == maze.WALL).all() and (x[:, [0, -1]] == maze.WALL).all()
        assert (relaxed(x, place(x, maze.START))[x != maze.WALL] < side * side - 1).all()


@pytest.mark.parametrize("loops", [0, 3])
def test_loops_are_opened_beside_a_spanning_tree(loops):
    rooms = (SIDE - 1) // 2
    for seed in range(10):
        floor = maze.carve(SIDE, loops, rng(seed))
        assert floor.sum() == rooms**2 + (rooms**2 - 1) + loops


def test_lengths_are_within_the_bounds():
    found = maze.MazeSource(SIDE, 2, (12, 15), held_out=True).draw(60, rng())
    steps = (found.labels == maze.PATH).sum(1) + 1
    assert steps.min() == 12 and steps.max() == 15


def test_two_ways_of_the_same_length_are_counted():
    steps, ways = maze.distances(np.pad(np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], bool), 1), (1, 1))
    assert (steps[3, 3], ways[3, 3]) == (4, 2)
    assert (steps[1, 3], ways[1, 3]) == (2, 1)
    assert steps[2, 2] == -1


def test_the_class_of_a_maze_is_the_same_in_every_orientation():
    floor = maze.carve(SIDE, 2, rng())
    images = maze.symmetries(floor)
    assert len({g.tobytes() for g in images}) == 8
    assert {maze.class_key(g) for g in images} == {maze.class_key(floor)}
    assert maze.class_key(maze.carve(SIDE, 2, rng(1))) != maze.class_key(floor)


def keys(puzzles: Puzzles, side: int) -> list[bytes]:
    return [maze.class_key(x.reshape(side, side) != maze.WALL) for x in puzzles.inputs]


def test_smaller_mazes_lie_somewhere_in_a_square_of_walls():
    source = maze.MazeSource(SIDE, 1, (3, 60), held_out=False, small=(5, 7))
    found = source.draw(120, rng())
    check_shortest(found.inputs, found.labels, SIDE)
    floor = (found.inputs != maze.WALL).reshape(-1, SIDE, SIDE)
    extent = floor.any(1).sum(1) + (floor.any(1).sum(1) > 0) * 2  # columns with floor, and the walls beside
    assert set(extent) == {5, 7, SIDE}
    assert floor[extent == 5].any((0, 1))[1:-1].all()  # wherever they fit
    with pytest.raises(maze.MazeError, match="small"):
        maze.MazeSource(SIDE, 1, (3, 60), held_out=False, small=(SIDE,))


def test_the_two_sides_of_the_split_share_no_walls():
    train = keys(maze.MazeSource(7, 1, (2, 30), held_out=False).draw(200, rng()), 7)
    test = keys(maze.MazeSource(7, 1, (2, 30), held_out=True).draw(200, rng()), 7)
    assert set(train) and set(test) and not set(train) & set(test)  # of so few mazes the two sides would meet otherwise


def test_a_held_out_set_is_always_the_same_and_has_no_maze_twice():
    task = MazeTask(side=SIDE, loops=2, steps=(2, 60), test_steps=(8, 60))
    first, second = (task.test_set(task.sources(None, print)[1], 50) for _ in range(2))
    assert np.array_equal(first.inputs, second.inputs) and np.array_equal(first.labels, second.labels)
    assert len(set(keys(first, SIDE))) == 50
    assert np.array_equal(task.test_set(task.sources(None, print)[1], 20).inputs, first.inputs[:20])


@pytest.mark.parametrize("change, word", [
    ({"side": 3}, "side 3"), ({"loops": -1}, "-1 loops"), ({"steps": (9, 3)}, "paths"), ({"steps": (0, 3)}, "paths"),
])  # fmt: skip
def test_sizes_that_give_no_maze_are_refused(change, word):
    with pytest.raises(maze.MazeError, match=word):
        maze.MazeSource(**{"side": 11, "loops": 2, "steps": (2, 60), "held_out": False, **change})


def test_paths_that_do_not_occur_are_given_up():
    with pytest.raises(maze.MazeError, match="too few paths of 20-30"):
        maze.MazeSource(5, 0, (20, 30), held_out=False).draw(1, rng())


def test_a_recipe_with_such_sizes_says_so(tmp_path):
    text = (EXAMPLES / "recipes/maze11-mlp.toml").read_text()
    path = tmp_path / "bad.toml"
    path.write_text(text.replace("side = 11", "side = 3"))
    with pytest.raises(RecipeError, match="side 3"):
        read_recipe(path)


def test_buckets_are_by_length():
    task = MazeTask(side=SIDE, loops=2, steps=(2, 60), test_steps=(8, 60))
    found = task.test_set(task.sources(None, print)[1], 30)
    groups = task.groups(found, (8, 12, 61))
    assert [g.label for g in groups] == [{"steps": [8, 11]}, {"steps": [12, 60]}]
    assert sum(g.rows.sum() for g in groups) == 30
    assert ((found.labels[groups[1].rows] == maze.PATH).sum(1) >= 11).all()


def test_the_30x30_format_is_the_references(tmp_path):
    """reference dataset: 900 cells, 6 tokens, uint8, one identifier, a group a maze."""
    options = ["--train", "6", "--test", "4", "--steps", "60", "400"]
    done = subprocess.run([sys.executable, "-m", "examples.training.maze", str(tmp_path), *options], cwd=EXAMPLES.parent,
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "identifiers.json").read_text()) == ["<blank>"]
    for split, count in (("train", 6), ("test", 4)):
        meta = json.loads((tmp_path / split / "dataset.json").read_text())
        assert (meta["vocab_size"], meta["seq_len"], meta["num_puzzle_identifiers"]) == (6, 900, 1)
        assert (meta["pad_id"], meta["ignore_label_id"], meta["blank_identifier_id"]) == (0, 0, 0)
        assert (meta["total_groups"], meta["total_puzzles"], meta["sets"]) == (count, count, ["all"])
        inputs, labels, ids, puzzles, groups = (
            np.load(tmp_path / split / f"all__{what}.npy")
            for what in ("inputs", "labels", "puzzle_identifiers", "puzzle_indices", "group_indices")
        )
        assert inputs.shape == labels.shape == (count, 900) and inputs.dtype == labels.dtype == np.uint8
        assert ids.tolist() == [0] * count and puzzles.tolist() == groups.tolist() == list(range(count + 1))
        assert ids.dtype == puzzles.dtype == groups.dtype == np.int32
        check_shortest(inputs, labels, 30)
        assert len(load_dataset(tmp_path, split)) == count


@pytest.mark.parametrize("options", [["--side", "4"], ["--steps", "9", "3"]])
def test_the_command_says_what_is_wrong(tmp_path, capsys, options):
    assert maze.main([str(tmp_path / "x"), *options]) == 2
    assert capsys.readouterr().err.startswith("maze: no maze of side")
    assert not (tmp_path / "x").exists()


def test_text_form_is_the_originals():
    x, y = maze.MazeSource(5, 0, (4, 9), held_out=False).one(rng())
    assert set(maze.as_text(x)) == set("# SG") and set(maze.as_text(y)) <= set("# SGo")
    assert maze.as_text(np.array([1, 2, 3, 4, 5], np.uint8)) == "# SGo"


@pytest.mark.parametrize("folder", MODELS, ids=lambda p: p.name)
def test_the_shipped_mazes_are_as_their_recipe_says(folder):
    task = read_recipe(folder / "recipe.toml").task
    classes = {}
    for split, bounds in (("train", task.steps), ("test", task.test_steps)):
        inputs, labels = (np.load(folder / "data" / split / f"all__{what}.npy") for what in ("inputs", "labels"))
        steps = (labels == maze.PATH).sum(1) + 1
        assert bounds[0] <= steps.min() and steps.max() <= bounds[1]
        check_shortest(inputs[:40], labels[:40], task.side)
        classes[split] = set(keys(Puzzles(inputs, labels, inputs), task.side))
    assert not classes["train"] & classes["test"]
    assert all(map(maze.is_held_out, classes["test"])) and not any(map(maze.is_held_out, classes["train"]))
