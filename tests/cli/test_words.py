"""Words follow the task: what is no square grid is an example of tokens, not a puzzle of cells."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from recurc.cli.main import main
from recurc.models.checkpoint import save
from recurc.words import PUZZLE, SEQUENCE, own_words, said, side_of, speak_of, words_for
from tests.randmodels import smallest_reasoner
from tests.tools import need

SEQ, VOCAB = 12, 6


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """A checkpoint that reverses sequences (badly), its dataset, and a build of it."""
    need("host")
    folder = tmp_path_factory.mktemp("reverse")
    save(smallest_reasoner(SEQ, VOCAB), folder / "ck")
    tokens = np.random.default_rng(0).integers(1, VOCAB, (40, SEQ))
    np.savez(folder / "mine.npz", inputs=tokens, labels=tokens[:, ::-1])
    assert main(["dataset", "make", str(folder / "data"), "--inputs", str(folder / "mine.npz"), "--vocab", str(VOCAB)]) == 0
    assert (
        main(
            [
                "build",
                str(folder / "ck"),
                "--data",
                str(folder / "data"),
                "--target",
                "host",
                "--allow-lossy",
                "--out",
                str(folder / "b"),
                "--calibration-puzzles",
                "8",
            ]
        )
        == 0
    )
    return folder


COMMANDS = {
    "inspect": ("inspect", "ck"), "describe": ("dataset", "describe", "data"), "report": ("report", "b"),
    "plan": ("report", "ck", "--target", "stm32h7"), "run": ("run", "ck", "--data", "data", "--limit", "2"),
    "verify": ("verify", "b", "--on", "host", "--limit", "2"),
    "eval": ("eval", "ck", "--data", "data", "--halt", "--calibration-puzzles", "8"),
    "layers": ("layers", "ck", "--data", "data", "--calibration-puzzles", "4"),
    "sweep": ("sweep", "ck", "--data", "data", "--precisions", "int8", "--no-cache", "--out", "s"),
    "study": ("study", "ck", "--data", "data", "--methods", "weights", "--limit", "4", "--no-cache", "--out", "st"),
    "tune": ("tune", "ck", "--data", "data", "--min-fidelity", "0.2", "--limit", "6", "--no-cache", "--out", "t"),
    "make": ("dataset", "make", "again", "--inputs", "mine.npz"),
    "build": ("build", "ck", "--data", "data", "--target", "host", "--out", "b2", "--allow-lossy", "--calibration-puzzles",
              "8"),
}  # fmt: skip
FOREIGN = re.compile(r"(?<![-_\w/.`])(puzzles?|cells?)\b(?! (?:tables?|identifiers?|rows?|embeddings?)|[_/.]\w)", re.I)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_sequence_is_no_puzzle(command, task, capsys, monkeypatch):
    monkeypatch.chdir(task)
    assert main([*COMMANDS[command]]) == 0, capsys.readouterr().err
    said_ = capsys.readouterr()
    text = said_.out + said_.err
    assert [line for line in text.splitlines() if FOREIGN.search(line)] == []
    if command not in ("plan", "inspect"):
        assert re.search(r"\b(examples?|tokens?)\b", text)


def test_pages_too(task, capsys, monkeypatch):
    monkeypatch.chdir(task)
    assert main(["sweep", "ck", "--data", "data", "--precisions", "int8", "--no-cache", "--out", "pages"]) == 0
    assert main(["report", "b", "--html", "pages/report.html"]) == 0
    for name in ("sweep.html", "sweep.md", "report.html"):
        text = re.sub(r"(?s)<style>.*?</style>|<[^>]*>", " ", (task / "pages" / name).read_text())
        found = [line for line in text.splitlines() if FOREIGN.search(line)]
        assert found == [], (name, found)
    capsys.readouterr()


def test_keys_of_json_stay(task, capsys, monkeypatch):
    monkeypatch.chdir(task)
    assert main(["verify", "b", "--on", "host", "--limit", "1", "--json"]) == 0
    assert {"puzzles", "cell", "exact"} <= set(json.loads(capsys.readouterr().out))


def test_a_grid_stays_a_puzzle(capsys):
    assert main(["inspect", "sudoku4-tiny"]) == 0
    assert "16 cells" in capsys.readouterr().out
    assert said("a puzzle") == "a puzzle", "a command's words end with it"


def test_how_texts_change():
    assert words_for(81) == PUZZLE and words_for(20) == SEQUENCE and side_of(20) is None and side_of(16) == 4
    with own_words():
        speak_of(20)
        for text, wanted in {
            "4 of 8 puzzles": "4 of 8 examples", "MACs a puzzle": "MACs an example", "Cells and puzzles": "Tokens and examples",
            "a cell": "a token", "a puzzle's step": "an example's step", "puzzles exact, %": "examples exact, %",
            "the puzzle table": "the puzzle table", "2 puzzle identifiers": "2 puzzle identifiers",
            "--calibration-puzzles 8": "--calibration-puzzles 8", "tables/puzzles.rct": "tables/puzzles.rct",
            "/home/cells/x": "/home/cells/x", "puzzle_emb": "puzzle_emb", "all 81 cells.": "all 81 tokens.",
        }.items():  # fmt: skip
            assert said(text) == wanted
        speak_of(81)
        assert said("a puzzle of cells") == "a puzzle of cells"
