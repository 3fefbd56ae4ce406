"""The shipped example models: complete, small, and their test puzzles are really held out."""

import json
from pathlib import Path

import numpy as np
import pytest

from examples.training import sudoku
from examples.training.recipe import read_recipe

MODELS = sorted(p.parent for p in (Path(sudoku.__file__).parents[1] / "models").glob("*/config.json"))
pytestmark = pytest.mark.skipif(not MODELS, reason="no example models in this checkout")


def load(folder: Path, split: str):
    return [np.load(folder / "data" / split / f"all__{what}.npy") for what in ("inputs", "labels")]


@pytest.fixture(params=MODELS, ids=lambda p: p.name)
def model_dir(request):
    return request.param


@pytest.fixture(params=[p for p in MODELS if p.name.startswith("sudoku")], ids=lambda p: p.name)
def sudoku_dir(request):
    return request.param


def keys(folder: Path, split: str, n: int) -> set[bytes]:
    inputs, labels = load(folder, split)
    return {sudoku.class_key(x - 1, y - 1, n) for x, y in zip(inputs, labels, strict=True)}


def test_held_out_puzzles_are_no_symmetry_of_training_puzzles(sudoku_dir):
    n = json.loads((sudoku_dir / "config.json").read_text())["vocab_size"] - 2
    train, test = keys(sudoku_dir, "train", n), keys(sudoku_dir, "test", n)
    assert not train & test
    assert all(sudoku.is_held_out(k) for k in test)
    assert not any(sudoku.is_held_out(k) for k in train)


def test_puzzles_are_valid_and_in_range(sudoku_dir):
    recipe = read_recipe(sudoku_dir / "recipe.toml")
    n = recipe.task.n
    for split, givens in (("train", recipe.task.givens), ("test", recipe.task.test_givens)):
        inputs, labels = load(sudoku_dir, split)
        shown = inputs > 1
        assert (inputs[shown] == labels[shown]).all()
        assert shown.sum(1).min() >= givens[0] and shown.sum(1).max() <= givens[1]
        for puzzle, solution in list(zip(inputs.astype(int) - 1, labels.astype(int) - 1, strict=True))[:24]:
            assert sudoku.solve(puzzle.tolist(), n) == solution.tolist()
            assert sudoku.is_unique(puzzle.tolist(), n)


def test_weights_fit_the_config(model_dir):
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file

    from examples.training.model import ARCH_NAMES, ModelConfig, make_model

    config = json.loads((model_dir / "config.json").read_text())
    names = ModelConfig.__dataclass_fields__
    (family,) = (name for name, arch in ARCH_NAMES.items() if arch == config["arch_name"])
    with torch.random.fork_rng(devices=[]):
        wanted = make_model(ModelConfig(family=family, **{k: v for k, v in config.items() if k in names})).state_dict()
    state = load_file(model_dir / "model.safetensors")
    assert {k: v.shape for k, v in state.items()} == {k: v.shape for k, v in wanted.items()}
    assert all(v.isfinite().all() for v in state.values())
    assert state["H_init"].dtype == torch.bfloat16


def test_the_card_states_the_measured_figures(model_dir):
    from examples.training.card import model_card

    metrics = json.loads((model_dir / "metrics.json").read_text())
    assert (model_dir / "README.md").read_text() == model_card(metrics, read_recipe(model_dir / "recipe.toml"))
    assert metrics["safetensors_bytes"] == (model_dir / "model.safetensors").stat().st_size < 16e6
    assert (model_dir / "curves.png").stat().st_size > 1000


def test_the_overview_states_the_measured_figures():
    from examples.training.overview import EXAMPLES, with_table

    text = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert text == with_table(text, EXAMPLES / "models")


@pytest.mark.parametrize("name", ["sudoku6-mlp", "hrm-sudoku4", "maze11-mlp"])
def test_recurc_finds_the_accuracy_that_the_card_states(name):
    """The whole shipped test set in fp32, by recurc's own forward pass, after the first few steps."""
    folder = next(m for m in MODELS if m.name == name)
    import recurc

    stated = json.loads((folder / "metrics.json").read_text())["held_out"]
    inputs, labels = load(folder, "test")
    assert len(inputs) == stated["n"]
    model = recurc.load(name)
    for steps in (1, 2):
        exact = (model.run(inputs, steps=steps).tokens == labels).all(1).sum()
        # Another order of summation may tip a puzzle that hangs in the balance, but not two.
        assert abs(exact - stated["exact"][str(steps)] * len(labels)) <= 1, steps


def test_the_two_mixers_are_compared_on_the_same_puzzles():
    attention, mlp = (next(m for m in MODELS if m.name == f"sudoku6-{mixer}") for mixer in ("attn", "mlp"))
    for split in ("train", "test"):
        for ours, theirs in zip(load(attention, split), load(mlp, split), strict=True):
            assert np.array_equal(ours, theirs)
    recipes = [read_recipe(m / "recipe.toml") for m in (attention, mlp)]
    assert recipes[0].task == recipes[1].task
    same = ("hidden_size", "H_cycles", "L_cycles", "L_layers", "expansion", "puzzle_emb_ndim", "puzzle_emb_len")
    assert [getattr(recipes[0].model, f) for f in same] == [getattr(recipes[1].model, f) for f in same]
