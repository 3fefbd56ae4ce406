"""The trainer: resuming is exact, the loss goes down, exported folders have the agreed form."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

torch = pytest.importorskip("torch")
from safetensors.torch import load_file  # noqa: E402

from examples.training import cli, evaluate, export, sudoku, trainer  # noqa: E402
from examples.training.card import model_card  # noqa: E402
from examples.training.grow import grow  # noqa: E402
from examples.training.model import HRM, TRM, ModelConfig  # noqa: E402
from examples.training.optim import act_loss, continue_target  # noqa: E402
from examples.training.recipe import RecipeError, read_recipe  # noqa: E402

TINY = """
name = "tiny"
title = "A tiny model for tests"
[task]
n = 4
givens = [6, 8]
test_givens = [6, 8]
dig_to = 6
pool = 40
test_pool = 30
[model]
hidden_size = 16
num_heads = 2
L_layers = 1
L_cycles = 1
{mixer}
puzzle_emb_ndim = 16
halt_max_steps = 4
[train]
steps = {steps}
batch = 8
lr = 2e-3
warmup = 3
compile = false
[eval]
puzzles = 8
steps = 4
[export]
weights = "{weights}"
train_slice = 16
test_slice = 20
card_puzzles = 20
edges = [6, 7, 9]
"""
MLP, ATTENTION = "mlp_t = true\npuzzle_emb_len = 2", 'mlp_t = false\npos_encodings = "rope"\npuzzle_emb_len = 2'
HIERARCHICAL = 'family = "hrm"\nH_layers = 2\nmlp_t = false\npos_encodings = "learned"'


def make(tmp_path: Path, steps=12, weights="float32", mixer=MLP):
    tmp_path.mkdir(parents=True, exist_ok=True)
    path = tmp_path / "tiny.toml"
    path.write_text(TINY.format(steps=steps, weights=weights, mixer=mixer))
    recipe = read_recipe(path)
    train_pool, test_pool = trainer.pools(recipe, tmp_path, lambda _: None)
    t = trainer.Trainer(recipe, tmp_path, train_pool, lambda _: None)
    return t, train_pool, trainer.test_set(recipe, test_pool)


@pytest.mark.parametrize("mixer", [MLP, ATTENTION, HIERARCHICAL])
def test_resumed_training_equals_uninterrupted_training(tmp_path, mixer):
    whole, _, _ = make(tmp_path / "whole", mixer=mixer)
    whole.run(None)
    assert whole.step == 12

    first, _, _ = make(tmp_path / "parts", mixer=mixer)
    while first.step < 5:
        first.train_step()
    first.save()
    second, _, _ = make(tmp_path / "parts", mixer=mixer)
    assert second.load() and second.step == 5
    second.run(None)

    assert second.step == whole.step and second.samples == whole.samples
    for a, b in (
        (whole.model.state_dict(), second.model.state_dict()),
        (whole.ema.shadow, second.ema.shadow),
        (whole.carry, second.carry),
    ):
        assert a.keys() == b.keys()
        for key in a:
            assert torch.equal(a[key], b[key]), key
    assert whole.rng.bit_generator.state == second.rng.bit_generator.state


def test_a_stop_request_saves_and_continues(tmp_path):
    t, _, _ = make(tmp_path)
    t.stop = True
    t.run(None)
    assert t.step == 0 and t.state_path.exists()
    assert not list(tmp_path.glob("*.part"))


def test_loss_goes_down(tmp_path):
    t, _, _ = make(tmp_path, steps=150)
    losses = [t.train_step()["loss"] for _ in range(150)]
    assert np.mean(losses[-20:]) < 0.9 * np.mean(losses[:20])
    # The second row of the halting head is never used, so it stays at its start (up to weight decay).
    assert not t.model.q_head.weight[1].any()


def test_loss_of_an_hrm_goes_down_and_q_continue_is_trained(tmp_path):
    t, _, _ = make(tmp_path, steps=150, mixer=HIERARCHICAL)
    losses = [t.train_step()["loss"] for _ in range(150)]
    assert np.mean(losses[-20:]) < 0.9 * np.mean(losses[:20])
    assert t.model.q_head.weight[1].any()


EXPECTED = {
    "H_init": (16,),
    "L_init": (16,),
    "embed_tokens.embedding_weight": (6, 16),
    "lm_head.weight": (6, 16),
    "q_head.weight": (2, 16),
    "q_head.bias": (2,),
    "puzzle_emb.weights": (1, 16),
    "L_level.layers.0.mlp.gate_up_proj.weight": (512, 16),
    "L_level.layers.0.mlp.down_proj.weight": (16, 256),
}
EXPECTED_MLP = {"L_level.layers.0.mlp_t.gate_up_proj.weight": (512, 18), "L_level.layers.0.mlp_t.down_proj.weight": (18, 256)}
EXPECTED_ATTENTION = {
    "L_level.layers.0.self_attn.qkv_proj.weight": (48, 16),
    "L_level.layers.0.self_attn.o_proj.weight": (16, 16),
}
EXPECTED_HIERARCHICAL = {
    **EXPECTED_ATTENTION,
    **{
        f"H_level.layers.{i}.{name.removeprefix('L_level.layers.0.')}": shape
        for name, shape in {**EXPECTED, **EXPECTED_ATTENTION}.items()
        if name.startswith("L_level")
        for i in (0, 1)
    },
    "embed_pos.embedding_weight": (17, 16),  # one puzzle row: as many as puzzle_emb_ndim needs
}


@pytest.mark.parametrize(
    "mixer, weights, extra",
    [
        (MLP, "float32", EXPECTED_MLP),
        (ATTENTION, "bfloat16", EXPECTED_ATTENTION),
        (HIERARCHICAL, "float32", EXPECTED_HIERARCHICAL),
    ],
)
def test_exported_folder(tmp_path, mixer, weights, extra):
    t, train_pool, test = make(tmp_path, weights=weights, mixer=mixer)
    t.run(test)
    out = tmp_path / "models" / "tiny"
    for _ in range(2):  # exporting again replaces the folder
        export.export(t, train_pool, test, out, lambda _: None, raw=tmp_path / "raw")
    assert sorted(p.name for p in out.parent.iterdir()) == ["tiny"]

    state = load_file(out / "model.safetensors")
    assert {k: tuple(v.shape) for k, v in state.items()} == {**EXPECTED, **extra}
    narrow = torch.bfloat16 if weights == "bfloat16" else torch.float32
    for key, value in state.items():
        wanted = torch.bfloat16 if key in ("H_init", "L_init") else narrow if value.ndim > 1 else torch.float32
        assert value.dtype == wanted, key

    config = json.loads((out / "config.json").read_text())
    arch = yaml.safe_load((tmp_path / "raw" / "all_config.yaml").read_text())["arch"]
    if mixer == HIERARCHICAL:
        assert config["arch_name"] == "recursive_reasoning.hrm@HierarchicalReasoningModel_ACTV1"
        assert not {"puzzle_emb_len", "no_ACT_continue", "family"} & (set(config) | set(arch))
    else:
        assert config["arch_name"] == "recursive_reasoning.trm@TinyRecursiveReasoningModel_ACTV1"
        assert config["puzzle_emb_len"] == arch["puzzle_emb_len"] == 2
    assert (config["seq_len"], config["vocab_size"]) == (16, 6)
    assert arch["name"] == config["arch_name"] and arch["H_layers"] == t.recipe.model.H_layers
    raw = torch.load(tmp_path / "raw" / "step_12", weights_only=True)
    assert set(raw) == {"_orig_mod.model.inner." + k for k in state}

    for split, count in (("train", 16), ("test", 20)):
        folder = out / "data" / split
        assert np.load(folder / "all__inputs.npy").shape == (count, 16)
        assert np.load(folder / "all__inputs.npy").dtype == np.uint8
        assert np.load(folder / "all__puzzle_indices.npy").tolist() == list(range(count + 1))
        assert json.loads((folder / "dataset.json").read_text())["total_puzzles"] == count
    assert json.loads((out / "data/identifiers.json").read_text()) == ["<blank>"]

    # The card is written from the measured figures, and the figures come from the stored weights.
    metrics = json.loads((out / "metrics.json").read_text())
    assert (out / "README.md").read_text() == model_card(metrics, t.recipe)
    model = evaluate.make_eval_model(t.recipe.model, state, "float32")
    _, exact, _ = evaluate.per_step(model, *test, steps=4)
    assert metrics["held_out"]["exact"]["4"] == pytest.approx(exact[:, -1].mean())


def test_state_dict_order_and_rope_tables_are_not_stored():
    cfg = ModelConfig(seq_len=16, vocab_size=6, hidden_size=16, mlp_t=False, pos_encodings="learned")
    keys = list(TRM(cfg).state_dict())
    assert keys[:2] == ["H_init", "L_init"] and "embed_pos.embedding_weight" in keys
    rope = replace(cfg, pos_encodings="rope")
    assert not [k for k in TRM(rope).state_dict() if "cos" in k or "rope" in k]


def hierarchical(**fields) -> ModelConfig:
    return ModelConfig(
        seq_len=16, vocab_size=6, hidden_size=16, num_heads=2, family="hrm", H_layers=1, L_layers=2, mlp_t=False,
        pos_encodings="rope", forward_dtype="float32", **fields,
    )  # fmt: skip


def test_hrm_updates_each_state_with_its_own_module_and_keeps_gradients_of_the_last_two():
    torch.manual_seed(0)
    model = HRM(hierarchical(H_cycles=2, L_cycles=2))
    calls = []
    for name in ("H_level", "L_level"):
        getattr(model, name).register_forward_hook(lambda *_, name=name: calls.append((name, torch.is_grad_enabled())))
    x = torch.randint(1, 6, (3, 16))
    model(*model.initial(3), x)
    assert calls == [("L_level", False)] * 2 + [("H_level", False), ("L_level", False), ("L_level", True), ("H_level", True)]


def test_hrm_halts_by_comparison_and_learns_both_outputs():
    q = torch.tensor([[1.0, 2.0], [-3.0, -4.0]])
    assert (HRM(hierarchical()).halting(q) > 0).tolist() == [False, True]
    last = torch.tensor([False, True])
    target = continue_target(torch.tensor([[1.0, 2.0], [1.0, 2.0]]), last)
    assert torch.equal(target, torch.sigmoid(torch.tensor([2.0, 1.0])))
    labels = torch.ones(2, 4, dtype=torch.int64)
    logits = torch.zeros(2, 4, 6)
    alone, both = act_loss(logits, q, labels)[0], act_loss(logits, q, labels, target)[0]
    wanted = -(target * torch.log(torch.sigmoid(q[:, 1])) + (1 - target) * torch.log(1 - torch.sigmoid(q[:, 1]))).sum()
    assert both - alone == pytest.approx(0.5 * wanted.item(), rel=1e-5)


def test_a_family_has_its_own_fields_only():
    with pytest.raises(ValueError, match="H_layers"):
        replace(hierarchical(), H_layers=0)
    with pytest.raises(ValueError, match="puzzle_emb_len"):
        replace(hierarchical(), puzzle_emb_ndim=16, puzzle_emb_len=2)
    with pytest.raises(ValueError, match="family"):
        replace(hierarchical(), family="rnn")


def test_early_exit_counts_from_one():
    exact = np.array([[False, True, True], [False, False, False], [True, True, False]])
    q = np.array([[-1.0, 2.0, 2.0], [-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]])
    share, steps = evaluate.early_exit(exact, q)
    assert share == pytest.approx(2 / 3) and steps == pytest.approx((2 + 3 + 1) / 3)


def test_mistakes_in_a_recipe_are_named(tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text(TINY.format(steps=3, weights="float32", mixer="mlp_z = true"))
    with pytest.raises(RecipeError, match="mlp_z"):
        read_recipe(path)
    path.write_text(TINY.format(steps=3, weights="float32", mixer=MLP).replace("steps = 3", "steps = 3\nminutes = 1.0"))
    with pytest.raises(RecipeError, match="exactly one"):
        read_recipe(path)
    assert cli.main([str(tmp_path / "absent.toml")]) == 2


def test_symmetric_pairs_share_givens():
    pool = sudoku.make_pool(4, 3, 8, seed=1, held_out=False)
    x, y = sudoku.draw(pool, 6, (8, 8), np.random.default_rng(0))
    assert ((x == y) | (x == 1)).all()


def test_growing_keeps_the_function():
    torch.manual_seed(0)
    shape = {"seq_len": 16, "vocab_size": 6, "num_heads": 2, "L_layers": 1, "mlp_t": True, "forward_dtype": "float32"}
    narrow = ModelConfig(hidden_size=16, puzzle_emb_ndim=16, puzzle_emb_len=1, **shape)
    wide = ModelConfig(hidden_size=64, puzzle_emb_ndim=64, puzzle_emb_len=1, expansion=12.0, **shape)
    small = TRM(narrow)
    with torch.no_grad():
        small.puzzle_emb.weights.normal_()
        small.q_head.weight.normal_()
    big = TRM(wide)
    big.load_state_dict(grow(narrow, small.state_dict(), wide))
    assert big.L_level.layers[0].mlp.down_proj.weight.shape == (64, 512)  # twice the hidden units
    x = torch.randint(1, 6, (4, 16))
    with torch.no_grad():
        a, b = small(*small.initial(4), x), big(*big.initial(4), x)
    assert torch.allclose(a[2], b[2], atol=1e-3) and torch.allclose(a[3], b[3], atol=1e-3)
    with pytest.raises(ValueError, match="not a multiple"):
        grow(narrow, small.state_dict(), replace(wide, hidden_size=24))
