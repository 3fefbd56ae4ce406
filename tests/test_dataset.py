"""Reading datasets of the reference code's form, and refusing bad ones."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from recurc.dataset import check_compatible, load_dataset
from recurc.errors import InputError
from recurc.models.checkpoint import load
from tests.models.builders import write_dataset

SUDOKU4 = Path(__file__).parent / "data" / "trm_mlp_sudoku4"


@pytest.fixture
def folder(tmp_path):
    return write_dataset(tmp_path / "d")


def refused(folder, *words, split="test"):
    with pytest.raises(InputError) as caught:
        load_dataset(folder, split)
    assert caught.value.next
    for word in words:
        assert word in str(caught.value), str(caught.value)


def test_both_splits_of_a_real_dataset():
    """The training split is int64 on disk, the test split uint8."""
    for split in ("train", "test"):
        data = load_dataset(SUDOKU4 / "data", split)
        assert data.inputs.shape == data.labels.shape == (512, 16)
        assert data.inputs.dtype == np.uint8 and data.inputs.max() < data.vocab_size == 6
        assert data.valid.all()


def test_identifiers_are_those_of_each_examples_puzzle(folder):
    """Puzzle 0 has examples 0 and 1, puzzle p has example p + 1."""
    assert load_dataset(folder, "test").puzzle_ids.tolist() == [0, 0, 1, 2, 3, 4]


def test_take_and_sample(folder):
    data = load_dataset(folder, "test")
    assert len(data.take(2)) == 2 and len(data.take(None)) == 6 and len(data.take(9, offset=4)) == 2
    assert (data.take(2, offset=1).inputs == data.inputs[1:3]).all()
    one, again, other = data.sample(4, 1), data.sample(4, 1), data.sample(4, 2)
    assert (one.inputs == again.inputs).all() and not (one.inputs == other.inputs).all()
    assert len(data.sample(99, 0)) == 6
    assert all(sorted(data.order(seed)) == [*range(6)] for seed in range(5)), "without replacement"
    assert len(np.unique(np.concatenate([data.sample(6, 0).inputs, data.inputs]), axis=0)) == len(
        np.unique(data.inputs, axis=0)
    )


def test_labels_that_are_missing_or_ignored(folder):
    """Accuracy leaves out examples of which no cell counts, as the reference code does."""
    labels = np.load(folder / "test" / "all__labels.npy")
    some = load_dataset(folder, "test")
    assert len(some.labelled()) == len(some)
    labels[[0, 3]] = 0
    np.save(folder / "test" / "all__labels.npy", labels)
    kept = load_dataset(folder, "test").labelled()
    assert (kept.inputs == some.inputs[[1, 2, 4, 5]]).all() and kept.puzzle_ids.tolist() == [0, 1, 3, 4]
    np.save(folder / "test" / "all__labels.npy", np.zeros_like(labels))
    for remove in (False, True):
        if remove:
            (folder / "test" / "all__labels.npy").unlink()
        none = load_dataset(folder, "test")
        assert len(none) == 6 and not none.valid.any()
        with pytest.raises(InputError, match="no example has labels"):
            none.labelled()
    meta = json.loads((folder / "test" / "dataset.json").read_text())
    (folder / "test" / "dataset.json").write_text(json.dumps({**meta, "ignore_label_id": None}))
    assert not load_dataset(folder, "test").valid.any(), "no value is ignored, and there are no labels all the same"


def test_a_label_that_is_none_is_refused_though_missing_ones_stand_for_it(folder):
    meta = json.loads((folder / "test" / "dataset.json").read_text())
    (folder / "test" / "dataset.json").write_text(json.dumps({**meta, "ignore_label_id": None}))
    labels = np.load(folder / "test" / "all__labels.npy").astype(np.int32)
    labels[1, 2] = -1
    np.save(folder / "test" / "all__labels.npy", labels)
    refused(folder, "label -1", "[1, 2]")


def test_cells_to_ignore(folder):
    data = load_dataset(folder, "test")
    assert (data.valid == (data.labels != 0)).all() and not data.valid.all()
    assert replace(data, ignore_label_id=None).valid.all()


def test_large_vocabularies_are_int32(tmp_path):
    data = load_dataset(write_dataset(tmp_path, vocab=300, dtype=np.int64), "train")
    assert data.inputs.dtype == np.int32


def test_several_sets_are_joined(folder):
    split = folder / "test"
    for file in list(split.glob("all__*.npy")):
        (split / file.name.replace("all", "more")).write_bytes(file.read_bytes())
    meta = json.loads((split / "dataset.json").read_text()) | {"sets": ["all", "more"]}
    (split / "dataset.json").write_text(json.dumps(meta))
    assert len(load_dataset(folder, "test")) == 12


# -- bad input ------------------------------------------------------------------------------------------------------


def test_missing_empty_or_wrong_directory(tmp_path, folder):
    refused(tmp_path / "nothing", "no such directory")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "empty")
    refused(folder / "test", "the dataset directory is the one above")
    refused(folder / "identifiers.json", "it is a file")
    refused(folder, "no validation split", "train", split="validation")
    (tmp_path / "bare" / "test").mkdir(parents=True)
    refused(tmp_path / "bare", "dataset.json")


@pytest.mark.parametrize(
    "content, word",
    [
        ("{", "not valid"),
        ("[]", "not valid"),
        ('{"seq_len": 9}', "vocab_size"),
        ('{"seq_len": "x", "vocab_size": 7}', "not valid"),
    ],
)
def test_bad_metadata(folder, content, word):
    (folder / "test" / "dataset.json").write_text(content)
    refused(folder, word, "dataset.json")


@pytest.mark.parametrize("kind", ["inputs", "labels", "puzzle_identifiers", "puzzle_indices"])
def test_files_missing_empty_pickled_truncated(folder, kind):
    file = folder / "test" / f"all__{kind}.npy"
    data = file.read_bytes()
    file.write_bytes(data[:-3])
    refused(folder, file.name, "cannot be read")
    file.write_bytes(b"")
    refused(folder, file.name, "empty")
    np.save(file, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    refused(folder, file.name, "pickled")
    np.save(file, np.zeros((2, 3, 4)))
    refused(folder, file.name, "whole numbers")
    file.unlink()
    if kind != "labels":  # only accuracy needs them
        refused(folder, file.name, "missing")


def test_first_token_out_of_range_is_named(folder):
    file = folder / "test" / "all__inputs.npy"
    inputs = np.load(file)
    inputs[2, 5], inputs[3, 0] = 7, 200
    np.save(file, inputs)
    refused(folder, "token 7", "[2, 5]", "2 out of range in all", "vocabulary has 7")


def test_negative_token_and_label(folder):
    for kind, what in (("labels", "label -1"), ("inputs", "token -1")):
        file = folder / "test" / f"all__{kind}.npy"
        values = np.load(file).astype(np.int64)
        values[1, 1] = -1
        np.save(file, values)
        refused(folder, what, "[1, 1]")


def test_ignored_labels_may_lie_outside_the_vocabulary(folder):
    meta = json.loads((folder / "test" / "dataset.json").read_text()) | {"ignore_label_id": -100}
    (folder / "test" / "dataset.json").write_text(json.dumps(meta))
    file = folder / "test" / "all__labels.npy"
    labels = np.load(file).astype(np.int32)
    labels[0, :3] = -100
    np.save(file, labels)
    assert load_dataset(folder, "test").valid.sum() == labels.size - 3


@pytest.mark.parametrize("kind, rows", [("inputs", 5), ("labels", 5), ("puzzle_identifiers", 4), ("puzzle_indices", 5)])
def test_lengths_that_disagree(folder, kind, rows):
    file = folder / "test" / f"all__{kind}.npy"
    np.save(file, np.load(file)[:rows])
    refused(folder, "disagree")


def test_indices_must_rise(folder):
    np.save(folder / "test" / "all__puzzle_indices.npy", np.array([0, 3, 2, 4, 5, 6], np.int32))
    refused(folder, "rise")


def test_identifier_out_of_range(folder):
    np.save(folder / "test" / "all__puzzle_identifiers.npy", np.array([0, 1, 2, 3, 5], np.int32))
    refused(folder, "puzzle identifier 5")


def test_no_examples(tmp_path):
    folder = write_dataset(tmp_path)
    np.save(folder / "test" / "all__inputs.npy", np.zeros((0, 9), np.uint8))
    np.save(folder / "test" / "all__labels.npy", np.zeros((0, 9), np.uint8))
    np.save(folder / "test" / "all__puzzle_indices.npy", np.zeros(1, np.int32))
    np.save(folder / "test" / "all__puzzle_identifiers.npy", np.zeros(0, np.int32))
    refused(folder, "no examples")


def test_compatible_with_its_model_and_no_other(tmp_path):
    config = load(SUDOKU4 / "checkpoint").config
    check_compatible(load_dataset(SUDOKU4 / "data", "test"), config)
    with pytest.raises(InputError) as caught:
        check_compatible(load_dataset(write_dataset(tmp_path), "test"), config)
    text = str(caught.value)
    assert "9 tokens where the model takes 16" in text and "vocabulary of 7" in text and "5 puzzle identifiers" in text


# -- limits -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["seq_len", "vocab_size", "num_puzzle_identifiers"])
def test_sizes_are_at_least_one(folder, field):
    file = folder / "test" / "dataset.json"
    meta = json.loads(file.read_text())
    for value in (0, -1):
        file.write_text(json.dumps({**meta, field: value}))
        refused(folder, "dataset.json", "not valid")


@pytest.mark.parametrize("indices", [[1, 2, 3, 4, 5, 6], [0, 2, 3, 4, 5, 5], [0, 2, 3, 4, 5, 7], [0, 0, 0, 0, 0, 0]])
def test_indices_begin_at_zero_and_end_at_the_last_example(folder, indices):
    np.save(folder / "test" / "all__puzzle_indices.npy", np.array(indices, np.int32))
    refused(folder, "rise from 0 to the 6 examples")


@pytest.mark.parametrize("kind", ["inputs", "labels", "puzzle_identifiers", "puzzle_indices"])
@pytest.mark.parametrize("dtype", [np.float32, bool])
def test_numbers_that_are_not_whole_are_refused(folder, kind, dtype):
    file = folder / "test" / f"all__{kind}.npy"
    np.save(file, np.load(file).astype(dtype))
    refused(folder, file.name, "whole numbers")


@pytest.mark.parametrize(("vocab", "dtype"), [(256, np.uint8), (257, np.int32)])
def test_tokens_are_bytes_as_long_as_they_fit(tmp_path, vocab, dtype):
    folder = write_dataset(tmp_path, vocab=vocab, dtype=np.int64)
    inputs = np.load(folder / "test" / "all__inputs.npy")
    inputs[0, 0] = vocab - 1
    np.save(folder / "test" / "all__inputs.npy", inputs)
    data = load_dataset(folder, "test")
    assert data.inputs.dtype == dtype and data.inputs[0, 0] == vocab - 1


def test_one_token_or_identifier_at_its_limit(folder):
    for kind, limit in (("inputs", 7), ("labels", 7), ("puzzle_identifiers", 5)):
        file = folder / "test" / f"all__{kind}.npy"
        values = np.load(file)
        values.flat[-1] = limit - 1
        np.save(file, values)
        load_dataset(folder, "test")
        values.flat[-1] = limit
        np.save(file, values)
        refused(folder, file.name, str(limit))
        values.flat[-1] = 0
        np.save(file, values)


def test_every_difference_from_a_model_is_refused_by_itself():
    data, config = load_dataset(SUDOKU4 / "data", "test"), load(SUDOKU4 / "checkpoint").config
    for field in ("seq_len", "vocab_size"):
        for step in (-1, 1):
            with pytest.raises(InputError, match="not of this model"):
                check_compatible(replace(data, **{field: getattr(data, field) + step}), config)
    few = replace(config, puzzle_emb_ndim=8, num_puzzle_identifiers=3)
    check_compatible(replace(data, num_puzzle_identifiers=3), few)
    for count in (2, 4):
        with pytest.raises(InputError, match=f"{count} puzzle identifiers where the model has 3"):
            check_compatible(replace(data, num_puzzle_identifiers=count), few)
        check_compatible(replace(data, num_puzzle_identifiers=count), replace(few, puzzle_emb_ndim=0))


def test_taking_begins_at_the_offset_and_ends_at_the_splits_end(folder):
    data = load_dataset(folder, "test")
    assert (data.take(2, 3).inputs == data.inputs[3:5]).all() and (data.take(9, 4).inputs == data.inputs[4:]).all()
    assert (data.take(None, 5).inputs == data.inputs[5:]).all() and len(data.take(3, 6)) == len(data.take(0)) == 0


@pytest.mark.parametrize(
    "wrong, right",
    [
        ("ignore_label_ids", "ignore_label_id"),
        ("ignore-label-id", "ignore_label_id"),
        ("Seq_Len", "seq_len"),
        ("num_puzzle_identifier", "num_puzzle_identifiers"),
        ("pad_idd", "pad_id"),
        ("set", "sets"),
        ("vocabsize", "vocab_size"),
    ],
)
def test_a_misspelt_field_is_not_taken_for_missing(folder, wrong, right):
    """Without ignore_label_id, say, padding would count as cells, and nothing would tell."""
    path = folder / "test/dataset.json"
    meta = json.loads(path.read_text())
    meta[wrong] = meta.pop(right)
    path.write_text(json.dumps(meta))
    with pytest.raises(InputError, match=f"'{wrong}' is no field that is known: {right} is meant"):
        load_dataset(folder, "test")
    meta[right] = meta[wrong]
    path.write_text(json.dumps(meta | {"source": "ours", "pad": 3, "total_sets": 1}))
    assert len(load_dataset(folder, "test")) == 6, "what is ours is there; others' fields are their own"
