"""Two numberings of the same puzzles: refused where both are said, told where one is only a guess."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path

import pytest

import recurc
from recurc.dataset import check_compatible, load_dataset
from recurc.errors import InputError
from recurc.models.checkpoint import load
from tests.models.builders import arch, write_dataset, write_model

NAMES = ["<blank>", "a", "b", "c", "d"]
OTHER = ["<blank>", "a", "c", "b", "d"]
TOLD = "identifier 2 is 'b'"


def write(folder: Path, names: object) -> None:
    (folder / "identifiers.json").write_text(json.dumps(names))


@pytest.fixture
def model(tmp_path) -> Path:
    """A checkpoint with puzzle embeddings, its dataset configured and beside it."""
    file = write_model(tmp_path / "m", arch(mlp_t=True, pos_encodings="none"))
    write(tmp_path / "m/data", NAMES)
    return file


@pytest.fixture
def other(tmp_path) -> Path:
    """A dataset of the same shape that numbers its puzzles otherwise."""
    folder = write_dataset(tmp_path / "other")
    write(folder, OTHER)
    return folder


def refused(call, *words: str) -> None:
    with pytest.raises(InputError) as caught:
        call()
    assert all(str(word) in caught.value.paragraph() for word in words), caught.value.paragraph()


def test_a_dataset_of_another_numbering_is_refused(model, other):
    assert load(model).notes == load(model, model.parent / "data").notes == ()
    refused(lambda: load(model, other), TOLD, model.parent / "data/identifiers.json", other / "identifiers.json")
    write(other, dict(zip(NAMES, range(5))))  # the same names in another form
    assert load(model, other).notes == ()
    write(other, NAMES[:4])
    refused(lambda: load(model, other), "there are 5 identifiers")


def test_names_beside_the_checkpoint_are_its_own(model, other):
    write(model.parent, OTHER)
    refused(lambda: load(model), "'c'", model.parent / "identifiers.json", model.parent / "data/identifiers.json")
    shutil.rmtree(model.parent / "data")
    found = recurc.load(model, other)
    data = load_dataset(other, "test")
    found.evaluate(data, 1, steps=1)
    write(other, NAMES)
    for call in (lambda: found.evaluate(data, steps=1), lambda: found.quantize("int8", other),
                 lambda: check_compatible(data, found.config, found.reasoner.source)):  # fmt: skip
        refused(call, "identifier 2", other / "identifiers.json")
    own = recurc.Dataset.from_arrays(data.inputs, data.labels, data.puzzle_ids, vocab_size=7, num_puzzle_identifiers=5)
    assert found.evaluate(own, 1, steps=1).n == 1, "arrays in memory have no names"


def test_a_dataset_that_only_lies_near_is_a_hint(model, other):
    text = (model.parent / "all_config.yaml").read_text()
    (model.parent / "all_config.yaml").write_text(text.replace("- data", "- elsewhere"))
    assert any(TOLD in note and str(other) in note for note in load(model, other).notes)


def test_splits_that_name_their_puzzles_differently(other):
    write(other / "train", OTHER)
    assert load_dataset(other, "test")
    write(other / "test", NAMES)
    for split in ("train", "test"):
        refused(partial(load_dataset, other, split), "splits", other / "identifiers.json", other / "test/identifiers.json")
    (other / "identifiers.json").unlink()
    refused(
        lambda: load_dataset(other, "train"), "identifier 2", other / "train/identifiers.json", other / "test/identifiers.json"
    )


def test_without_puzzle_embeddings_names_do_not_matter(tmp_path, other):
    file = write_model(tmp_path / "m", arch(mlp_t=True, pos_encodings="none", puzzle_emb_ndim=0, puzzle_emb_len=0))
    write(tmp_path / "m", NAMES)
    assert load(file, other)


@pytest.mark.parametrize("content", [b"{", b"[1, 2]", b'{"a": 1, "b": 1}', b"\xff", b"3", b'{"a": [], "b": 0}'])
def test_what_holds_no_names_is_told_where_it_has_to_be_compared(content, model, other):
    (other / "identifiers.json").write_bytes(content)
    assert load_dataset(other, "test"), "one alone contradicts nothing"
    refused(lambda: load(model, other), "cannot be read", other / "identifiers.json")
