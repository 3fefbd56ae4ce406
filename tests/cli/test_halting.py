"""`recurc halting`: a rule is found, shown, kept beside the checkpoint, and taken from there."""

from __future__ import annotations

import json
import shutil

import pytest

from recurc.cli.main import main
from recurc.evaluate.own_halting import HALTING_FILE, OwnHalting, keep
from recurc.models.checkpoint import load
from recurc.resources import bundled_models
from tests.tools import need


@pytest.fixture
def model(tmp_path, monkeypatch):
    """A copy of a bundled model without a rule of its own."""
    need("host")
    monkeypatch.chdir(tmp_path)
    shutil.copytree(bundled_models()["sudoku4-tiny"], tmp_path / "own")
    (tmp_path / "own" / HALTING_FILE).unlink(missing_ok=True)
    return tmp_path / "own"


def document(capsys, *args) -> dict:
    status = main([*map(str, args), "--json"])
    said = capsys.readouterr()
    assert status == 0, said.out + said.err
    return json.loads(said.out)


def test_a_rule_is_found_kept_and_used(model, capsys):
    found = document(capsys, "halting", model, "--limit", "24", "--keep", "--out", "found")
    (own,) = (m["own"] for m in found["models"])
    assert json.loads((model / HALTING_FILE).read_text()) == {"schema": "recurc/halting/1", **own}
    assert own["found"] == "labels" and own["certificate"] is None, "24 puzzles are too few to tell"
    rules = [line["rule"] for line in found["models"][0]["stopping"]]
    assert rules == ["all steps", "the head alone", "the default", "its own"]
    page = (model.parent / "found" / "halting.md").read_text()
    assert "## Asking again" in page and f"{own['theta']:g}" in page and (model.parent / "found" / "halting.png").exists()
    assert document(capsys, "inspect", model)["halting"] == own

    eval_ = ("eval", model, "--limit", "4", "--fidelity-puzzles", "1", "--solve")
    told = document(capsys, *eval_)
    assert told["solve"]["theta"] == pytest.approx(own["theta"], rel=1e-6) and told["solve"]["accept"] == own["accept"]
    assert any("this checkpoint's own, halting.json" in note for note in told["notes"])
    asked = document(capsys, *eval_, "--halt-threshold", "0.5", "--patience", "0")["solve"]
    assert (asked["theta"], asked["patience"]) == (0.5, 0), "the command line wins"

    assert main(["inspect", str(model)]) == 0
    assert "a margin above" in " ".join(capsys.readouterr().out.split())


def test_puzzles_that_are_all_solved_tell_nothing_without_labels(model, capsys):
    found = document(capsys, "halting", model, "--limit", "24", "--no-labels", "--keep", "--out", "found")
    assert found["models"][0]["own"] is None and found["kept"] == [] and not (model / HALTING_FILE).exists()
    assert found["models"][0]["why"].startswith("the margins form no two clusters")
    assert "labels do" in (model.parent / "found" / "halting.md").read_text()


def test_noise_stands_in_the_documents_head(model, capsys):
    few = ("halting", model, "--limit", "2", "--symmetry", "none", "--restarts", "1", "--first-steps", "2", "--out", "found")
    (found,) = document(capsys, *few, "--noise", "0.5", "--noise-at", "step", "--seed", "3")["models"]
    assert (found["noise"], found["noise_at"], found["seed"], found["restarts"]) == (0.5, "step", 3, 1)
    assert "noise" not in document(capsys, *few)["models"][0]


def test_what_cannot_be_done_is_refused_before_the_work(model, capsys, monkeypatch):
    monkeypatch.setattr("recurc.cli.halting.quantize_with_progress", lambda *a, **k: pytest.fail("calibrated"))
    assert main(["halting", "--data", str(model / "data")]) == 2 and "needs a CHECKPOINT" in capsys.readouterr().err
    assert main(["halting", str(model), "--limit", "1"]) == 2 and "one puzzle is too few" in capsys.readouterr().err
    assert main(["halting", str(model), "--first-steps", "17"]) == 2 and "compiled for 16" in capsys.readouterr().err
    assert main(["halting", str(model), "--noise", "1", "--keep"]) == 2
    assert "found with noise is not kept" in (error := capsys.readouterr().err) and "--keep" in error
    (model / HALTING_FILE).mkdir()
    assert main(["halting", str(model), "--keep"]) == 3 and HALTING_FILE in capsys.readouterr().err


def test_a_broken_rule_stops_what_would_use_it(model, capsys):
    (model / HALTING_FILE).write_text("{}")
    for command in (["inspect", str(model)], ["eval", str(model), "--limit", "1", "--solve"]):
        assert main(command) == 3 and "halting.json is not valid" in capsys.readouterr().err


def keep_agreement(model) -> None:
    """A rule for runs of which two must agree."""
    reasoner = load(str(model))
    keep(OwnHalting(reasoner.sha256, -2.5, 0, "agreement", "labels", None, "int4", "sudoku:2x2", 8, 8, 8, 0), reasoner)


def test_a_rule_for_runs_that_must_agree_is_none_for_others(model, capsys):
    keep_agreement(model)
    eval_ = ("eval", model, "--limit", "1", "--fidelity-puzzles", "1", "--solve")
    for single in (("--restarts", "0"), ("--symmetry", "none"), ("--accept", "margin")):
        told = document(capsys, *eval_, *single)
        assert (told["solve"]["theta"], told["solve"]["patience"], told["solve"]["accept"]) == (0.0, 1, "margin"), single
        assert any("halting.json believes the answer of the first two runs that agree" in note for note in told["notes"])
    told = document(capsys, *eval_)["solve"]
    assert (told["theta"], told["patience"], told["accept"]) == (-2.5, 0, "agreement")


def test_a_rule_for_runs_that_must_agree_is_none_where_no_forms_are_found(model, capsys):
    keep_agreement(model)
    (model / "data" / "train" / "all__labels.npy").unlink()  # nothing tells a symmetry
    told = document(capsys, "eval", model, "--limit", "1", "--fidelity-puzzles", "1", "--solve")["solve"]
    assert (told["symmetry"], told["theta"], told["patience"], told["accept"]) == ("none", 0.0, 1, "margin")


def test_without_labels_and_a_training_split_a_symmetry_is_named(model, capsys):
    shutil.rmtree(model / "data" / "train")
    (model / "data" / "test" / "all__labels.npy").unlink()
    halting = ("halting", model, "--limit", "8", "--no-labels", "--calibration", "min-max", "--out", "found")
    for symmetry in ("none", "sudoku:2x2"):
        found = document(capsys, *halting, "--symmetry", symmetry)["models"]
        assert found[0]["symmetry"] == symmetry
    assert main([*map(str, halting)]) == 3
    error = capsys.readouterr().err
    assert "no example has labels" in error and "--symmetry NAME" in error


def test_a_broken_training_split_is_told(model, capsys):
    (model / "data" / "train" / "dataset.json").write_text("{")
    assert main(["halting", str(model), "--limit", "8", "--calibration", "min-max", "--out", "found"]) == 3
    assert "train" in (error := capsys.readouterr().err) and "dataset.json is not valid" in error
