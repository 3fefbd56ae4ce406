"""Tables fit the page: columns go by importance, no number is cut or wrapped, and what is left out is said."""

from __future__ import annotations

import importlib.util
import os
import re
from pathlib import Path

import pytest

import recurc.cli.common.output as output
from recurc.cli.common.tables import Table, fitted, paragraph
from recurc.cli.main import main
from recurc.resources import bundled_models
from tests.tools import need

NAME = "sudoku4-tiny"
WIDTHS = (60, 80)
STUDY = ("--limit", "4", "--steps", "1", "--jobs", "1", "--no-cache")
ONNX = importlib.util.find_spec("onnxruntime") is not None


@pytest.fixture(scope="module")
def build(tmp_path_factory) -> str:
    """A build of the tiny model in the current folder, so that its paths are short."""
    need("mps2-an500")
    here = tmp_path_factory.mktemp("w")
    (here / "data").symlink_to(bundled_models()[NAME] / "data")
    before = Path.cwd()
    os.chdir(here)
    assert main(["build", NAME, "--target", "mps2-an500", "--out", "b", "--accuracy-puzzles", "2"]) == 0
    os.chdir(before)
    return str(here)


COMMANDS = {
    "inspect": ("inspect", NAME), "boards": ("boards",), "boards-show": ("boards", "show", "stm32h7"),
    "describe": ("dataset", "describe", "data"), "plan": ("report", NAME, "--target", "stm32h7", "--pieces"),
    "report": ("report", "b"), "run": ("run", NAME, "--steps", "2", "--limit", "5"),
    "eval": ("eval", NAME, "--limit", "4", "--steps", "2", "--halt", "--calibration-puzzles", "4"),
    "verify": ("verify", "b", "--on", "host", "--limit", "3", "--steps", "2", "--fidelity", "0"),
    "refused": ("report", "sudoku9-paper", "--target", "stm32h7", "--precision", "fp32"),
    "ci": ("ci", "b", "--out", ".", "--data", "data"), "doctor": ("doctor",),
    "layers": ("layers", NAME, "--fidelity-puzzles", "1", "--calibration-puzzles", "2"),
    "sweep": ("sweep", NAME, "--precisions", "int8,int4-g32", *STUDY, "--out", "s"),
    "gate": ("gate", NAME, *STUDY, "--out", "g"),
    "study": ("study", NAME, "--methods", "weights", *STUDY, "--out", "st"),
    "tune": ("tune", NAME, "--target", "mps2-an500", "--precisions", "int8", "--carries", "fp32", "--limit", "16",
             "--tolerance", "50", "--h-cycles", "1", "--l-cycles", "1,2", "--jobs", "1", "--no-cache", "--out", "t"),
    **({"export": ("export", "b", "--onnx", "o"),
        "onnxruntime": ("verify", "b", "--on", "onnxruntime", "--limit", "1", "--steps", "1")} if ONNX else {}),
}  # fmt: skip


def too_long(text: str, width: int) -> list[str]:
    """Lines that could have been shorter: what cannot be broken, a path or a command to copy, may stand alone on one."""
    return [
        line
        for line in text.splitlines()
        if len(line) > width and len(re.sub("`[^`]*`", "command", line.strip(" →")).split()) > 1
    ]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command(command, build, capsys, monkeypatch):
    made: list[tuple[tuple, dict, Table]] = []

    def recorded(*arguments, **options) -> Table:
        made.append((arguments, options, fitted(*arguments, **options)))
        return made[-1][2]

    monkeypatch.chdir(build)
    for module in ("common.output", "boards"):
        monkeypatch.setattr(f"recurc.cli.{module}.fitted", recorded)
    monkeypatch.setattr(output, "_is_terminal", lambda stream: True)
    width = 60
    monkeypatch.setenv("COLUMNS", str(width))
    code = main([*COMMANDS[command]])
    said = capsys.readouterr()
    assert code == {"refused": 4, "doctor": code}.get(command, 0), said.err
    assert too_long(said.out, width) == []
    for *_, table in made:
        assert all(f"{part}" in " ".join(said.out.split()) for part in table.dropped)
        assert ("--wide shows all" in " ".join(said.out.split())) or not table.dropped
    assert made or command == "doctor"
    for arguments, options, _ in made:
        for width in WIDTHS:
            whole(*arguments[:2], width, **options)


def whole(columns, rows, width: int, **options) -> None:
    """That a table fits, and that each of its lines has the words of its row's shown cells, numbers in one piece."""
    table = fitted(columns, rows, width, **options)
    assert max(map(len, (*table.head, *(line for row in table.rows for line in row)))) <= width, table
    for row, lines in zip(rows, table.rows, strict=True):
        text = " ".join(lines)
        for i in table.kept:
            for word in row[i].split():
                assert word in text or not re.fullmatch(r"[-+*0-9.,%/xk]+", word), (word, lines)
    assert len(table.rows) == len(rows)


@pytest.mark.parametrize("command", ["boards", "inspect", "plan", "describe"])
def test_eighty_columns_and_a_pipe(command, build, capsys, monkeypatch):
    monkeypatch.chdir(build)
    monkeypatch.setenv("COLUMNS", "80")
    with monkeypatch.context() as terminal:
        terminal.setattr(output, "_is_terminal", lambda stream: True)
        assert main([*COMMANDS[command]]) == 0
    told = capsys.readouterr().out
    assert too_long(told, 80) == []
    monkeypatch.delenv("COLUMNS")
    assert main([*COMMANDS[command]]) == 0
    lines = capsys.readouterr().out.splitlines()
    rules = [i for i, line in enumerate(lines) if set(line) == {"─"}]
    assert command == "boards" or rules
    for i in rules:
        end = next((j for j in range(i, len(lines)) if not lines[j]), len(lines))
        assert max(map(len, lines[i - 2 : end])) <= 80
    assert command != "boards" or max(map(len, lines)) <= 80


def test_wide_shows_all(build, capsys, monkeypatch):
    monkeypatch.chdir(build)
    monkeypatch.setenv("COLUMNS", "60")
    assert main(["report", NAME, "--pieces"]) == 0
    narrow = capsys.readouterr().out
    assert "no room for: address, lifetime" in " ".join(narrow.split()) or "no room for: kind" in " ".join(narrow.split())
    assert main(["report", NAME, "--pieces", "--wide"]) == 0
    wide = capsys.readouterr().out
    assert "no room for" not in wide and "0x08000000" in wide and "lifetime" in wide


# -- the layout ---------------------------------------------------------------------------------------------------------------


ROWS = [("alpha beta gamma", "1,234,567", "0.5000"), ("delta", "12", "-")]


def test_headings_wrap_before_columns_go():
    made = fitted(("name", "a long heading", "phi"), ROWS, 38, least=("phi",))
    assert made.dropped == () and len(made.head) == 2
    made = fitted(("name", "a long heading", "phi"), ROWS, 30, least=("phi",))
    assert made.dropped == ("phi",) and " ".join(made.rows[0][0].split()) == "alpha beta gamma 1,234,567"


def test_text_wraps_at_spaces_and_numbers_never():
    made = fitted(("name", "count"), [("one two three four five six seven", "123,456,789")], 30)
    assert all(len(line) <= 30 for line in made.rows[0]) and made.rows[0][0].endswith("123,456,789")
    assert " ".join(" ".join(made.rows[0]).replace("123,456,789", "").split()) == "one two three four five six seven"


def test_columns_go_in_their_order_and_by_number():
    columns, rows = ("a", "steps", "steps", "b"), [("x" * 10, "1" * 10, "2" * 10, "3" * 10)]
    assert fitted(columns, rows, 36, least=(2, "b")).dropped == ("steps",)
    assert fitted(columns, rows, 36, least=(2, "b")).rows[0][0].split() == ["x" * 10, "1" * 10, "3" * 10]
    assert fitted(columns, rows, 24, least=(2, "b")).dropped == ("steps", "b")
    assert fitted(columns, rows, None, least=(2, "b")).dropped == ()


def test_an_unbreakable_word_is_broken_rather_than_lost():
    made = fitted(("name", "n"), [("y" * 100, "5")], 40)
    assert max(map(len, made.rows[0])) <= 40 and sum(line.count("y") for line in made.rows[0]) == 100


def test_paragraphs():
    assert paragraph("one two three", 7) == "one two\nthree"
    assert paragraph("see /a/very/long/path now", 8) == "see\n/a/very/long/path\nnow"
    assert paragraph("  margin is kept here", 12) == "  margin is\n  kept here"


def test_the_page_s_width(monkeypatch, capsys):
    console = output.Console()
    monkeypatch.delenv("COLUMNS", raising=False)
    assert console.width == 80
    console.print("word " * 40)
    assert len(capsys.readouterr().out.splitlines()) == 1, "a pipe has no lines of its own"
    for told in ("0", "many", "-5"):
        monkeypatch.setenv("COLUMNS", told)
        assert console.width == 80
    monkeypatch.setenv("COLUMNS", "72")
    assert console.width == 72
    console.print("word " * 40)
    assert len(capsys.readouterr().out.splitlines()) == 1, "COLUMNS is for tables"
    monkeypatch.setattr(output, "_is_terminal", lambda stream: True)
    console.print("word " * 40)
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 72


def test_what_is_the_same_in_every_row_goes_first():
    rows = [(f"model {i}", "16", f"0.9{i}", "3") for i in range(3)]
    made = fitted(("name", "steps", "phi", "cycles"), rows, 14, least=("phi",))
    assert made.dropped == ("steps", "cycles") and "0.92" in made.rows[2][0]
    two = fitted(("name", "steps", "phi", "cycles"), rows[:2], 20, least=("phi",))
    assert "phi" in two.dropped, "of two rows it may be chance"
