"""`recurc sweep`: files, table, JSON, page, refusals."""

import csv
import json
import shutil
import xml.etree.ElementTree as ET

import pytest

from recurc.cli.main import main
from recurc.resources import bundled_models
from tests.cli.running import ran

TINY = "sudoku4-tiny"


def run(capsys, *arguments: str, command: str = "sweep") -> tuple[int, str, str]:
    return ran(capsys, command, *arguments)


def sweep(capsys, cache, out, *more: str) -> tuple[int, str, str]:
    return run(
        capsys,
        TINY,
        "--limit",
        "16",
        "--engine",
        "fake",
        "--precisions",
        "int8,int4-naive",
        "--activations",
        "int8-row,fp32",
        "--steps",
        "1,3",
        "--h-cycles",
        "1,2",
        "--cache",
        str(cache),
        "--out",
        str(out),
        *more,
    )


def test_table_files_and_page(capsys, cache, tmp_path):
    status, out, _ = sweep(capsys, cache, tmp_path)
    assert status == 0 and "int4-naive x int8-row" in out and "lost to fp32" in out and "reference" in out
    assert "with restarts" not in out and "with restarts" not in (tmp_path / "sweep.md").read_text(), "nothing was asked again"
    names = {p.name for p in tmp_path.iterdir()}
    assert names == {
        "sweep.csv",
        "sweep.json",
        "sweep.html",
        "sweep.md",
        "accuracy-fidelity.png",
        "accuracy-macs.png",
        "fidelity-steps.png",
    }
    page = (tmp_path / "sweep.html").read_text()
    ET.fromstring(page.replace("<!DOCTYPE html>", ""))
    for outside in ("http://fonts", "<script", 'src="', "@import"):
        assert outside not in page, "one self-contained page"
    assert page.count("<svg") == 3 and "var(--fg)" in page and "#1b1f25" not in page
    rows = list(csv.DictReader((tmp_path / "sweep.csv").read_text().splitlines()))
    assert len(rows) == 2 * 2 * 5, "two depths, two step counts, fp32 and four variants"
    assert {r["engine"] for r in rows} == {"reference", "fake"}
    assert float(next(r for r in rows if r["engine"] == "reference")["phi_last"]) == 1


def test_json(capsys, cache, tmp_path):
    status, out, err = sweep(capsys, cache, tmp_path, "--json")
    d = json.loads(out)
    assert status == 0 and d["schema"] == "recurc/sweep/1" and d["n"] == 16 and d["steps"] == 3 and len(d["rows"]) == 20
    row = d["rows"][-1]
    assert len(row["by_step"]["phi"]) == row["steps"] == 3
    assert {"cell", "exact", "phi_first", "phi_last", "phi_flat_last", "mean_steps", "macs", "bytes", "loss"} <= set(row)
    assert row["phi_first_error"] > 0 and d["rows"][0]["phi_last_error"] == pytest.approx(0, abs=1e-6)
    half = next(r for r in d["rows"] if r["label"] == row["label"] and r["h_cycles"] == 2 and r["steps"] == 1)
    assert half["macs"] * 3 == row["macs"] and half["exact"] == row["by_step"]["exact"][0]
    front = [r for r in d["rows"] if r["pareto"]]
    assert front and all(a["macs"] < b["macs"] and a["exact"] < b["exact"] for a, b in zip(front, front[1:]))


def test_gate_of_one_checkpoint(capsys, cache, tmp_path, monkeypatch):
    monkeypatch.setattr("recurc.study.ladder._PAIRS", (("int8", "int8-tensor"),))
    monkeypatch.setattr("recurc.study.ladder._OUTLIER_PAIRS", ())
    monkeypatch.setattr("recurc.study.ladder.NOISE", (0.02, 0.64))
    monkeypatch.setattr("recurc.study.workbench.can_compile", lambda: False)
    args = (TINY, "--limit", "32", "--tolerance", "4", "--steps", "2", "--cache", str(cache), "--out", str(tmp_path))
    status, out, _ = run(capsys, *args, command="gate")
    assert status == 0 and "--min-fidelity" in out and "fp32, noise 64 %" in out
    assert {p.name for p in tmp_path.iterdir()} == {"gate.csv", "gate.json", "gate.html", "gate.md", "gate.png"}
    ET.fromstring((tmp_path / "gate.html").read_text().replace("<!DOCTYPE html>", ""))
    status, out, _ = run(capsys, *args, "--json", command="gate")
    d = json.loads(out)
    assert status == 0 and d["schema"] == "recurc/gate/1" and d["models"][0]["threshold"]["harmful"] == 1
    assert d["models"][0]["spearman"]["phi_first"] <= -0.5 and d["kept"] == []

    mine = tmp_path / "mine"
    shutil.copytree(bundled_models()[TINY], mine)
    (mine / "fidelity.json").unlink(missing_ok=True)
    status, out, _ = run(capsys, str(mine), *args[1:-1], str(tmp_path), "--keep", command="gate")
    own = json.loads((mine / "fidelity.json").read_text())
    assert status == 0 and str(mine / "fidelity.json") in out
    assert own["min_fidelity"] == d["models"][0]["careful"] >= d["models"][0]["threshold"]["suggestion"]
    assert (own["n"], own["steps"]) == (32, 2)
    build = [
        "build",
        str(mine),
        "--target",
        "host",
        "--calibration-puzzles",
        "4",
        "--accuracy-puzzles",
        "0",
        "--out",
        str(tmp_path / "b"),
        "--json",
    ]
    (mine / "fidelity.json").write_text(json.dumps({**own, "min_fidelity": 1.0}))
    assert main(build) == 5 and "this checkpoint's own" in json.loads(capsys.readouterr().out)["error"]["what"]
    (tmp_path / "p.toml").write_text("[build]\nmin_fidelity = 0.5\n")
    assert main([*build, "--project", str(tmp_path / "p.toml")]) == 0
    d = json.loads(capsys.readouterr().out)
    assert (d["min_fidelity"], d["min_fidelity_from"]) == (0.5, "as asked for")


def test_refusals(capsys, tmp_path):
    for status, args, words in (
        (2, (TINY, "--precisions", "int8,int44"), "Did you mean int4?"),
        (2, (TINY, "--activations", "int8row"), "int8-row"),
        (2, (TINY, "--steps", "0"), "from 1 to 255"),
        (2, (TINY, "--steps", "a"), "no whole number"),
        (2, (TINY, "--precisions", "int4", "--activations", "int4-row", "--engine", "device", "--no-cache"), "does not have"),
        (2, (TINY, "--gate", "--limit", "64"), "use recurc gate"),
        (2, (TINY, "--gate", "--keep"), "use recurc gate"),
        (2, (TINY, "--tolerance", "3"), "use recurc gate"),
        (2, (TINY, "--jobs", "1", "--scheduler", "tcp://127.0.0.1:9"), "exclude each other"),
        (3, ("nothing-here",), "no checkpoint"),
        (3, (TINY, "--data", str(tmp_path)), "test"),
    ):
        got, _, err = run(capsys, *args)
        assert got == status and words in err, (args, err)


def test_puzzles_are_asked_again_where_that_is_wanted(capsys, cache, tmp_path):
    few = ("--limit", "12", "--engine", "fake", "--precisions", "int4-naive", "--steps", "1,2", "--cache", str(cache))
    again = ("--solve", "--symmetry", "sudoku:2x2", "--restarts", "2", "--first-steps", "1", "--accept", "vote")
    status, out, _ = run(capsys, TINY, *few, *again, "--out", str(tmp_path), "--json")
    found = json.loads(out)
    assert status == 0 and (found["solve"]["accept"], found["solve"]["restarts"], found["solve"]["steps"]) == ("vote", 2, 1)
    for row in found["rows"]:
        assert (row["asked"] is None) == (row["steps"] == 1), "asked again beside the largest number of steps"
        if row["asked"]:
            assert row["asked_exact"] == row["asked"]["exact"] and 2 <= row["asked_mean_steps"] <= 3
    assert "with restarts: puzzles exact" in (tmp_path / "sweep.html").read_text()
    assert [r["asked_exact"] != "" for r in csv.DictReader((tmp_path / "sweep.csv").read_text().splitlines())] == [
        row["steps"] == 2 for row in found["rows"]
    ]
    assert run(capsys, TINY, *few, *again[1:], "--out", str(tmp_path))[0] == 2, "it says how to solve"
