"""The main job on real sizes: the bundled models on every emulated core, and the paper's shape on the Cortex-M7."""

from __future__ import annotations

import numpy as np
import pytest

import recurc
from recurc.api import Model
from recurc.dataset import Dataset
from recurc.resources import bundled_models
from tests.randmodels import random_inputs, random_reasoner
from tests.tools import EMULATED, need


def dataset(name: str, split: str) -> Dataset:
    return recurc.load_dataset(bundled_models()[name] / "data", split)


def unlabelled(reasoner, inputs: np.ndarray) -> Dataset:
    """Puzzles without answers, for comparisons of bits."""
    c = reasoner.config
    return Dataset(inputs, np.zeros_like(inputs, dtype=np.int32), np.zeros(len(inputs), dtype=np.int32), c.seq_len,
                   c.vocab_size, c.num_puzzle_identifiers, None, None, "test")


@pytest.mark.parametrize("board", EMULATED)
@pytest.mark.parametrize("name, steps", [("sudoku4-tiny", None), ("sudoku6-attn", 2)])
def test_bundled_models_are_bit_exact_on_every_core(board, name, steps, tmp_path):
    need(board)
    quantized = recurc.load(name).quantize("int4", dataset(name, "train"), puzzles=8)
    build = quantized.build(board, tmp_path / "b")
    result = recurc.verify(build, on="qemu", dataset=dataset(name, "test"), limit=2, steps=steps)
    assert result.bit_exact and result.n == 2, result.first_difference


def test_default_model_keeps_its_accuracy_in_every_precision():
    """Puzzle-exact on 512 held-out puzzles: int8 within 1 point of fp32, int4 within 3."""
    model, train, test = recurc.load("sudoku9-mlp"), dataset("sudoku9-mlp", "train"), dataset("sudoku9-mlp", "test")
    exact = {p: model.quantize(p, train).accuracy(test.take(512)).exact for p in ("fp32", "int8", "int4")}
    assert 0.60 <= exact["fp32"] <= 0.97, "a model without errors shows nothing"
    assert exact["int8"] >= exact["fp32"] - 0.01 and exact["int4"] >= exact["fp32"] - 0.03, exact


def test_paper_shape_builds_for_the_m7_and_runs_a_step(tmp_path):
    """5.03 M parameters, sequence 81 + 16, hidden 512, expansion 4, H 3, L 6; 12.8 GMAC in the emulator."""
    need("mps2-an500")
    reasoner = random_reasoner("mlp_t", seq=81, vocab=11, hidden=512, heads=8, pos="none", ndim=512, plen=16,
                               cycles=(3, 6), steps=16, puzzles=1)
    assert reasoner.parameters == 5_028_866
    build = Model(reasoner, "paper-shape").quantize("int4").build("stm32h7", tmp_path / "b")
    plan = build.details["boards"]["stm32h7"]["plan"]
    regions = {r["name"]: r for r in plan["regions"]}
    assert plan["ram_bytes"] <= 460_000 and regions["axisram"]["used"] == plan["arena_bytes"]
    assert regions["qspi"]["used"] == build.details["image_bytes"] <= 2_620_000
    inputs, _ = random_inputs(reasoner, 1)
    result = recurc.verify(build, on="qemu", dataset=unlabelled(reasoner, inputs), steps=1)
    assert result.bit_exact, result.first_difference
