"""Forms of ARC puzzles from the names of their identifiers: told, refused where they tell none, held against the labels."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from recurc.datadescribe import allowed_symmetry, check_symmetry, forms_named, symmetries
from recurc.dataset import Dataset, load_dataset
from recurc.errors import InputError, UsageError
from recurc.ir.lower import lower
from recurc.ir.lowering import check_forms
from recurc.resources import bundled_models
from recurc.symmetries import Grids, is_arc
from recurc.symmetries.grids import IDENTITY
from tests.randmodels import random_reasoner

DATA = bundled_models()["arc-mini"] / "data"
NAMES = json.loads((DATA / "identifiers.json").read_text())


@pytest.fixture(scope="module")
def test_split() -> Dataset:
    return load_dataset(DATA, "test")


def named(folder, names) -> str:
    (folder / "names.json").write_text(json.dumps(names))
    return f"arc:{folder / 'names.json'}"


def test_the_dataset_tells_them(test_split):
    found = forms_named("arc", test_split, 200, 0)
    assert isinstance(found, Grids) and len(found) == 23, "no task has more other forms"
    assert len(forms_named("arc", test_split, 5, 0)) == 5 and is_arc("arc") and is_arc("arc:x") and not is_arc("square")
    some = test_split.take(64)
    assert allowed_symmetry({"test": some}) == "arc" and symmetries({"test": some})["arc"] == ""
    check_symmetry("arc", found, {"test": some})
    assert found.rows[0] == found.rows[1] == IDENTITY and found.following[0] == 0 and found.following[24] == 1
    assert found == forms_named("arc", test_split, 23, 9) != forms_named("arc", test_split, 4, 0)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("a|||t8|||0123456789", "identifier 2"),
        ("a|||t1|||0123456788", "ten colours"),
        ("a|||t1", "TASK"),
        ("a|||1|||0123456789", ""),
    ],
)
def test_a_name_that_tells_no_form_is_refused(name, why):
    with pytest.raises(InputError, match="tells no form") as told:
        Grids.of(["<blank>", "a", name], 3, "names.json")
    assert why in str(told.value)


def test_what_the_identifiers_do_not_carry_is_refused(test_split, tmp_path):
    tasks = [name.split("|||")[0] + str(i) for i, name in enumerate(NAMES)]
    for changed, name, why in (
        (test_split, named(tmp_path, tasks), "no other forms"),
        (replace(test_split, in_memory=True), "arc", "nothing tells the forms"),
        (replace(test_split, vocab_size=11), "arc", "no grids of ARC"),
        (replace(test_split, seq_len=63), "arc", "no grids of ARC"),
        (replace(test_split, num_puzzle_identifiers=300), "arc", "those of other puzzles"),
        (test_split, f"arc:{tmp_path / 'none.json'}", "names of the puzzle identifiers"),
    ):
        with pytest.raises(InputError, match=why):
            forms_named(name, changed, 4, 0)
    with pytest.raises(UsageError, match="no symmetry"):
        forms_named("arc+square", test_split, 4, 0)
    assert "arc" not in symmetries({"test": replace(test_split.take(300), in_memory=True)})


def test_names_that_the_labels_contradict_are_refused_with_an_example(test_split, tmp_path):
    other = {"t1": "t3", "t3": "t1"}
    turned = ["|||".join(other.get(part, part) for part in name.split("|||")) for name in NAMES]
    moved = [NAMES[0], *NAMES[2:], NAMES[1]]
    for names, why in ((turned, r"example \d+ of row \d+ is example \d+ in the form of row \d+, and its answer"),
                       (moved, r"example \d+ of row \d+ is example"),
                       ([*NAMES[:2], "c8f0f002|||t5|||0485793612", *NAMES[3:]], "the form of row 2 by that")):  # fmt: skip
        name = named(tmp_path, names)
        with pytest.raises(InputError, match="the data contradicts") as told:
            check_symmetry(name, forms_named(name, test_split, 23, 0), {"test": test_split})
        assert re.search(why, str(told.value))
    labels = test_split.labels.copy()
    labels[20, 0] ^= 1
    with pytest.raises(InputError, match="example 20|is example 20"):
        data = replace(test_split, labels=labels)
        check_symmetry("arc", forms_named("arc", data, 23, 0), {"test": data})


def test_a_model_without_those_rows_is_refused():
    grids = Grids.of(["a", "a|||t1|||0123456789"], 1, "n")
    config = random_reasoner(seq=16, vocab=12, puzzles=2, ndim=32).config
    check_forms(grids, config)
    assert lower(config, symmetries=grids).tables["puzzles"].storage == "image"
    for wrong in (
        replace(config, num_puzzle_identifiers=3),
        random_reasoner(seq=16, vocab=12, puzzles=2, ndim=0, plen=0).config,
    ):
        with pytest.raises(InputError, match="other puzzles"):
            lower(wrong, symmetries=grids)
    with pytest.raises(UsageError, match="have to be there"):
        lower(config, symmetries=grids, puzzle_table="int8")


def test_other_tokens_than_these_are_left_alone():
    """What lies beyond the grid goes, and nothing of it is read as a colour."""
    grids = Grids.of(["a", "a|||t2|||0213456789"], 1, "n")
    puzzle = np.array([3, 4, 1, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], np.uint8)
    (form,) = grids.forms(puzzle, 0)
    assert form.present(puzzle).tolist() == [3, 4, 1, 0, 1, 1, *[0] * 10]
    noisy = puzzle.copy()
    noisy[[7, 15]] = 5, 200
    assert form.own(noisy).tolist() == puzzle.tolist() and grids.forms(noisy, 0) == ()


def test_broken_names_are_told_where_the_dataset_should_tell_its_forms(test_split, tmp_path):
    some = test_split.take(8)
    broken = [*NAMES[:2], NAMES[2].replace("|||t", "|||x"), *NAMES[3:]]
    (tmp_path / "identifiers.json").write_text(json.dumps(broken))
    (tmp_path / "test").mkdir()
    found = symmetries({"test": replace(some, path=tmp_path)})
    assert "tells no form" in found["arc"] and "identifier 2" in found["arc"]
    (tmp_path / "identifiers.json").write_text("[")
    assert "cannot be read" in symmetries({"test": replace(some, path=tmp_path)})["arc"]


def test_a_name_that_no_manifest_could_hold_is_refused(test_split, tmp_path):
    path = tmp_path / "a\x1bb.json"
    path.write_text(json.dumps(NAMES))
    for name in (f"arc:{path}", "arc:" + "x" * 5000):
        with pytest.raises(InputError, match="name"):
            forms_named(name, test_split, 4, 0)


def test_no_restart_is_asked_of_no_form(test_split):
    check_symmetry("arc", forms_named("arc", test_split, 0, 0), {"test": test_split.take(8)})
