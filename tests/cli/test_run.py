"""`recurc run` on a checkpoint: every way to ask, and what it draws."""

from __future__ import annotations

import io
import json
import shutil

import numpy as np
import pytest

import recurc
from recurc.alphabet import Alphabet
from recurc.cli.common.grid import sequence_lines
from recurc.cli.common.inputs import from_text
from recurc.cli.main import main
from recurc.errors import UsageError
from recurc.resources import bundled_models
from tests.cli.running import ran

NAME = "sudoku4-tiny"


@pytest.fixture(scope="module")
def split():
    return recurc.load_dataset(bundled_models()[NAME] / "data", "test")


@pytest.fixture(scope="module")
def expected(split):
    return recurc.load(NAME).run(split.inputs[:2], steps=2, trajectory=True)


def run(capsys, *args):
    return ran(capsys, "run", *args)


def asked(capsys, *args):
    code, out, err = run(capsys, NAME, *args, "--steps", "2", "--json")
    assert code == 0, err
    return json.loads(out)


def check(told, expected, n):
    assert told["schema"] == "recurc/run/1" and told["n"] == n and "fp32" in told["runs_in"]
    for i, a in enumerate(told["answers"]):
        assert a["answer"] == expected.tokens[i].tolist()
        assert [s["step"] for s in a["steps"]] == [1, 2]
        assert a["steps"][0]["q"] == pytest.approx(expected.q[0, i].tolist(), rel=1e-4)


def test_every_way_to_ask_is_the_same(capsys, monkeypatch, split, expected, tmp_path):
    rows = split.inputs[:2].astype(int)
    check(asked(capsys), expected, 1)
    check(asked(capsys, "--limit", "2"), expected, 2)
    check(asked(capsys, "--tokens", " ".join(map(str, rows[0]))), expected, 1)
    check(asked(capsys, "--tokens", "[" + ", ".join(map(str, rows[0])) + "]"), expected, 1)
    check(asked(capsys, "--tokens", "".join("." if t == 1 else str(t - 1) for t in rows[0])), expected, 1)
    check(asked(capsys, "--tokens", "".join(str(t - 1) for t in rows[0])), expected, 1)
    np.save(tmp_path / "a.npy", rows)
    check(asked(capsys, "--input", str(tmp_path / "a.npy")), expected, 2)
    for document in (rows.tolist(), {"inputs": rows.tolist()}, {"inputs": rows.tolist(), "puzzle_ids": [0, 0]}):
        (tmp_path / "a.json").write_text(json.dumps(document))
        check(asked(capsys, "--input", str(tmp_path / "a.json")), expected, 2)

    class Stdin:
        buffer = io.BytesIO(json.dumps(rows[0].tolist()).encode())

    monkeypatch.setattr("sys.stdin", Stdin)
    check(asked(capsys, "--input", "-"), expected, 1)


@pytest.mark.parametrize(
    "args, code, words",
    [
        (("--tokens", "1 2 3"), 2, "3 tokens are given"),
        (("--tokens", "1 2 x"), 2, "not a list of tokens (--tokens): 'x' is no number"),
        (("--tokens", "3.....1.2......"), 2, "the model takes 16, and 15 characters are given"),
        (("--tokens", "9" + "." * 15), 2, "no cell of this puzzle"),
        (("--tokens", " ".join(["9"] * 16)), 2, "9 is no token of this model (--tokens): its vocabulary is 6"),
        (("--input", "/not/there"), 3, "cannot be read"),
        (("--input", "/dev/null"), 3, "it is a device, not a file"),
        (("--tokens", "1", "--input", "-"), 2, "exclude each other"),
        (("--offset", "100000"), 2, "no example is there"),
        (("--on", "qemu"), 2, "a checkpoint has no firmware"),
        (("--puzzle", "7"), 2, "the model has no puzzle embedding 7 (--puzzle 7): it has 1, numbered from 0"),
        (("--out", "answers.txt"), 2, "names no .npy file"),
        (("--steps", "0"), 2, "0 is not in the range"),
    ],
)
def test_refusals(args, code, words, capsys):
    got, out, err = run(capsys, NAME, *args)
    assert got == code and words in err and out == "" and "bug" not in err


@pytest.mark.parametrize("text", ['{"puzzles": []}', '{"inputs": "x"}', "[[1, 2], [3]]", "[1e400]", "{", '"text"', "[[[1]]]"])
def test_files_of_something_else(text, tmp_path, capsys):
    (tmp_path / "a.json").write_text(text)
    code, _, err = run(capsys, NAME, "--input", str(tmp_path / "a.json"))
    assert code == 3 and "bug" not in err


def test_what_it_draws(capsys, split, tmp_path):
    code, out, _ = run(capsys, NAME, "--halt", "--out", str(tmp_path / "a.npy"))
    assert code == 0 and "fp32 reference" in out and "input" in out and "step 1: " in out and "answer: 4312" in out
    assert np.load(tmp_path / "a.npy").shape == (1, 16)
    code, out, _ = run(capsys, NAME, "--limit", "6", "--steps", "1")
    assert code == 0 and "step 1: " not in out and out.count("16/16") == 6


def test_the_inputs_are_not_overwritten(capsys, split, tmp_path):
    file = tmp_path / "x.npy"
    np.save(file, split.inputs[:1])
    before = file.read_bytes()
    (tmp_path / "link.npy").symlink_to(file)
    for out in (file, tmp_path / "link.npy"):
        code, _, err = run(capsys, NAME, "--input", str(file), "--out", str(out))
        assert code == 2 and "would overwrite the inputs" in err and file.read_bytes() == before


def test_a_sudokus_answer_is_also_its_cells(capsys, split):
    code, out, _ = run(capsys, NAME, "--json")
    (answer,) = json.loads(out)["answers"]
    assert code == 0 and answer["text"] == "".join(str(t - 1) for t in answer["answer"])
    assert run(capsys, NAME, "--tokens", answer["text"], "--steps", "1")[0] == 0, "it can be asked as it is written"


def test_a_dot_is_an_empty_cell_of_sudokus_only():
    assert from_text("." * 15 + "4", 16, 6).tokens[0].tolist() == [1] * 15 + [5]
    with pytest.raises(UsageError, match="not a list of tokens"):
        from_text("." * 16, 16, 12)


SYMBOLS = " äbC漢"  # a space for an empty cell, letters, and one that is two columns wide


@pytest.fixture
def lettered(split, tmp_path):
    """The same examples as somebody has them who writes letters: a table, and the dataset made of it."""

    def word(row) -> str:
        return "".join(SYMBOLS[t - 1] for t in row)

    rows = [f'"{word(q)}";"{word(a)}"' for q, a in zip(split.inputs[:6], split.labels[:6], strict=True)]
    (tmp_path / "mine.csv").write_text("\n".join(["question;answer", *rows]) + "\n")
    assert main(["dataset", "make", str(tmp_path / "mine"), "--inputs", str(tmp_path / "mine.csv"),
                 "--symbols", SYMBOLS, "--split", "0.5"]) == 0  # fmt: skip
    return tmp_path / "mine", word


def test_symbols_of_ones_own_come_back(capsys, lettered, split):
    folder, word = lettered
    assert "separated by semicolons" in capsys.readouterr().err
    data = recurc.load_dataset(folder, "test")
    assert data.symbols == SYMBOLS and {r.tobytes() for r in data.inputs} <= {r.tobytes() for r in split.inputs[:6]}
    assert json.loads((folder / "train/dataset.json").read_text())["symbols"] == SYMBOLS
    want = word(recurc.load(NAME).run(data.inputs[:1]).tokens[0])
    code, out, _ = run(capsys, NAME, "--data", str(folder))
    assert code == 0 and f"answer: {want}\n" in out and out.count("漢") > 8
    code, out, err = run(capsys, NAME, "--data", str(folder), "--tokens", word(data.inputs[0]), "--json")
    assert code == 0 and json.loads(out)["answers"][0]["text"] == want, err
    assert run(capsys, NAME, "--data", str(folder), "--tokens", want)[0] == 0, "an answer is a question again"
    for wrong in ("12.." * 4, "äbC漢"):
        code, _, err = run(capsys, NAME, "--data", str(folder), "--tokens", wrong)
        assert code == 2 and f"of the characters {SYMBOLS!r}" in err
    assert main(["dataset", "describe", str(folder)]) == 0
    out = capsys.readouterr().out
    assert "symbols" in out and word(split.labels[0])[:4].strip() and "漢" in out


def test_a_split_that_is_added_has_the_symbols_of_the_other(capsys, lettered, tmp_path):
    folder, _ = lettered
    shutil.rmtree(folder / "test")
    table = ["--inputs", str(tmp_path / "mine.csv")]
    assert main(["dataset", "make", str(folder), *table, "--symbols", SYMBOLS[::-1], "--split", "test"]) == 3
    assert "symbols" in capsys.readouterr().err
    np.savez(tmp_path / "numbers.npz", inputs=np.full((2, 16), 3), labels=np.full((2, 16), 3))
    numbers = ["--inputs", str(tmp_path / "numbers.npz"), "--vocab", "6"]
    assert main(["dataset", "make", str(folder), *numbers, "--split", "test"]) == 0
    assert recurc.load_dataset(folder, "test").symbols == SYMBOLS


@pytest.mark.parametrize("symbols", ["aa", "a\nb", "abcdef", 3, ["a"], "\u202e", "\u25a1"])
def test_symbols_that_are_none(symbols, lettered):
    path = lettered[0] / "test/dataset.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "symbols": symbols}))
    with pytest.raises(recurc.RecurcError, match="symbols is"):
        recurc.load_dataset(lettered[0], "test")


def test_alphabet():
    for word in ("", "a", "ba□", "□□"):
        assert Alphabet("ab").word(Alphabet("ab").tokens(word)) == word
    assert Alphabet("ab").tokens("c") is None and Alphabet("ab").word([3]) is None and Alphabet("ab").word([0, 2]) == "□b"
    assert Alphabet("ab").drawn(5) == [" ", "a", "b", "3", "4"] and Alphabet("ab").drawn(2) == [" ", "a"]
    lines = sequence_lines(np.array([1, 2, 0, 4, 1]), None, 5, False, 9, "a漢")
    assert [str(line) for line in lines] == ["a  漢    ", "4  a  "]


@pytest.mark.parametrize("name, data, words", [
    ("a.png", b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "it is a PNG image"), ("a.npz", b"PK\x03\x04", "recurc dataset make"),
    ("a.csv", b"1,2,3\n", "recurc dataset make"), ("a.jsonl", b"[1]\n[2]\n", "recurc dataset make"),
    ("a", b"PK\x03\x04...", "it is a zip archive"), ("a.json", '"é"'.encode("latin-1"), "it is no text"),
    ("a.json", b" \n", "it is empty"), ("a.txt", b"<html>", "an HTML or XML page")])  # fmt: skip
def test_a_file_of_another_kind_is_called_what_it_is(name, data, words, tmp_path, capsys):
    (tmp_path / name).write_bytes(data)
    code, _, err = run(capsys, NAME, "--input", str(tmp_path / name))
    assert code == 3 and words in err and "NumPy (.npy)" in err and "codec" not in err and "Expecting" not in err


@pytest.mark.parametrize("option", ["--patience", "--halt-threshold", "--min-steps"])
@pytest.mark.parametrize("never", [(), ("--no-halt",)])
def test_numbers_of_a_rule_that_nothing_stops_by_are_refused(capsys, option, never):
    code, _, err = run(capsys, NAME, option, "2", *never)
    assert code == 2 and option in err and "Add --halt" in err
    code, out, err = run(capsys, NAME, option, "2", "--halt", "--json")
    assert code == 0 and 2 in json.loads(out)["halt"].values(), err
