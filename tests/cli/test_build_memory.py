"""What `recurc build` says of memory: the same table as `recurc report`, also when it refuses."""

from __future__ import annotations

import json

import pytest

from recurc.api import Gate, Quantized
from recurc.build.manifest import load_build
from recurc.cli.main import main
from tests.report.samples import build_folder
from tests.tools import need

TINY = ("sudoku4-tiny", "--target", "stm32h7", "--precision", "int8", "--calibration-puzzles", "1", "--accuracy-puzzles", "0")


@pytest.fixture
def built_at_once(tmp_path, monkeypatch):
    """`build` ends with a ready-made build folder; nothing is compiled."""
    need("stm32h7")
    build = load_build(build_folder(tmp_path / "ready"))
    monkeypatch.setattr(Quantized, "gate", lambda self: Gate(1.0, 1, "calibration puzzles", ()))
    monkeypatch.setattr(Quantized, "build", lambda self, *a, **k: build)
    return build


def test_build_and_report_print_the_same_memory(built_at_once, tmp_path, capsys):
    assert main(["build", *TINY, "--out", str(tmp_path / "b")]) == 0
    built = capsys.readouterr().out
    assert main(["report", str(built_at_once.path)]) == 0
    told = capsys.readouterr().out

    def table(text: str) -> str:
        return text[text.index("Memory of") : text.index("unused:")]

    assert table(built) == table(told) and "= weights " in table(told)
    for line in ("planned = linked", "MACs a puzzle", "fidelity", "accuracy", "firmware", "recurc report"):
        assert line in built, line


def test_build_document_has_the_regions_of_the_report(built_at_once, tmp_path, capsys):
    assert main(["build", *TINY, "--out", str(tmp_path / "b"), "--json"]) == 0
    d = json.loads(capsys.readouterr().out)
    assert d["fits"] and d["linked"]["equal"] and d["model"]["macs_per_step"] > 0 and d["stack"]["reserved"] > 0
    assert {r["name"] for r in d["regions"]} == {"flash", "dtcm", "axisram"}
    for r in d["regions"]:
        assert sum(r["parts"].values()) == r["used"] and r["pieces"]


def test_a_refusal_shows_its_plan_before_any_work(tmp_path, capsys, monkeypatch):
    need("stm32h7")
    monkeypatch.setattr("recurc.cli.build.quantize_with_progress", lambda *a, **k: pytest.fail("it was known not to fit"))
    args = ["build", "sudoku9-paper", "--target", "stm32h7", "--precision", "fp32", "--out", str(tmp_path / "b")]
    assert main(args) == 4
    said = capsys.readouterr()
    assert "Memory of stm32h7" in said.out and "--precision int4" in said.out and "bytes more in qspi" in said.err
    assert main([*args, "--json"]) == 4
    d = json.loads(capsys.readouterr().out)
    assert (d["schema"], d["target"], d["precision"], d["fits"]) == ("recurc/build/1", "stm32h7", "fp32", False)
    assert set(d["error"]) == {"code", "what", "where", "why", "next"} and not d["plan"]["verdict"]["fits"]
    assert any(r["free"] < 0 for r in d["regions"]) and list(tmp_path.iterdir()) == []
