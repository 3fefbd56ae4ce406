"""The main job on real sizes: the bundled models on every emulated core, and the paper's shape on the Cortex-M7."""

from __future__ import annotations

from dataclasses import replace

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
    return Dataset(
        inputs,
        np.zeros_like(inputs, dtype=np.int32),
        np.zeros(len(inputs), dtype=np.int32),
        c.seq_len,
        c.vocab_size,
        c.num_puzzle_identifiers,
        None,
        None,
        "test",
    )


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


PAPER = {
    "mixer": "mlp_t",
    "seq": 81,
    "vocab": 11,
    "hidden": 512,
    "heads": 8,
    "pos": "none",
    "ndim": 512,
    "plen": 16,
    "cycles": (3, 6),
    "steps": 16,
    "puzzles": 1,
}
ARC = {
    "mixer": "attention",
    "seq": 900,
    "vocab": 12,
    "hidden": 512,
    "heads": 8,
    "pos": "rope",
    "ndim": 512,
    "plen": 16,
    "cycles": (3, 4),
    "steps": 16,
    "puzzles": 2000,
}


def one_step(reasoner, build) -> None:
    """One supervision step of a random puzzle in the emulator equals the host's."""
    inputs, _ = random_inputs(reasoner, 1)
    result = recurc.verify(build, on="qemu", dataset=unlabelled(reasoner, inputs), steps=1)
    assert result.bit_exact, result.first_difference
    stack = build.details["boards"][result.board.name]["plan"]["stack"]
    assert 0 < result.stack_used <= stack["worst"] <= stack["reserved"]


def test_paper_shape_fits_4_mb_and_512_kb_and_runs_a_step(tmp_path):
    """5.03 M parameters, sequence 81 + 16, hidden 512, expansion 4, H 3, L 6; 12.8 GMAC on the emulated Cortex-M7."""
    need("mcu-4mb-m7")
    reasoner = random_reasoner(**PAPER)
    assert reasoner.parameters == 5_028_866
    build = Model(reasoner, "paper-shape").quantize("int4").build("mcu-4mb-m7", tmp_path / "b")
    plan = build.details["boards"]["mcu-4mb-m7"]["plan"]
    regions = {r["name"]: r for r in plan["regions"]}
    assert regions["flash"]["used"] <= 4 << 20 and build.details["image_bytes"] <= 2_620_000
    assert plan["ram_bytes"] <= 460_000 and regions["ram"]["used"] == plan["arena_bytes"] <= 512 << 10
    one_step(reasoner, build)


@pytest.mark.parametrize("board, precision, flash", [("soc-8mb", "int8", 8 << 20), ("mcu-4mb", "int4", 4 << 20)])
def test_arc_shape_fits_its_budget_and_runs(board, precision, flash, tmp_path):
    """6.83 M parameters, sequence 900 + 16, with rows of 2,000 puzzles streamed; two of the fifteen calls of a step."""
    need(board)
    reasoner = random_reasoner(**ARC)
    assert reasoner.parameters == 6_829_058
    quantized = Model(reasoner, "arc-shape").quantize(
        precision, method="min-max" if precision == "int4" else None, carry="int8", h_cycles=1, l_cycles=1
    )
    build = quantized.build(board, tmp_path / "b")
    plan = build.details["boards"][board]["plan"]
    assert build.table.rows == 2000 and plan["table"]["mode"] == "wire", "the table is larger than what the image leaves"
    regions = {r["name"]: r for r in plan["regions"]}
    assert regions["flash"]["used"] <= flash
    state = 916 * 512
    assert plan["ram_bytes"] < 3.5 * state, "two states, the mixed values of attention, and half a state for all else"
    one_step(reasoner, build)


@pytest.mark.parametrize("board, storage", [("mcu-4mb-m7", "int8"), ("mcu-4mb", "fp32")])
def test_arc_is_solved_with_streamed_rows_and_not_with_others(board, storage, tmp_path):
    """The rule of a task stands in its puzzle's row: the emulated board solves with that row, and not with another's."""
    need(board)
    train, test = dataset("arc-mini", "train"), dataset("arc-mini", "test").take(6)
    quantized = recurc.load("arc-mini").quantize("int4", train, puzzles=32, puzzle_table=storage)
    build = quantized.build(board, tmp_path / "b")
    assert build.table.rows == quantized.model.config.num_puzzle_identifiers and build.table.storage == storage
    right = recurc.verify(build, on="qemu", dataset=test, steps=2)
    assert right.bit_exact and right.exact >= 4 / 6, right.first_difference
    others = np.roll(test.puzzle_ids, 1)
    assert (others != test.puzzle_ids).all()
    wrong = recurc.verify(build, on="qemu", dataset=replace(test, puzzle_ids=others), steps=2)
    assert wrong.bit_exact and wrong.exact <= 1 / 6
