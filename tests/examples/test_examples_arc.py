"""The ARC dataset builder, the training of puzzle rows, and what is measured of them."""

import json

import numpy as np
import pytest

from examples.training import arc
from examples.training.arc_figures import other_augmentation, other_task, votes
from examples.training.puzzles import Puzzles
from examples.training.recipe import RecipeError, read_recipe
from examples.training.tasks import EXAMPLES
from recurc.dataset import load_dataset

TASKS = arc.read_tasks(EXAMPLES / "arc-agi-1/tasks.json")
FEW = dict(list(TASKS.items())[:3])


@pytest.fixture(scope="module")
def data():
    return arc.ArcData(FEW, canvas=8, augmentations=5, seed=1)


def grid(rng, low=1, high=8):
    return rng.integers(0, 10, rng.integers(low, high + 1, 2)).astype(np.uint8)


def test_every_augmentation_can_be_undone_and_is_in_its_name():
    rng = np.random.default_rng(0)
    for turn in range(8):
        how = arc.Augmentation(turn, (0, *(int(c) for c in rng.permutation(np.arange(1, 10)))))
        g = grid(rng)
        assert np.array_equal(how.undo(how.apply(g)), g), turn
        assert arc.parse_name(how.name("ab12")) == ("ab12", how)
    assert arc.parse_name("ab12") == ("ab12", arc.Augmentation())


def test_turns_are_numbered_as_in_the_original():
    g = np.array([[1, 2, 3], [4, 5, 6]], np.uint8)
    expected = {
        0: [[1, 2, 3], [4, 5, 6]],
        1: [[3, 6], [2, 5], [1, 4]],
        2: [[6, 5, 4], [3, 2, 1]],
        3: [[4, 1], [5, 2], [6, 3]],
        4: [[3, 2, 1], [6, 5, 4]],
        5: [[4, 5, 6], [1, 2, 3]],
        6: [[1, 4], [2, 5], [3, 6]],
        7: [[6, 3], [5, 2], [4, 1]],
    }
    for turn, wanted in expected.items():
        assert arc.Augmentation(turn).apply(g).tolist() == wanted, turn


def test_tokens_are_those_of_the_original():
    g = np.array([[0, 9], [3, 1]], np.uint8)
    assert arc.encode(g, 4).reshape(4, 4).tolist() == [[2, 11, 1, 0], [5, 3, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0]]
    assert arc.encode(g, 4, 2, 1).reshape(4, 4).tolist() == [[0, 0, 0, 0], [0, 0, 0, 0], [0, 2, 11, 1], [0, 5, 3, 1]]


def test_a_grid_is_read_back_whatever_lies_outside_it():
    rng = np.random.default_rng(0)
    for _ in range(40):
        g = grid(rng)
        tokens = arc.encode(g, 8)
        tokens[tokens == 0] = rng.integers(0, 12, (tokens == 0).sum())
        assert np.array_equal(arc.decode(tokens, 8), g)
    assert arc.decode(np.zeros(64, np.uint8), 8) is None
    hole = arc.encode(np.zeros((3, 3), np.uint8), 8)
    hole[9] = arc.EOS
    assert arc.decode(hole, 8) is None


def test_the_puzzles_of_a_task(data):
    assert len(data.names) == 1 + 3 * 6 and data.names[0] == "<blank>"
    for (name, task), group in zip(FEW.items(), data.groups, strict=True):
        assert group[0].name == name and len({p.key() for p in group}) == 6
        for puzzle in group:
            found, how = arc.parse_name(puzzle.name)
            assert found == name and how.colours[0] == 0 and sorted(how.colours) == list(range(10))
            assert data.names[data.ids[puzzle.name]] == puzzle.name
            for side in ("train", "test"):
                for pair, (a, b) in zip(task[side], getattr(puzzle, side), strict=True):
                    assert how.undo(a).tolist() == pair["input"] and how.undo(b).tolist() == pair["output"]


def test_a_task_with_few_different_augmentations_has_no_double():
    only_black = {"t": {"train": [{"input": [[0]], "output": [[0]]}], "test": [{"input": [[0]], "output": [[0]]}]}}
    assert len(arc.ArcData(only_black, 4, 20, 0).groups[0]) == 1


def test_the_builder_is_a_function_of_its_seed(data):
    assert arc.ArcData(FEW, 8, 5, 1).names == data.names
    assert arc.ArcData(FEW, 8, 5, 2).names != data.names


def test_a_written_dataset_is_what_recurc_loads(data, tmp_path):
    data.write(tmp_path, seed=1)
    assert json.loads((tmp_path / "identifiers.json").read_text()) == data.names
    assert set(json.loads((tmp_path / "test_puzzles.json").read_text())) == set(FEW)
    for split in ("train", "test"):
        loaded = load_dataset(tmp_path, split)
        assert (loaded.seq_len, loaded.vocab_size, loaded.num_puzzle_identifiers) == (64, 12, len(data.names))
        assert loaded.ignore_label_id == 0 and not loaded.valid.all()
        pairs = {p.name: getattr(p, split) for group in data.groups for p in group}
        assert len(loaded) == sum(map(len, pairs.values()))
        starts = np.load(tmp_path / split / "all__puzzle_indices.npy")
        assert np.load(tmp_path / split / "all__group_indices.npy").tolist() == [0, 6, 12, 18]  # a group is a task
        for low, high in zip(starts[:-1], starts[1:], strict=True):
            (identifier,) = set(loaded.puzzle_ids[low:high].tolist())
            shown = [crop(loaded.inputs[i]) for i in range(low, high)]
            assert [g.tolist() for g, _ in shown] == [a.tolist() for a, _ in pairs[data.names[identifier]]]
            at_corner = [place == (0, 0) for _, place in shown]
            assert all(at_corner) if split == "test" else any(at_corner)
            for i, (_, place) in zip(range(low, high), shown, strict=True):
                assert crop(loaded.labels[i])[1] == place  # input and output are moved together
    assert not all(crop(x)[1] == (0, 0) for x in load_dataset(tmp_path, "train").inputs)


def crop(tokens):
    """(grid, its upper left cell) of a canvas, found in another way than `decode` does."""
    rows, columns = np.nonzero(tokens.reshape(8, 8) >= 2)
    box = tokens.reshape(8, 8)[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    return box - 2, (rows.min(), columns.min())


def test_the_first_held_out_pairs_are_of_all_tasks_as_they_are(data):
    held = data.held_out()
    pairs = sum(len(t["test"]) for t in FEW.values())
    assert [data.names[i] for i in held.ids[:pairs]] == [n for n, t in FEW.items() for _ in t["test"]]
    assert len(held.ids) == 6 * pairs


def test_drawn_examples_are_demonstrations_of_their_identifier(data):
    drawn = data.draw(60, np.random.default_rng(3))
    known = {p.name: {(a.tobytes(), b.tobytes()) for a, b in p.train} for group in data.groups for p in group}
    for x, y, i in zip(*drawn, strict=True):
        assert (crop(x)[0].tobytes(), crop(y)[0].tobytes()) in known[data.names[i]]


def test_no_test_pair_of_the_shipped_tasks_is_a_demonstration_in_disguise():
    def smallest(pair):
        forms = []
        for turn in range(8):
            label = {0: 0}
            sides = [arc.Augmentation(turn).apply(np.array(pair[k], np.uint8)) for k in ("input", "output")]
            cells = [label.setdefault(int(c), len(label)) for side in sides for c in side.ravel()]
            forms.append((*(s.shape for s in sides), tuple(cells)))
        return min(forms)

    for name, task in TASKS.items():
        assert not {smallest(p) for p in task["train"]} & {smallest(p) for p in task["test"]}, name


def test_other_rows_are_of_another_task_or_another_augmentation(data):
    ids = data.held_out().ids
    for i, task, turned in zip(ids, other_task(data, ids), other_augmentation(data, ids), strict=True):
        own, other, same = (arc.parse_name(data.names[k]) for k in (i, task, turned))
        assert own[0] != other[0] and own[0] == same[0] and own[1] != same[1]


def test_votes_count_answers_turned_back(data):
    held = data.held_out()
    answers, q = held.labels.copy(), np.zeros(len(held.ids))
    plain = {name: i for i, name in enumerate(data.names)}
    wrong = arc.encode(np.zeros((2, 2), np.uint8), 8)
    first, second, _ = FEW
    own = {n: np.flatnonzero([data.names[i].startswith(n) for i in held.ids]) for n in FEW}
    answers[own[first][:2]] = wrong  # two of six: outvoted
    answers[own[second][:4]] = wrong  # four of six: the right answer is second
    found = votes(data, held, answers, q)
    assert found["first"] == 2 and second not in found["solved"] and found["second"] == 3
    assert set(plain) >= set(FEW)
    answers[own[second]] = 0  # no grid at all
    assert votes(data, held, answers, q)["second"] == 2


def recipe_file(tmp_path, **changes):
    text = (EXAMPLES / "recipes/arc-mini.toml").read_text()
    for old, new in {"minutes = 42": "steps = 12", "batch = 32": "batch = 8\ncompile = false", **changes}.items():
        assert old in text
        text = text.replace(old, new)
    path = tmp_path / "small.toml"
    path.write_text(text)
    return path


def test_mistakes_are_named(tmp_path):
    with pytest.raises(RecipeError, match="canvas of 5 x 5"):
        read_recipe(recipe_file(tmp_path, **{"canvas = 8": "canvas = 5"}))
    with pytest.raises(RecipeError, match="no-such.json"):
        read_recipe(recipe_file(tmp_path, **{"arc-agi-1/tasks.json": "no-such.json"}))
    with pytest.raises(RecipeError, match="kind must be one of"):
        read_recipe(recipe_file(tmp_path, **{'"arc"': '"chess"'}))
    bad = tmp_path / "bad.json"
    for text, said in (("[1]", "not a file of ARC tasks"), ("{", "not a file"), ('{"a": {"train": []}}', "'test'")):
        bad.write_text(text)
        with pytest.raises(arc.ArcError, match=said):
            arc.read_tasks(bad)
    bad.write_text('{"a": {"train": [], "test": [{"input": [[10]], "output": [[0]]}]}}')
    with pytest.raises(arc.ArcError, match="a: a grid"):
        arc.read_tasks(bad)
    assert arc.main([str(EXAMPLES / "recipes/sudoku4-tiny.toml"), str(tmp_path / "out")]) == 2


torch = pytest.importorskip("torch")
from examples.training import evaluate, trainer  # noqa: E402
from examples.training.optim import PuzzleRows, act_loss, stablemax_cross_entropy  # noqa: E402


def small(tmp_path, folder):
    changes = {"hidden_size = 128": "hidden_size = 16", "puzzle_emb_ndim = 128": "puzzle_emb_ndim = 16", "= 23": "= 3"}
    recipe = read_recipe(recipe_file(tmp_path, **changes))
    source, held = trainer.pools(recipe, tmp_path, lambda _: None)
    (tmp_path / folder).mkdir()
    return trainer.Trainer(recipe, tmp_path / folder, source, lambda _: None), trainer.test_set(recipe, held)


def test_rows_move_by_the_sign_of_their_summed_gradient():
    table = torch.nn.Parameter(torch.arange(8.0).reshape(4, 2))
    rows = PuzzleRows(table, weight_decay=0.5)
    ids = torch.tensor([2, 0, 2])
    taken = rows.take(ids)
    (taken * torch.tensor([[3.0, -1.0], [-1.0, 0.0], [-1.0, -1.0]])).sum().backward()
    rows.step(ids, taken, lr=0.1)
    keep = 1 - 0.1 * 0.5
    expected = torch.tensor([[0 * keep + 0.1, 1 * keep], [2.0, 3.0], [4 * keep - 0.1, 5 * keep + 0.1], [6.0, 7.0]])
    assert torch.allclose(table.data, expected)


def test_only_the_rows_that_were_used_are_trained_and_resuming_is_exact(tmp_path):
    whole, test = small(tmp_path, "whole")
    seen = set()
    for _ in range(12):
        whole.train_step()
        seen |= set(whole.carry["ids"].tolist())
    table = whole.model.puzzle_emb.weights
    used = table.abs().sum(1).nonzero().squeeze(1).tolist()
    assert set(used) == seen and 0 not in seen
    assert "puzzle_emb.weights" not in whole.ema.shadow
    assert torch.equal(whole.ema.state_dict_of(whole.model)["puzzle_emb.weights"], table)

    parts, _ = small(tmp_path, "parts")
    for _ in range(5):
        parts.train_step()
    parts.save()
    again = trainer.Trainer(parts.recipe, tmp_path / "parts", parts.pool, lambda _: None)
    assert again.load()
    for _ in range(7):
        again.train_step()
    assert torch.equal(again.model.puzzle_emb.weights, table)

    # Inference takes each puzzle's own row: the same inputs with other identifiers give other answers.
    model = evaluate.make_eval_model(whole.recipe.model, whole.model.state_dict(), "float32")
    with torch.no_grad():
        ids = torch.tensor(used[:2])
        x = torch.from_numpy(test.inputs[:1].astype(np.int64)).repeat(2, 1)
        logits = model(*model.initial(2), x, model.puzzle_embedding(ids))[2]
    assert not torch.allclose(logits[0], logits[1])


def test_padded_cells_count_neither_in_the_loss_nor_in_the_accuracy():
    labels = torch.tensor([[2, 3, 0, 0]])
    logits = torch.zeros(1, 4, 5)
    logits[0, 0, 2] = logits[0, 1, 3] = 4.0
    loss = stablemax_cross_entropy(logits, labels)
    logits[0, 2:, 4] = 9.0
    assert torch.allclose(stablemax_cross_entropy(logits, labels), loss)
    assert act_loss(logits, torch.zeros(1, 2), labels)[1]["exact"] == 1.0
    tokens = logits.argmax(-1).numpy()[:, None]
    cells, exact = evaluate.score(tokens, labels.numpy())
    assert cells.tolist() == [[1.0]] and exact.tolist() == [[True]]
    assert evaluate.score(np.array([[[2, 2, 0, 0]]]), labels.numpy())[0].tolist() == [[0.5]]


def test_taking_keeps_the_three_arrays_together():
    p = Puzzles(np.zeros((3, 4)), np.ones((3, 4)), np.arange(3)).take(2)
    assert [len(a) for a in p] == [2, 2, 2]
