"""Datasets of one's own: every form of file gives the same directory, which loads as what was put in."""

from __future__ import annotations

import json

import numpy as np
import pytest

import recurc
from recurc import datamake
from recurc.cli.main import main
from recurc.datafiles import Examples
from recurc.dataset import Dataset, load_dataset, load_splits
from recurc.errors import InputError, RecurcError

ROWS = np.array([[1, 2, 1, 3], [2, 1, 3, 1], [3, 3, 1, 2], [1, 1, 2, 2], [2, 3, 1, 1]])
LABELS = np.array([[1, 2, 4, 3], [2, 1, 3, 4], [3, 3, 4, 2], [4, 1, 2, 2], [2, 3, 4, 1]])
WORDS = ".ABC"  # tokens 1, 2, 3, 4


def text(row) -> str:
    return "".join(WORDS[t - 1] for t in row)


def spaced(row) -> str:
    return " ".join(map(str, row))


def make(out, *args) -> int:
    return main(["dataset", "make", str(out), *map(str, args)])


def forms(folder):
    """Options of `make` for the same examples in every form."""
    np.save(folder / "x.npy", ROWS)
    np.save(folder / "y.npy", LABELS)
    np.save(folder / "grid.npy", ROWS.reshape(-1, 2, 2))
    np.savez(folder / "both.npz", inputs=ROWS, labels=LABELS)
    pairs = list(zip(ROWS, LABELS))
    (folder / "words.csv").write_text(
        "source,question,answer,rating\n" + "".join(f"web,{text(a)},{text(b)},1.5\n" for a, b in pairs)
    )
    (folder / "numbers.csv").write_text("inputs,labels\n" + "".join(f"{spaced(a)},{spaced(b)}\n" for a, b in pairs))
    (folder / "bare.csv").write_text("".join(",".join(map(str, a)) + "\n" for a in ROWS))
    lines = [json.dumps({"input": a.tolist(), "label": b.tolist()}) for a, b in pairs]
    (folder / "lines.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "words.jsonl").write_text("".join(json.dumps({"puzzle": text(a), "solution": text(b)}) + "\n" for a, b in pairs))
    yield "--inputs", folder / "x.npy", "--labels", folder / "y.npy"
    yield "--inputs", folder / "grid.npy", "--labels", folder / "y.npy"
    yield "--inputs", folder / "bare.csv", "--labels", folder / "y.npy"
    yield "--inputs", folder / "both.npz"
    yield "--inputs", folder / "words.csv", "--symbols", WORDS
    yield "--inputs", folder / "numbers.csv"
    yield "--inputs", folder / "lines.jsonl"
    yield "--inputs", folder / "words.jsonl", "--symbols", WORDS


def test_every_form_is_the_same_dataset(tmp_path, capsys):
    for i, options in enumerate(forms(tmp_path)):
        assert make(tmp_path / str(i), *options, "--split", "test") == 0, capsys.readouterr().err
        data = load_dataset(tmp_path / str(i), "test")
        assert np.array_equal(data.inputs, ROWS) and np.array_equal(data.labels, LABELS) and data.valid.all()
        assert (data.seq_len, data.vocab_size, data.num_puzzle_identifiers) == (4, 5, 1), options


def test_a_share_becomes_the_test_split(tmp_path, capsys):
    *_, options = forms(tmp_path)
    assert make(tmp_path / "a", *options, "--split", "0.4", "--json") == 0
    assert json.loads(capsys.readouterr().out)["splits"] == {"train": 3, "test": 2}
    splits = load_splits(tmp_path / "a")
    both = np.concatenate([s.inputs for s in splits.values()])
    assert sorted(map(bytes, both.astype(np.uint8))) == sorted(map(bytes, ROWS.astype(np.uint8)))
    assert make(tmp_path / "b", *options, "--split", "0.4", "--seed", "0") == 0
    assert all(np.array_equal(load_splits(tmp_path / "b")[n].inputs, s.inputs) for n, s in splits.items())


def test_a_second_split_is_added_and_nothing_overwritten(tmp_path, capsys):
    options = next(forms(tmp_path))
    assert make(tmp_path / "a", *options, "--split", "train") == 0
    assert make(tmp_path / "a", *options, "--split", "train") == 2 and "nothing that exists" in capsys.readouterr().err
    assert make(tmp_path / "a", *options, "--split", "test", "--vocab", "9") == 3
    assert "a vocabulary of 9 where train has 5" in capsys.readouterr().err
    assert make(tmp_path / "a", *options, "--split", "test") == 0
    assert set(load_splits(tmp_path / "a")) == {"train", "test"}


def test_identifiers_and_labels_that_do_not_count(tmp_path):
    labels = LABELS.copy()
    labels[0, :2], labels[1] = -100, -100
    np.savez(tmp_path / "a.npz", inputs=ROWS, labels=labels, ids=[2, 1, 2, 0, 1])
    assert make(tmp_path / "a", "--inputs", tmp_path / "a.npz", "--split", "test", "--vocab", "7") == 0
    data = load_dataset(tmp_path / "a", "test")
    assert data.puzzle_ids.tolist() == [0, 1, 1, 2, 2] and (data.vocab_size, data.num_puzzle_identifiers) == (7, 3)
    assert np.array_equal(data.inputs, ROWS[[3, 1, 4, 0, 2]])
    assert data.valid.sum(axis=1).tolist() == [4, 0, 4, 2, 4] and len(data.labelled()) == 4


@pytest.mark.parametrize(
    "name, content, words",
    [
        ("a.csv", "question,answer\n1 2,1 2\n1 2 3,1 2\n", "different lengths"),
        ("a.csv", "question,answer\n1 2\n", "line 2 has 1 columns"),
        ("a.csv", "question,answer\n1 x,1 2\n", "'x' is not a whole number"),
        ("a.csv", "question\n" + "5" * 81 + "\n", "--symbols"),
        ("a.csv", "first,second\n1,2\n", "no column of inputs"),
        ("a.csv", "", "no rows"),
        ("a.jsonl", '{"inputs": [1, 2]}\n{"puzzle": [1, 2]}\n', "line 2 has the fields"),
        ("a.jsonl", '{"inputs": [1, 2]\n', "not what it should be"),
        ("a.jsonl", "[1, -2]\n", "a token is -2"),
        ("a.jsonl", "[1, 1.5]\n", "not whole numbers"),
        ("a.jsonl", "[1e400, 1]\n", "beyond the range of numbers"),
        ("a.npz", "PK", "not what it should be"),
        ("a.npy", "", "not what it should be"),
        ("a.txt", "1 2", "files of the kind .txt are not read"),
    ],
)
def test_what_is_refused(name, content, words, tmp_path, capsys):
    (tmp_path / name).write_text(content)
    assert make(tmp_path / "out", "--inputs", tmp_path / name) in (2, 3)
    told = capsys.readouterr().err
    assert words in told and "bug" not in told and not (tmp_path / "out").exists()


@pytest.mark.parametrize("split", ["0", "1", "0.01", "dev", "nan", "-0.5"])
def test_splits_that_are_none(split, tmp_path, capsys):
    options = next(forms(tmp_path))
    assert make(tmp_path / "out", *options, "--split", split) == 2 and "bug" not in capsys.readouterr().err


def test_describe_says_what_is_there(tmp_path, capsys):
    options = next(forms(tmp_path))
    for split in ("train", "test"):
        assert make(tmp_path / "a", *options, "--split", split) == 0
    capsys.readouterr()
    assert main(["dataset", "describe", str(tmp_path / "a")]) == 0
    told = capsys.readouterr().out
    assert "5 of 5 test examples have inputs that stand in train too" in told and "what is right:" in told
    assert "train: 75.0 % of the cells" in told and max(map(len, told.splitlines())) <= 110
    assert main(["dataset", "describe", str(tmp_path / "a"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["splits"]["test"]["examples"] == 5


def test_all_problems_are_listed_at_once(tmp_path, capsys):
    options = next(forms(tmp_path))
    assert make(tmp_path / "a", *options, "--split", "test") == 0
    folder = tmp_path / "a/test"
    np.save(folder / "all__inputs.npy", np.full((5, 4), 9, np.uint8))
    np.save(folder / "all__labels.npy", np.zeros((5, 3), np.uint8))
    np.save(folder / "all__puzzle_indices.npy", np.array([0, 9]))
    capsys.readouterr()
    assert main(["dataset", "describe", str(tmp_path / "a")]) == 3
    told = capsys.readouterr().err
    assert "3 problems" in told and all(word in told for word in ("token 9", "labels.npy shape", "puzzle_indices.npy length"))


def test_the_files_of_puzzles_may_be_missing(tmp_path):
    options = next(forms(tmp_path))
    assert make(tmp_path / "a", *options, "--split", "test") == 0
    for file in (tmp_path / "a/test").glob("*puzzle*"):
        file.unlink()
    assert load_dataset(tmp_path / "a", "test").puzzle_ids.tolist() == [0] * 5
    meta = tmp_path / "a/test/dataset.json"
    meta.write_text(json.dumps({**json.loads(meta.read_text()), "num_puzzle_identifiers": 2}))
    with pytest.raises(InputError, match="missing"):
        load_dataset(tmp_path / "a", "test")


@pytest.mark.parametrize("name", ["id", "puzzle_id"])
def test_identifiers_are_numbers_whatever_symbols_stand_for_tokens(name, tmp_path):
    examples = [(text(q), text(a), i) for q, a, i in zip(ROWS, LABELS, (1, 2, 3, 12, 12))]
    rows = "".join(f"{q},{a},{i}\n" for q, a, i in examples)
    (tmp_path / "x.csv").write_text(f"question,answer,{name}\n{rows}")
    lines = [json.dumps({"question": q, "answer": a, name: str(i)}) for q, a, i in examples]
    (tmp_path / "x.jsonl").write_text("\n".join(lines))
    for file in ("x.csv", "x.jsonl"):
        assert make(tmp_path / file[2:], "--inputs", tmp_path / file, "--symbols", WORDS, "--split", "test") == 0
        made = load_dataset(tmp_path / file[2:], "test")
        assert made.puzzle_ids.tolist() == [1, 2, 3, 12, 12] and (made.inputs == ROWS).all()


def test_an_identifier_that_is_empty(tmp_path, capsys):
    (tmp_path / "x.jsonl").write_text('{"inputs": [1, 2], "id": ""}\n{"inputs": [2, 1], "id": 3}\n')
    assert make(tmp_path / "o", "--inputs", tmp_path / "x.jsonl") == 3
    assert "row 1 has 1 tokens, row 0 has 0" in capsys.readouterr().err


def test_a_symbol_stands_for_one_token(tmp_path, capsys):
    (tmp_path / "x.csv").write_text("question\n..AB\n")
    assert make(tmp_path / "o", "--inputs", tmp_path / "x.csv", "--symbols", "..AB") == 2
    assert "the character '.' is there twice" in capsys.readouterr().err


def test_what_cannot_be_written_leaves_nothing(tmp_path, monkeypatch):
    real = datamake.write_whole

    def full(path, *args, **kwargs):
        if path.name == "dataset.json":
            raise InputError("the dataset cannot be written", why="No space left on device")
        return real(path, *args, **kwargs)

    monkeypatch.setattr(datamake, "write_whole", full)
    (tmp_path / "mine").mkdir()
    for out in (tmp_path / "new", tmp_path / "mine"):
        examples = Examples(np.ones((3, 4), int), np.ones((3, 4), int), None, "")
        with pytest.raises(InputError):
            datamake.write_dataset(out, {"train": examples}, datamake.shape_of(examples, None, None))
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["mine"]


def test_from_arrays():
    data = Dataset.from_arrays(ROWS, LABELS)
    assert (data.vocab_size, data.seq_len, len(data)) == (5, 4, 5) and data.valid.all() and len(repr(data)) < 120
    assert not Dataset.from_arrays(ROWS.tolist()).valid.any()
    labels = np.where(LABELS == 4, -100, LABELS)
    assert Dataset.from_arrays(ROWS, labels, ignore_label_id=3).valid.sum() == ((labels != -100) & (labels != 3)).sum()
    for bad in ((ROWS, LABELS[:2]), (ROWS - 2,), (ROWS, None, [0]), (ROWS[0],), (ROWS + 0.5,), ([["a"]],)):
        with pytest.raises(InputError):
            Dataset.from_arrays(*bad)
    with pytest.raises(InputError, match="0 to 2"):
        Dataset.from_arrays(ROWS, vocab_size=3)


def test_a_model_scores_arrays_of_ones_own(tmp_path):
    model = recurc.load("sudoku4-tiny")
    test = load_dataset(recurc.resources.bundled_models()["sudoku4-tiny"] / "data", "test").take(8)
    own = Dataset.from_arrays(test.inputs, test.labels, vocab_size=6)
    assert model.evaluate(own) == model.evaluate(test)
    with pytest.raises(RecurcError):
        model.evaluate(Dataset.from_arrays(ROWS, LABELS))


@pytest.mark.parametrize("mark, word", [(";", "semicolons"), ("\t", "tabs")])
def test_other_separators_are_taken_where_nothing_else_is_possible(mark, word, tmp_path, capsys):
    pairs = list(zip(ROWS, LABELS))
    tables = {
        "head": "question,answer,id\n" + "".join(f"{text(q)},{text(a)},{i}\n" for i, (q, a) in enumerate(pairs)),
        "bare": "".join(",".join(map(str, q)) + "\n" for q in ROWS),
    }
    for name, content in tables.items():
        for one in (",", mark):
            file = tmp_path / f"{name}{ord(one)}.csv"
            file.write_text(content.replace(",", one))
            assert make(tmp_path / file.stem, "--inputs", file, "--symbols", WORDS, "--split", "test") == 0
            assert (f"separated by {word}" in capsys.readouterr().err) == (one == mark)
        one, other = (load_dataset(tmp_path / f"{name}{ord(m)}", "test") for m in (",", mark))
        assert (one.inputs == other.inputs).all() and (one.puzzle_ids == other.puzzle_ids).all()


@pytest.mark.parametrize(
    "content",
    [
        "a;b\n1;2\n",
        "1,5;2,5\n",
        "question;answer\n1;2;3\n",
        "1 2;3 4\n",
        "question|answer\n1|2\n",
        "question;x,inputs;y\n1,2\n",
    ],
)
def test_a_separator_is_never_guessed_wrongly(content, tmp_path, capsys):
    (tmp_path / "a.csv").write_text(content)
    code = make(tmp_path / "out", "--inputs", tmp_path / "a.csv")
    told = capsys.readouterr().err
    assert code == 3 and "bug" not in told, told
