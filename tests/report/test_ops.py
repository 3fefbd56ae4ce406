"""What each op of a step takes, and the longest time between two calls of the hook."""

from __future__ import annotations

import pytest

from recurc.plan.cost import MARGIN
from recurc.report.page import render_page
from recurc.report.timing import op_columns, op_rows, time_facts
from tests.report.samples import config, document

SHAPES = {"mlp_t": config(), "attention": config("attention", seq_len=100)}


@pytest.mark.parametrize("name", SHAPES)
def test_the_ops_add_up_to_the_step(name):
    d = document(SHAPES[name], board="stm32h7" if name == "mlp_t" else "mps2-an386")
    time, e = d["time"], d["time"]["estimate"]

    def all_of(key):
        return sum(op["times"] * op[key] for op in time["ops"])

    assert all_of("macs") == d["model"]["macs_per_step"] == e["macs"]
    assert all_of("instructions") == pytest.approx(e["instructions"], rel=1e-6)
    if e["seconds"]:
        assert all_of("seconds") == pytest.approx(e["seconds"], rel=1e-3)
    assert [op["name"] for op in time["ops"]][-1] == "heads"
    assert all(op["most"] == pytest.approx(op["instructions"] * (1 + MARGIN), rel=1e-6) for op in time["ops"])
    assert [row[0] for row in op_rows(time)] == [op["name"] for op in time["ops"]]


def test_the_hook_waits_longer_than_its_multiply_adds_and_not_for_a_whole_op():
    d = document()
    time, hook = d["time"], d["time"]["hook"]
    per_mac = time["estimate"]["instructions"] / time["estimate"]["macs"]
    longest = max(op["most"] for op in time["ops"])
    assert hook["macs"] * per_mac < hook["instructions"] < longest
    assert 0.002 < hook["seconds"] < max(op["seconds"] for op in time["ops"])
    assert f"{hook['macs']:,} MACs" in dict(time_facts(d))["between calls of the hook"]
    assert "heads" in render_page(d) and "at most" in render_page(d)


def test_without_a_clock_there_are_instructions_only():
    d = document(config(hidden_size=128, puzzle_emb_ndim=128), board="riscv32-virt")
    assert d["time"]["hook"]["seconds"] is None and d["time"]["hook"]["instructions"] > 0
    assert "time" not in op_columns(d["time"]) and all(len(row) == len(op_columns(d["time"])) for row in op_rows(d["time"]))
