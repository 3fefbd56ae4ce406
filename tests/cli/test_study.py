"""`recurc study`: table, files, JSON, a checkpoint that the project never saw, a larger training split, refusals."""

import csv
import json
import shutil
import xml.etree.ElementTree as ET

from tests.cli.running import ran
from tests.randmodels import DATA

TINY = "sudoku4-tiny"
FEW = "int8,int4-naive,int4-naive-qat-short,pruned-25,distilled"


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    return ran(capsys, "study", *arguments)


def brief(cache, out, *more: str) -> tuple[str, ...]:
    return (
        TINY,
        "--methods",
        FEW,
        "--limit",
        "8",
        "--updates",
        "2",
        "--steps",
        "2",
        "--cache",
        str(cache),
        "--out",
        str(out),
        *more,
    )


def test_table_files_and_page(capsys, cache, tmp_path):
    status, out, _ = run(capsys, *brief(cache, tmp_path, "--outliers"))
    assert status == 0 and "lost to fp32" in out and "sudoku4-tiny, outlier copy" in out
    assert "fp32 solves" in out and "The outlier copy computes the same function in fp32 and scores the same." in out
    assert "fake quantization of weights and activations in the recursion" in out, "definitions"
    assert "Learned from 512 puzzles" in out
    names = {p.name for p in tmp_path.iterdir()}
    assert names == {
        "study.csv",
        "study-outliers.csv",
        "study.json",
        "study.html",
        "study.md",
        "survival.png",
        "survival-2.png",
        "fidelity.png",
    }
    told = [line for line in (tmp_path / "study.md").read_text().splitlines() if line.startswith("* sudoku4-tiny")]
    assert told[0].startswith("* sudoku4-tiny: fp32 solves") and len(told) >= 8, "a finding, a line"
    assert "Destroyed" not in out, "eight puzzles tell of no ruin, and two updates of none"
    page = (tmp_path / "study.html").read_text()
    ET.fromstring(page.replace("<!DOCTYPE html>", ""))
    for outside in ("http://fonts", "<script", 'src="', "@import"):
        assert outside not in page, "one self-contained page"
    assert page.count("<svg") == 3 and "Definitions" in page
    rows = list(csv.DictReader((tmp_path / "study.csv").read_text().splitlines()))
    assert [r["name"] for r in rows] == ["fp32", "int8", "int4 naive", "pruned 25 %", "distilled", "int4 naive + QAT short"]
    copy = list(csv.DictReader((tmp_path / "study-outliers.csv").read_text().splitlines()))
    assert "distilled" not in {r["name"] for r in copy}, "a student sees the function alone, and that is the same"
    assert float(rows[2]["phi_first"]) > float(copy[2]["phi_first"]), "naive int4 suffers from outliers"
    assert rows[0]["exact"] == copy[0]["exact"] and rows[0]["cell"] == copy[0]["cell"]


def test_json(capsys, cache, tmp_path):
    status, out, _ = run(capsys, *brief(cache, tmp_path, "--json"))
    d = json.loads(out)
    assert status == 0 and d["schema"] == "recurc/study/1" and d["n"] == 8 and d["steps"] == 2
    assert d["learning"]["puzzles"] == 512 and d["beside"] == [] and len(d["subjects"]) == 1
    subject = d["subjects"][0]
    assert subject["verdict"][0].startswith("fp32 solves") and len(subject["rows"]) == 6
    for row in subject["rows"]:
        assert {
            "name",
            "definition",
            "cell",
            "exact",
            "loss",
            "loss_se",
            "phi_first",
            "phi_last",
            "bytes",
            "fits_4mb",
            "fits_8mb",
            "engine",
            "updates",
        } <= set(row) and len(row["by_step"]["exact"]) == 2
    assert subject["rows"][4]["phi_first"] is None and subject["rows"][-1]["updates"] == 2


def test_a_checkpoint_that_the_project_never_saw_and_a_split_of_ones_own(capsys, cache, tmp_path):
    bare = tmp_path / "bare"
    shutil.copytree(DATA / "data", bare, ignore=shutil.ignore_patterns("train"))
    own = tmp_path / "own"
    shutil.copytree(DATA / "data" / "train", own / "train")
    common = (
        str(DATA / "checkpoint"),
        "--limit",
        "6",
        "--steps",
        "1",
        "--updates",
        "2",
        "--cache",
        str(cache),
        "--out",
        str(tmp_path / "out"),
        "--json",
    )
    status, out, err = run(capsys, *common, "--data", str(bare), "--methods", "structure,training,int8")
    assert status == 0 and "left out" in err
    assert [r["slug"] for r in json.loads(out)["subjects"][0]["rows"]] == ["fp32", "int8", "pruned-25"]
    status, out, _ = run(capsys, *common, "--data", str(bare), "--train", str(own), "--methods", "int4-naive-qat-long")
    d = json.loads(out)
    assert status == 0 and d["learning"]["data"] == str(own) and d["learning"]["puzzles"] > 0
    assert [r["slug"] for r in d["subjects"][0]["rows"]] == ["fp32", "int4-naive-qat-long"]


def test_refusals(capsys, tmp_path):
    for status, args, words in (
        (2, (TINY, "--methods", "int4-naif"), "Did you mean int4-naive?"),
        (2, (TINY, "--methods", "linear-attention"), "MLP"),
        (2, (TINY, "--methods", "int8", "--train", str(DATA / "data")), "no chosen method learns"),
        (2, (TINY, "--limit", "0"), "--limit"),
        (2, (TINY, "--steps", "256"), "--steps"),
        (3, (TINY, "--train", str(tmp_path)), "train"),
        (3, (TINY, "--train", "examples/models/sudoku6-mlp/data"), "seq"),
        (3, ("nothing-here",), "no checkpoint"),
    ):
        got, _, err = run(capsys, *args)
        assert got == status and words in err, (args, err)
