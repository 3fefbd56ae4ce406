"""The halting rule that lies beside a checkpoint: kept, found again, for that checkpoint only."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest

from recurc.errors import InputError
from recurc.evaluate.halting import Halt
from recurc.evaluate.own_halting import HALTING_FILE, OwnHalting, halting_of, keep, kept
from tests.randmodels import sudoku4

OWN = OwnHalting("", 1.25, 1, "margin", "labels", True, "int4", "sudoku:2x2", 64, 64, 63, 1)


@pytest.fixture
def reasoner(tmp_path):
    return replace(sudoku4(), source=str(tmp_path / "model.safetensors"))


def test_kept_beside_the_checkpoint_and_for_it_alone(reasoner):
    assert kept(reasoner) is None and halting_of(reasoner)[0] == Halt() and "the default" in halting_of(reasoner)[1]
    own = replace(OWN, checkpoint_sha256=reasoner.sha256)
    path = keep(own, reasoner)
    assert path.name == HALTING_FILE and kept(reasoner) == own and kept(reasoner).halt == Halt(1.25, patience=1)
    halt, whence = halting_of(reasoner)
    assert halt == own.halt and all(
        text in whence for text in ("this checkpoint's own", "64 puzzles", "int4", "1 of them wrongly")
    )
    keep(replace(own, accept="agreement"), reasoner)
    assert halting_of(reasoner)[0] == Halt() and "two runs that agree" in halting_of(reasoner)[1]
    keep(own, reasoner)
    assert kept(replace(reasoner, sha256="0" * 64)) is None, "another checkpoint has come into the folder"
    assert "date" not in path.read_text() and json.loads(path.read_text())["checkpoint_sha256"] == reasoner.sha256


def test_what_is_not_known_is_told_so(reasoner):
    own = replace(OWN, checkpoint_sha256=reasoner.sha256, found="clusters", certificate=None, wrong=None)
    keep(own, reasoner)
    assert kept(reasoner) == own and "without labels" in str(own) and "wrongly" not in str(own)
    assert "no certificate" in str(replace(OWN, certificate=False)) and "no certificate" not in str(own)
    assert "two runs that agree" in replace(own, accept="agreement").rule_text


@pytest.mark.parametrize(
    "change",
    [
        {"theta": "1"}, {"theta": float("inf")}, {"theta": 1e39}, {"patience": -1}, {"patience": 256}, {"patience": 1.0},
        {"accept": "always"}, {"found": "luck"}, {"certificate": 1}, {"precision": "x" * 101},
        {"precision": "int4\nEVIL line"}, {"symmetry": "\x1b[2J"}, {"n": -1}, {"wrong": True}, {"checkpoint_sha256": "0"},
        {"more": 1}, {"schema": "recurc/halting/2"},
    ],
)  # fmt: skip
def test_a_broken_file_is_no_rule(reasoner, tmp_path, change):
    content = {"schema": "recurc/halting/1", **asdict(replace(OWN, checkpoint_sha256=reasoner.sha256)), **change}
    (tmp_path / HALTING_FILE).write_text(json.dumps(content))
    with pytest.raises(InputError, match="recurc halting CHECKPOINT --keep") as e:
        halting_of(reasoner)
    assert e.value.exit_code == 3 and HALTING_FILE in str(e.value)


@pytest.mark.parametrize("name", list(asdict(OWN)))
def test_a_field_that_is_missing_is_no_null(reasoner, tmp_path, name):
    content = {"schema": "recurc/halting/1", **asdict(replace(OWN, checkpoint_sha256=reasoner.sha256))}
    del content[name]
    (tmp_path / HALTING_FILE).write_text(json.dumps(content))
    with pytest.raises(InputError, match=f"{name} is missing"):
        kept(reasoner)


@pytest.mark.parametrize("symmetry", ["file:/" + "a" * 4000, "+".join(["tokens:2-10"] * 300)])
def test_a_symmetry_may_have_as_long_a_name_as_in_a_manifest(reasoner, symmetry):
    own = replace(OWN, checkpoint_sha256=reasoner.sha256, symmetry=symmetry)
    keep(own, reasoner)
    assert kept(reasoner) == own


@pytest.mark.parametrize(
    "change", [{"symmetry": "x" * 4097}, {"precision": "int4\nEVIL line"}, {"theta": float("nan")}, {"checkpoint_sha256": ""}]
)
def test_nothing_is_written_that_would_not_be_read(reasoner, tmp_path, change):
    with pytest.raises(InputError, match="cannot be kept") as e:
        keep(replace(OWN, **{"checkpoint_sha256": reasoner.sha256, **change}), reasoner)
    assert next(iter(change)) in str(e.value) and "--halt-threshold" in str(e.value) and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"schema": "recurc/halting/1"}'])
def test_what_is_no_such_file_is_refused(reasoner, tmp_path, text):
    (tmp_path / HALTING_FILE).write_text(text)
    with pytest.raises(InputError, match="is not valid"):
        kept(reasoner)
