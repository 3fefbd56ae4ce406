"""Instructions against the committed counts: a kernel that became slower fails here. The page says what the counts are."""

from __future__ import annotations

import re

import pytest

from benchmarks import counting, instructions, modelled
from tests.benchmarks.compilers import committed, need_same_compiler
from tests.tools import EMULATED

SLACK = 1.02
GOALS = {
    ("mps2-an500", "int4"): 1.00,
    ("mps2-an500", "int8"): 0.85,
    ("mps2-an386", "int4"): 1.00,
    ("mps2-an505", "int4"): 1.00,
    ("mps3-an547", "int4"): 0.17,
    ("mps3-an547", "int8"): 0.16,
    ("riscv32-v-virt", "int4-g32"): 0.19,
}
BIG, DEEP, ROW = counting.SHAPES


@pytest.mark.parametrize("name", EMULATED)
def test_layers_take_no_more_instructions(name, tmp_path):
    need_same_compiler(name)
    before = {(x["weights"], tuple(x["shape"])): x["instructions"] for x in committed()[name]["layers"]}
    for count in counting.count_layers(name, tmp_path):
        limit = before.pop((count.precision, (count.rows, count.depth, count.channels)))
        assert count.instructions <= SLACK * limit, (count, "python benchmarks/instructions.py, if that is meant")
        assert count.instructions > limit / SLACK, (count, "faster: commit the new counts")
    assert not before


@pytest.mark.parametrize("name, precision", [("mps2-an500", "int4"), ("mps2-an500", "int8"), ("riscv32-v-virt", "int4-g32")])
def test_block_calls_take_no_more_instructions(name, precision, tmp_path):
    need_same_compiler(name)
    before = committed()[name][precision]["short_step"]
    assert instructions.step_instructions(name, precision, (1, 1), tmp_path) <= SLACK * before


def test_the_goals_are_reached():
    data = committed()
    for (name, precision), goal in GOALS.items():
        counts = [x for x in data[name]["layers"] if x["weights"] == precision and tuple(x["shape"]) in (BIG, DEEP)]
        assert len(counts) == 2
        for x in counts:
            rows, depth, channels = x["shape"]
            assert x["instructions"] / (rows * depth * channels) <= goal, (name, x)
    assert data["mps2-an500"]["int4"]["call"] / instructions.call_macs() <= 1.15


# Cycles a MAC of the big layer at 4 bits: the goal of the M7, and less than the best peer's modelled cycles on the M55.
@pytest.mark.parametrize("name, most", [("mps2-an500", 0.65), ("mps3-an547", 0.16)])
def test_modelled_cycles_reach_their_goal(name, most):
    found = next(x for x in committed()[name]["modelled"]["layers"] if x["weights"] == "int4" and tuple(x["shape"]) == BIG)
    assert found["cycles"] / (BIG[0] * BIG[1] * BIG[2]) <= most


def test_the_page_and_the_data_belong_together():
    data = committed()
    text = instructions.PAGE.read_text(encoding="utf-8")
    assert text == instructions.page(data), "run: python benchmarks/instructions.py --boards none"
    assert list(data) == list(counting.BOARDS) == list(EMULATED)
    assert f"{instructions.call_macs():,}" in text and instructions.call_macs() == 610_271_232


def test_blocks_end_at_branches_and_where_counts_change():
    code = {0: "movs\tr0, #1", 2: "adds\tr0, #1", 4: "bne\t0x0", 6: "str\tr0, [r1]", 8: "bx\tlr", 10: "nop"}
    counts = {0: 5, 2: 9, 4: 9, 6: 5, 8: 5}
    assert [(n, len(body)) for n, body in modelled.blocks(code, counts)] == [(5, 1), (9, 2), (5, 2), (0, 1)]


def test_a_multiplication_a_cycle_is_what_the_model_gives():
    if modelled.available():
        pytest.skip(str(modelled.available()))
    body = ["smlad\tr4, r3, r2, r4", "smlad\tr5, r3, r2, r5"] * 4
    assert re.match(r"8\.\d", f"{modelled.block_cycles(body, 'cortex-m7'):.1f}")
