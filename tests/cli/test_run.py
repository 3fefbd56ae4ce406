"""`recurc run` on a checkpoint: every way to ask, and what it draws."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest

import recurc
from recurc.cli.common.inputs import from_text
from recurc.cli.main import main
from recurc.errors import UsageError
from recurc.resources import bundled_models

NAME = "sudoku4-tiny"


@pytest.fixture(scope="module")
def split():
    return recurc.load_dataset(bundled_models()[NAME] / "data", "test")


@pytest.fixture(scope="module")
def expected(split):
    return recurc.load(NAME).run(split.inputs[:2], steps=2, trajectory=True)


def run(capsys, *args):
    code = main(["run", *args])
    got = capsys.readouterr()
    return code, got.out, got.err


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
        (("--puzzle", "7"), 3, "identifiers"),
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
