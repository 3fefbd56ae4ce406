"""`recurc report` as a user calls it: plans, builds, pages, refusals."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET

import pytest

from tests.cli.running import ran
from tests.report.samples import build_folder

TINY = "sudoku4-tiny"


def run(capsys, *args: str) -> tuple[int, str, str]:
    return ran(capsys, "report", *args)


def test_plan_as_text(capsys):
    status, out, err = run(capsys, TINY, "--target", "stm32h7", "--precision", "int8", "--pieces")
    assert status == 0 and err == ""
    assert "planned only" in out and "Memory of stm32h7" in out and "estimates: code" in out
    for text in ("used bytes", "free bytes", "= weights ", "fits STM32H743", "0x20000000", "z_h", "unused: itcm (64 KiB)"):
        assert text in out, text


def test_plan_as_json(capsys):
    status, out, _ = run(capsys, TINY, "--json", "--steps", "3")
    d = json.loads(out)
    assert status == 0 and d["schema"] == "recurc/report/1" and d["fits"] and d["html"] is None and "error" not in d
    assert (d["target"], d["precision"], d["carry"], d["model"]["steps"]) == ("stm32h7", "int4", "fp32", 3)
    for r in d["regions"]:
        assert {"name", "kind", "base", "size", "used", "free", "parts", "pieces"} <= set(r)
        assert sum(r["parts"].values()) == r["used"] == r["size"] - r["free"]


def test_a_plan_that_does_not_fit_ends_with_4(capsys, tmp_path):
    args = ("sudoku9-paper", "--target", "stm32h7", "--precision", "fp32")
    status, out, err = run(capsys, *args, "--html", str(tmp_path / "no.html"))
    assert status == 4 and "bytes more in qspi" in out and "--precision int4" in out and err.startswith("error: does not fit")
    ET.parse(tmp_path / "no.html")
    status, out, _ = run(capsys, *args, "--json")
    d = json.loads(out)
    assert status == 4 and not d["fits"] and d["region"] == "qspi" and d["missing_bytes"] > 0 and d["changes"]
    assert set(d["error"]) == {"code", "what", "where", "why", "next"} and d["error"]["code"] == "does-not-fit"


def test_a_build_and_its_page(capsys, tmp_path):
    folder = build_folder(tmp_path / "b")
    status, out, _ = run(capsys, str(folder))
    assert status == 0 and "planned = linked  yes" in out and "0.9876" in out and not (folder / "report.html").exists()
    status, out, _ = run(capsys, str(folder), "--html")
    assert status == 0 and f"page: {folder / 'report.html'}" in out
    ET.parse(folder / "report.html")
    status, out, _ = run(capsys, "--html", str(folder), "--json")
    d = json.loads(out)
    assert status == 0 and d["html"] == str(folder / "report.html") and d["source"]["kind"] == "build"
    assert run(capsys, str(folder), "--target", "stm32h743")[0] == 0, "an alias of the build's board"


def test_the_page_of_a_plan_lies_here(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(capsys, TINY, "--html")[0] == 0
    assert [p.name for p in tmp_path.iterdir()] == [f"{TINY}-stm32h7-int4.html"]


def test_carry_and_table_options_reach_the_plan(capsys):
    def used(*options: str) -> dict:
        status, out, _ = run(capsys, "sudoku9-paper", "--json", *options)
        assert status == 0
        d = json.loads(out)
        return {"table": d["table"], "carry": d["carry"], "parts": {k: n for r in d["regions"] for k, n in r["parts"].items()}}

    plain, small = used(), used("--carry", "int8")
    assert (plain["carry"], small["carry"]) == ("fp32", "int8")
    assert small["parts"]["carry"] < plain["parts"]["carry"] / 3.8
    streamed = used("--puzzle-table", "int8")
    assert plain["table"] is None and streamed["table"]["bytes"] > 0 and streamed["parts"]["tables"] < plain["parts"]["tables"]


@pytest.mark.parametrize("width", [80, 120, 160])
def test_numbers_never_wrap(capsys, monkeypatch, width):
    monkeypatch.setattr("recurc.cli.common.output.PIPE_WIDTH", width)
    _, out, _ = run(capsys, "sudoku9-paper", "--pieces")
    lines = out.splitlines()
    tables = re.findall(r"^─+\n((?:.+\n)+)", out, re.M)  # facts and sentences stay whole in a pipe
    rows = [line for table in tables for line in table.splitlines()]
    assert len(rows) > 20 and [line for line in rows if len(line) > width] == []
    assert any("16,777,216" in line for line in lines) and any("198,656" in line for line in lines)


def test_refusals(capsys, tmp_path):
    folder = build_folder(tmp_path / "b")
    (tmp_path / "empty").mkdir()
    for status, args, words in (
        (2, (str(folder), "--precision", "int8"), "does not apply to a build"),
        (2, (str(folder), "--target", "mps2-an386"), "no firmware for mps2-an386"),
        (2, (str(folder), "--html", str(tmp_path)), "names a folder"),
        (3, (str(folder), "--html", str(tmp_path / "no" / "x.html")), "cannot be written"),
        (3, (str(tmp_path / "empty"),), "neither a build nor a checkpoint"),
        (3, ("nothing-here",), "no checkpoint"),
        (2, (TINY, "--target", "stm32h8"), "stm32h7"),
        (2, (TINY, "--target", "host"), "no memory to plan"),
        (2, (TINY, "--carry", "fp8"), "fp8"),
    ):
        got, out, err = run(capsys, *args)
        assert got == status and words in err, (args, err)
    (folder / "firmware.elf").write_bytes(b"x")
    status, _, err = run(capsys, str(folder))
    assert status == 3 and "has changed since it was built" in err
