"""A page of results: the same in HTML and in Markdown."""

import xml.etree.ElementTree as ET

from recurc.report.results import Plot, Results, Table, near

PAGE = Results(
    "What survives",
    "8 puzzles.",
    plots=[Plot("A plot", "What it shows.", "<svg></svg>", "a.png")],
    verdicts=["fp32 <wins>."],
    tables=[Table("All", ("method", "exact"), [("a|b", "1.0 %")]), Table("More", ("x",), [("y",)])],
    notes=["A note."],
    definitions=[("a|b", "Its meaning.")],
    command="recurc sweep m",
)


def test_html():
    page = ET.fromstring(PAGE.html().replace("<!DOCTYPE html>", ""))
    text = "".join(page.itertext())
    assert all(part in text for part in ("What survives", "fp32 <wins>.", "a|b", "Its meaning.", "recurc sweep m", "A note."))


def test_markdown():
    lines = PAGE.markdown().splitlines()
    assert lines[0] == "# What survives" and "8 puzzles. Written by `recurc sweep m`." in lines
    assert lines.index("| a\\|b | 1.0 % |") < lines.index("![A plot](a.png)") < lines.index("| y |") < lines.index("A note.")
    assert "* **a|b**: Its meaning." in lines and "| --- | ---: |" in lines


def test_without_plots_and_verdicts():
    text = Results("T", "s", tables=[Table("All", ("a",), [("b",)])], notes=(), command="").markdown()
    assert text == "# T\n\ns\n\n## All\n\n| a |\n| --- |\n| b |\n"


def test_paths_are_told_from_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert near(tmp_path / "a" / "b") == "a/b" and near("x/y") == "x/y" and near("/elsewhere/z") == "/elsewhere/z"
