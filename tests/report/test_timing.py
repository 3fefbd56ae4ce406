"""Where the time goes: table, words and chart of the estimate, beside what `verify` measured."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET

import pytest

from recurc.build.manifest import load_build
from recurc.report.document import report_build
from recurc.report.page import render_page
from recurc.report.timing import seconds_text, time_bars, time_columns, time_facts, time_rows
from tests.report.samples import build_folder, config, document, record_verify


def test_the_table_adds_up():
    d = document()
    e = d["time"]["estimate"]
    rows = time_rows(e)
    assert [r[0] for r in rows] == [c["name"] for c in e["classes"]] + ["waits for flash", "all"]
    assert all(len(r) == len(time_columns(e)) for r in rows)
    assert {c["name"] for c in e["classes"]} == {"token mixing", "channel mixing", "heads", "quantize", "SiLU", "norm", "carry"}
    assert e["macs"] == d["model"]["macs_per_step"]
    assert e["seconds"] == pytest.approx(
        sum(c["seconds"] for c in e["classes"]) + e["flash_waits"]["cycles"] / e["clock_hz"], rel=1e-6
    )
    assert json.loads(json.dumps(d["time"])) == d["time"]


def test_it_is_called_an_estimate():
    facts = dict(time_facts(document()))
    assert facts["estimated time"].endswith("not measured") and "480 MHz" in facts["estimated time"]
    assert "llvm-mca" in facts["its model"] and "QEMU" in facts["its constants"]
    assert "counted" not in facts and "measured" not in facts


def test_attention_has_its_classes():
    names = [c["name"] for c in document(config("attention", seq_len=100), board="mps2-an386")["time"]["estimate"]["classes"]]
    assert "attention projections" in names and "attention scores and values" in names and "token mixing" not in names


def test_without_a_clock_there_is_no_time():
    d = document(config(hidden_size=128, puzzle_emb_ndim=128), board="riscv32-virt")
    e = d["time"]["estimate"]
    assert e["seconds"] is None and "time" not in time_columns(e) and "estimated time" not in dict(time_facts(d))
    assert all("ms" not in b.text for b in time_bars(d))
    assert "as counted instructions" in render_page(d)


def test_measurements_stand_beside(tmp_path):
    build = load_build(build_folder(tmp_path, "mps2-an500"))
    per = build.board("mps2-an500").ticks.per_instruction
    estimated = report_build(build)["time"]["estimate"]["instructions"]
    instructions = round(round(estimated / 1.02 * per) / per)
    record_verify(build, "mps2-an500", on="qemu", ticks=16 * round(instructions * per), instructions_per_step=instructions)
    time = report_build(build)["time"]
    assert time["measured"] == {"board": "mps2-an500", "instructions": instructions, "seconds": None}
    facts = dict(time_facts(report_build(build)))
    assert "by `verify` on mps2-an500" in facts["counted"] and "+2.0 % off" in facts["counted"]
    record_verify(build, "mps2-an500", seconds_per_step=0.0123)
    assert dict(time_facts(report_build(build)))["measured"].startswith("12.3 ms a step")
    record_verify(build, "mps2-an500")
    assert report_build(build)["time"]["measured"] is None


def test_a_manifest_without_work(tmp_path):
    folder = build_folder(tmp_path)
    build = load_build(folder)
    plan = build.details["boards"]["stm32h7"]["plan"]
    del plan["work"]
    d = report_build(build)
    assert d["time"] is None and time_facts(d) == [] and time_bars(d) == []
    assert "Where the time goes" not in render_page(d)


def test_the_page_has_chart_and_table():
    d = document()
    page = render_page(d)
    text = " ".join("".join(ET.fromstring(page).itertext()).split())
    assert "Where the time goes" in text and "an estimate, not a measurement" in text
    for bar in time_bars(d):
        assert bar.text in text and 0 < bar.width <= 100
    assert page.count('class="time-bar"') == len(time_bars(d))


@pytest.mark.parametrize(
    "seconds, text",
    [(1234.5, "1,234 s"), (1.234, "1.23 s"), (0.9996, "1,000 ms"), (0.0456, "45.6 ms"), (7.89e-6, "7.89 us"), (0.2, "200 ms")],
)
def test_seconds(seconds, text):
    assert seconds_text(seconds) == text
