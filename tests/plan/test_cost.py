"""The cost model: work that adds up to the program's own figures, and estimates that QEMU's counts bear out."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from benchmarks.counting import build_steps, random_model, run_counts
from benchmarks.shapes import SUBJECTS
from recurc.ir.lower import lower
from recurc.models.checkpoint import load
from recurc.plan import cost
from recurc.plan.cost import MARGIN, constants, estimate, merged_units, work_summary
from recurc.plan.kernels import KERNEL_SETS, choose_kernels, kernel_set
from recurc.plan.layout import make_layout
from recurc.plan.planner import make_plan
from recurc.plan.work import Step, step_work, work_classes
from recurc.quant.model import quantize_model
from recurc.quant.weights import precision_named, precisions
from recurc.resources import bundled_models
from recurc.storage import FP32, GROUPED, INT4, INT8
from recurc.targets.boards import load_board
from tests.randmodels import random_reasoner
from tests.tools import need

FORMS = tuple(dict.fromkeys(p.form for p in precisions().values()))
SHAPES = {
    "mlp": random_reasoner("mlp_t", pos="none", seq=25, hidden=48, layers=2).config,
    "attention": random_reasoner("attention", seq=25, hidden=48, heads=4, layers=1).config,
    "hrm": random_reasoner("attention", seq=25, hidden=48, heads=4, layers=1, h_layers=2, cycles=(2, 3)).config,
    "positions": random_reasoner("attention", seq=16, hidden=32, pos="learned", ndim=0, plen=0).config,
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kernels", [k.name for k in KERNEL_SETS])
@pytest.mark.parametrize("form", [INT4, GROUPED, INT8, FP32], ids=lambda form: form.suffix)
@pytest.mark.parametrize("carry", ["fp32", "int8"])
@pytest.mark.parametrize("scratch", [1, 20_000])
def test_macs_add_up(shape, kernels, form, carry, scratch):
    program, chosen = lower(SHAPES[shape], carry=carry), kernel_set(kernels)
    work = step_work(program, make_layout(program, form, chosen, scratch), form, chosen)
    assert list(work) == [c.name for c in work_classes() if c.name in work]
    assert sum(w.macs for w in work.values()) == program.macs_per_step
    assert all(n >= 0 for w in work.values() for n in w.units.values())


def test_work_of_the_paper_shape():
    program, kernels = lower(SUBJECTS[0].config), kernel_set("dsp")
    layout = make_layout(program, INT4, kernels, 48 << 10)
    work = step_work(program, layout, INT4, kernels)
    calls = 2 * program.calls_per_step  # two layers a call
    tiles = -(-97 // layout.shapes[1].tile)
    per_layer = kernels.part_bytes(program.linears[2], INT4) * 2 + kernels.part_bytes(program.linears[3], INT4)
    scales = (program.linears[2].n + program.linears[3].n) * 5
    assert work["channel mixing"].flash_bytes == calls * tiles * (per_layer + scales)
    assert work["SiLU"].units["rc_silu_mul:element"] == calls * (97 * 1536 + 512 * program.linears[1].k)
    assert work["norm"].units["rc_rms_norm:row"] == calls * (97 + 512)
    assert work["channel mixing"].macs == calls * 97 * 512 * 3 * 1536


@pytest.mark.parametrize("n, computed", [(12, 16), (16, 16), (20, 32), (40, 48), (64, 64)])
def test_vector_kernels_compute_no_more_lanes_than_needed(n, computed):
    """Tiles have 32 channels, registers of 128 bits 16 lanes: the last pass of a layer may be the first of a tile."""
    program, kernels = lower(random_reasoner("attention", hidden=2 * n, heads=2, seq=8, layers=1).config), kernel_set("rvv")
    for form, name in ((INT4, "rc_tile_s4_rvv"), (GROUPED, "rc_tile_g32_rvv"), (INT8, "rc_tile_s8_rvv")):
        step = Step(program, make_layout(program, form, kernels, 20_000), form, kernels)
        ref = next(r for r in program.linears if r.name.endswith("qkv_proj.weight"))
        step.product("attention projections", ref, n, 8)
        units = step.found["attention projections"].units
        assert units[f"{name}:mac"] == 8 * kernels.padded(ref.k) * computed
        assert units[f"{name}:row"] == 8 * computed // 16


def test_larger_tiles_read_less_flash():
    program, kernels = lower(SUBJECTS[0].config), kernel_set("dsp")
    small, large = (step_work(program, make_layout(program, INT4, kernels, kib << 10), INT4, kernels) for kib in (48, 120))
    assert large["channel mixing"].flash_bytes < small["channel mixing"].flash_bytes
    assert large["channel mixing"].macs == small["channel mixing"].macs


@pytest.mark.parametrize("board", ["mps2-an500", "mps2-an386", "mps2-an505", "mps3-an547", "riscv32-virt", "riscv32-v-virt"])
def test_every_emulated_core_has_constants_for_all_units(board):
    board = load_board(board)
    kernels = choose_kernels(board.features)
    entry = constants(kernels.name, board.core)
    assert entry is not None, "run benchmarks/cost_constants.py"
    for shape in SHAPES.values():
        for form in FORMS:
            for carry in ("fp32", "fp16", "int8"):
                program = lower(shape, carry=carry)
                work = step_work(program, make_layout(program, form, kernels, 20_000), form, kernels)
                units = {u for u, n in merged_units(work.values()).items() if n}
                assert units <= set(entry["instructions"]), "run benchmarks/cost_constants.py"


@pytest.mark.parametrize("board", ["mps2-an500", "mps2-an386", "mps3-an547"])
def test_cores_that_llvm_models_have_cycles_of_every_kernel(board):
    board = load_board(board)
    kernels = choose_kernels(board.features)
    known = constants(kernels.name, board.core)["cycles_per_instruction"]
    functions = {f for form in FORMS if (k := kernels.of(form)) for f in (k.tile, k.unpack, k.quantize) if f}
    assert functions <= set(known) and all(0.3 < n < 3 for n in known.values()), "run benchmarks/cost_constants.py"


MODELS = {
    "sudoku4-tiny": lambda: load(bundled_models()["sudoku4-tiny"]),
    "sudoku6-attn": lambda: load(bundled_models()["sudoku6-attn"]),
    "hrm": lambda: random_reasoner(seq=36, vocab=8, hidden=96, heads=4, ndim=96, layers=1, h_layers=2, pos="learned"),
    "paper": lambda: random_model(SUBJECTS[0].config),
}


@pytest.mark.parametrize(
    "board, model, precision, carry",
    [
        ("mps2-an500", "sudoku4-tiny", "int4", "fp32"),
        ("mps2-an500", "sudoku6-attn", "int8", "int8"),
        ("mps2-an500", "paper", "int4", "fp32"),
        ("mps2-an386", "sudoku6-attn", "int4", "fp16"),
        ("riscv32-virt", "sudoku4-tiny", "int8", "fp32"),
        ("riscv32-virt", "sudoku6-attn", "int4", "fp32"),
        ("riscv32-v-virt", "sudoku6-attn", "int8", "fp32"),
        ("riscv32-v-virt", "sudoku4-tiny", "int4-g32", "fp32"),
        ("mps3-an547", "sudoku4-tiny", "int4-g32", "fp32"),
        ("mps2-an500", "hrm", "int4", "int8"),
        ("mps2-an505", "sudoku4-tiny", "fp32", "fp32"),
        ("mps3-an547", "sudoku4-tiny", "int4", "fp16"),
    ],
)
def test_estimates_are_what_qemu_counts(board, model, precision, carry, tmp_path):
    need(board)
    board = load_board(board)
    made = quantize_model(
        MODELS[model](),
        precision_named(precision),
        carry=carry,
        h_cycles=1,
        l_cycles=2,
        **({"method": "min-max"} if precision.startswith("int4") else {}),
    )
    elf = build_steps(board, made, tmp_path)
    counted = run_counts(board, elf, 1)[0] / board.ticks.per_instruction
    plan = make_plan(made.program, made.precision.form, board)
    found = estimate(work_summary(made.program, plan.layout, plan.forms, plan.kernels), board)
    assert found["instructions"] == pytest.approx(counted, rel=MARGIN)
    assert found["macs"] == made.program.macs_per_step


def work_of(board) -> dict:
    program, kernels = lower(SUBJECTS[0].config), choose_kernels(board.features)
    return work_summary(program, make_layout(program, INT4, kernels, 48 << 10), INT4, kernels)


def test_an_estimate_names_its_model_and_adds_up():
    board = load_board("stm32h7")
    work = work_of(board)
    found = estimate(work, board, "axisram")
    assert json.loads(json.dumps(work)) == work and json.loads(json.dumps(found)) == found
    assert found["kind"] == "estimate" and "Cortex-M7" in found["model"] and "QEMU" in found["instructions_from"]
    assert found["instructions"] == sum(c["instructions"] for c in found["classes"])
    assert found["seconds"] == pytest.approx(sum(c["seconds"] for c in found["classes"]), rel=1e-6)
    assert sum(c["share"] for c in found["classes"]) == pytest.approx(1.0)
    assert found["seconds"] * board.clock_hz == pytest.approx(found["cycles"])
    assert "waits for axisram are not in it" in found["model"]


def test_waits_for_flash():
    board = load_board("stm32h7")
    work, plain = work_of(board), estimate(work_of(board), board)
    read = sum(c["flash_bytes"] for c in plain["classes"])
    internal, external = estimate(work, board, "flash"), estimate(work, board, "qspi")
    assert internal["cycles"] - plain["cycles"] == pytest.approx(4 * read / 32, abs=2)
    assert external["seconds"] - plain["seconds"] == pytest.approx(read / 40e6, rel=1e-6)
    assert "40 MB/s" in external["model"] and re.search(r"4 wait states a 32-byte line", internal["model"])


def test_without_a_data_cache_weights_are_read_again():
    board = load_board("stm32h7")
    bare = replace(board, features=board.features - {"dcache"})
    with_cache, without = (sum(c["flash_bytes"] for c in estimate(work_of(board), b)["classes"]) for b in (board, bare))
    assert without > 2 * with_cache


def test_boards_without_clock_or_constants(monkeypatch):
    board = load_board("riscv32-virt")
    found = estimate(work_of(board), board)
    assert found["instructions"] > 0 and found["seconds"] is None and found["cycles"] is None
    assert "no model of this core" in found["model"]
    assert estimate(work_of(board), replace(board, core="z80")) is None
    for name in ("apollo510", "mps3-an547"):
        assert "Cortex-M55" in estimate(work_of(load_board(name)), load_board(name))["model"]
    m33 = estimate(work_of(load_board("pico2")), load_board("pico2"))
    assert "Cortex-M4" in m33["model"] and m33["seconds"] > 0
    monkeypatch.setitem(cost.ALIKE, "z80", "rv32imafc")
    assert estimate(work_of(board), replace(board, core="z80"))["instructions"] == found["instructions"]
