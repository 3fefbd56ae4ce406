"""Calibration, registry of precisions, quantized models and fidelity."""

from __future__ import annotations

import importlib
import math
import sys

import numpy as np
import pytest

import recurc.quant
from recurc.dataset import load_dataset
from recurc.errors import DoesNotFitError, UsageError
from recurc.evaluate.fidelity import carry_fidelity, cosine_rows
from recurc.evaluate.layer_damage import layer_damage
from recurc.ir.lower import lower
from recurc.models.reasoner import Reasoner
from recurc.models.reference import Reference
from recurc.quant import calibrate as calibration_module
from recurc.quant.calibrate import MAC_BUDGET, calibrate, depth_for_budget
from recurc.quant.model import quantize_model, scaled_tables
from recurc.quant.twin import Twin
from recurc.quant.weights import precision_named, precisions
from recurc.storage.channel import IntWeights
from tests.models.tolerances import Rounding
from tests.randmodels import DATA, random_inputs, random_reasoner, sudoku4

# -- calibration ------------------------------------------------------------------------------------------------------


def test_calibration_is_deterministic_and_seedable():
    r = sudoku4()
    train = load_dataset(DATA / "data", "train").sample(8, 0)
    a, b, c = (calibrate(r, train.inputs, train.puzzle_ids, seed=s, steps=1) for s in (0, 0, 1))
    assert set(a.moments) == {ref.name for ref in lower(r.config).linears}
    assert all((a.moments[n] == b.moments[n]).all() for n in a.moments)
    assert any((a.moments[n] != c.moments[n]).any() for n in a.moments)
    assert (a.puzzles, a.steps, a.seed, c.seed) == (8, 1, 0, 1)
    for name, m in a.moments.items():
        assert m.dtype == np.float64 and np.allclose(m, m.T), name
        assert np.linalg.eigvalsh(m).min() > -1e-6 * np.trace(m), name


def test_moments_are_sums_of_outer_products(monkeypatch):
    """With every row sampled, the q_head's moment is that of z_H's first row after each step."""
    monkeypatch.setattr(calibration_module, "MAX_ROWS", 10**9)
    r = random_reasoner("mlp_t", pos="none", hidden=16, ndim=16)
    inputs, ids = random_inputs(r, 3)
    found = calibrate(r, inputs, ids, steps=2)
    rounding = Rounding(r, inputs, ids, 2)
    rows = rounding.exact["z_H"][:, :, 0].reshape(-1, 16)
    atol = len(rows) * 2 * np.abs(rows).max() * rounding.tolerance("z_H", -1)  # of a sum of products, each factor being off
    np.testing.assert_allclose(found.moments["q_head.weight"], rows.T @ rows, rtol=0, atol=atol)
    assert atol < 0.5, "a row of a norm adds about 1 to the diagonal"


def test_calibration_draws_from_the_sample_by_seed():
    train = load_dataset(DATA / "data", "train")
    a, b, c = train.sample(8, 0), train.sample(8, 0), train.sample(8, 1)
    assert (a.inputs == b.inputs).all() and (a.inputs != c.inputs).any()


def test_calibration_reports_progress_and_keeps_its_budget():
    r, seen = sudoku4(), []
    train = load_dataset(DATA / "data", "train").sample(20, 0)
    calibrate(r, train.inputs, train.puzzle_ids, steps=1, progress=lambda done, of: seen.append((done, of)))
    assert seen == [(16, 20), (20, 20)]
    assert depth_for_budget(1000, 128, 16) == (128, 4)
    assert depth_for_budget(1000, 128, 2) == (128, 2)
    assert depth_for_budget(10**13, 128, 16) == (1, 1)
    puzzles, steps = depth_for_budget(10**9, 128, 16)
    assert puzzles * steps * 10**9 <= MAC_BUDGET


def test_calibration_beats_min_max_on_the_trained_model():
    r = sudoku4()
    train, test = (load_dataset(DATA / "data", split).sample(16, 3) for split in ("train", "test"))
    found = calibrate(r, train.inputs, train.puzzle_ids, steps=2)
    want = next(iter(Reference(r).steps(test.inputs, test.puzzle_ids, 1))).z_H.numpy()
    phi = {}
    for method, moments in (("gptq", found), ("min-max", None)):
        twin = Twin(quantize_model(r, precision_named("int4"), moments, method=method))
        twin.begin(test.inputs, test.puzzle_ids)
        twin.step()
        phi[method] = carry_fidelity(twin.z_H, want).mean()
    assert phi["gptq"] > phi["min-max"] > 0.5 and phi["gptq"] > 0.95


# -- precisions ---------------------------------------------------------------------------------------------------------


def test_precisions_are_those_of_the_design():
    assert set(precisions()) >= {"fp32", "int8", "int4", "int4-naive"}
    assert precision_named("int4").methods == ("gptq", "mse", "min-max")
    assert [p.name for p in precisions().values() if p.lossy] == ["int4-naive"]


def test_a_precision_is_one_file(tmp_path, monkeypatch):
    """A module scheme_*.py in the package's path is found; nothing else lists it."""
    (tmp_path / "scheme_int7.py").write_text(
        "from recurc.quant.scheme_int4 import quantize\nfrom recurc.quant.weights import Precision\n"
        "from recurc.storage import INT4\nPRECISION = Precision('int7', INT4, quantize, summary='test')\n"
    )
    (tmp_path / "other.py").write_text("raise RuntimeError('only scheme_*.py are precisions')\n")
    monkeypatch.setattr(recurc.quant, "__path__", [*recurc.quant.__path__, str(tmp_path)])
    precisions.cache_clear()
    try:
        assert precision_named("int7").summary == "test"
        assert "int4" in precisions()
    finally:
        precisions.cache_clear()
        sys.modules.pop("recurc.quant.scheme_int7", None)
        importlib.invalidate_caches()


def test_an_unknown_precision_names_the_known():
    with pytest.raises(UsageError, match="int4-naive") as e:
        precision_named("int5")
    assert e.value.exit_code == 2


def test_an_unknown_method_is_refused():
    from recurc.api import Model

    with pytest.raises(UsageError, match="gptq, mse, min-max") as e:
        Model(sudoku4(), "s4").quantize("int4", method="magic")
    assert e.value.exit_code == 2


# -- quantized models -----------------------------------------------------------------------------------------------------


def test_every_linear_layer_is_quantized_and_nothing_else():
    r = random_reasoner()
    q = quantize_model(r, precision_named("int4"))
    assert set(q.weights) == set(r.linear_names())
    assert all(isinstance(w, IntWeights) and w.bits == 4 for w in q.weights.values())
    assert (q.weights["q_head.weight"].scale[1], q.weights["q_head.weight"].dequantized()[1].any()) == (1, False)
    assert q.vectors["H_init"].tobytes() == r.tensors["H_init"].tobytes()
    assert q.method == "mse", "gptq needs puzzles"
    assert quantize_model(r, precision_named("int4"), method="min-max").method == "min-max"
    assert quantize_model(r, precision_named("fp32"), method="gptq").method == "none"


def test_quantizing_is_deterministic():
    r = sudoku4()
    train = load_dataset(DATA / "data", "train").sample(4, 0)
    found = calibrate(r, train.inputs, train.puzzle_ids, steps=1)
    a, b = (quantize_model(r, precision_named("int4"), found) for _ in range(2))
    assert all(a.weights[n].q.tobytes() == b.weights[n].q.tobytes() for n in a.weights)


@pytest.mark.parametrize("pos", ["rope", "learned", "none"])
def test_tables_carry_the_embedding_scale(pos):
    r = random_reasoner(pos=pos, hidden=64, ndim=64)
    tables = scaled_tables(r, lower(r.config))
    factor = 8 * (0.707106781 if pos == "learned" else 1)
    assert np.allclose(tables["tokens"], r.tensors["embed_tokens.embedding_weight"] * factor, rtol=1e-6)
    assert ("positions" in tables) == (pos == "learned")
    twin = Twin(quantize_model(r, precision_named("fp32")))
    inputs, ids = random_inputs(r)
    twin.begin(inputs, ids)
    import torch

    want = Reference(r).embed(torch.from_numpy(inputs.astype(np.int64)), torch.from_numpy(ids)).numpy()
    assert np.allclose(twin.X, want, atol=1e-6)


def test_an_absurd_puzzle_table_does_not_fit():
    r = random_reasoner()
    config = r.config.__class__(**{**r.config.__dict__, "num_puzzle_identifiers": 10**6})
    with pytest.raises(DoesNotFitError, match="puzzle embedding table"):
        scaled_tables(Reasoner(config, r.tensors, "x", "y"), lower(config, puzzle_table="image"))


@pytest.mark.parametrize("mixer", ["mlp_t", "attention"])
def test_the_fp32_twin_equals_the_reference(mixer):
    """Two forwards that share nothing but the formula: NumPy in the contract's order, torch in fp64."""
    r = random_reasoner(mixer, pos="rope" if mixer == "attention" else "none")
    inputs, ids = random_inputs(r, 3)
    twin = Twin(quantize_model(r, precision_named("fp32")))
    twin.begin(inputs, ids)
    twin.step()
    rounding = Rounding(r, inputs, ids, 1)
    for name in ("z_H", "z_L", "logits", "q"):
        rounding.check(name, 1, getattr(twin, name))


# -- fidelity ---------------------------------------------------------------------------------------------------------------


def test_cosine_edge_cases():
    z = np.array([[1, 0], [2, 0], [0, 0], [0, 0], [1, 1], [-1, 0], [1e-25, 0], [1e30, 1e30]], dtype=np.float32)
    ref = np.array([[3, 0], [0, 1], [0, 0], [1, 0], [1, 0], [1, 0], [1e-25, 0], [1e30, 1e30]], dtype=np.float32)
    want = [1, 0, 1, 0, math.sqrt(0.5), -1, 1, 1]
    assert np.allclose(cosine_rows(z, ref), want)
    assert np.isclose(carry_fidelity(z[None], ref[None])[0], np.mean(want))


def test_fidelity_is_per_input():
    z = np.random.default_rng(0).normal(size=(3, 5, 8)).astype(np.float32)
    other = z.copy()
    other[1] *= -2
    assert np.allclose(carry_fidelity(other, z), [1, -1, 1])


def test_layer_damage_names_the_worst_layer_first():
    r = random_reasoner()
    q = quantize_model(r, precision_named("int8"))
    name = "L_level.layers.1.mlp.down_proj.weight"
    hurt = dict(q.weights)
    w = hurt[name]
    hurt[name] = IntWeights(8, np.zeros_like(w.q), w.scale, w.zero)
    damage = layer_damage(q.program, hurt, r.tensors, {})
    assert damage[0][0] == name and damage[0][1] == pytest.approx(1.0)
    assert [d for _, d in damage] == sorted((d for _, d in damage), reverse=True)
    assert len(damage) == len(q.weights) and damage[1][1] < 1e-3


def test_layer_damage_weighs_by_the_inputs():
    r = random_reasoner()
    name = "lm_head.weight"
    k = r.config.hidden_size
    q = quantize_model(r, precision_named("int8"))
    broken = q.weights[name].q.copy()
    broken[:, 0] = 0  # only the first input is lost
    hurt = {**q.weights, name: IntWeights(8, broken, q.weights[name].scale, q.weights[name].zero)}
    unseen, only = np.eye(k), np.zeros((k, k))
    unseen[0, 0], only[0, 0] = 0, 1
    assert dict(layer_damage(q.program, hurt, r.tensors, {name: unseen}))[name] < 1e-3
    assert dict(layer_damage(q.program, hurt, r.tensors, {name: only}))[name] == pytest.approx(1)
