"""`recurc halting`: a rule is found, shown, kept beside the checkpoint, and taken from there."""

from __future__ import annotations

import json
import shutil

import pytest

from recurc.cli.main import main
from recurc.evaluate.own_halting import HALTING_FILE
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


def test_what_cannot_be_done_is_refused_before_the_work(model, capsys, monkeypatch):
    monkeypatch.setattr("recurc.cli.halting.quantize_with_progress", lambda *a, **k: pytest.fail("calibrated"))
    assert main(["halting", "--data", str(model / "data")]) == 2 and "needs a CHECKPOINT" in capsys.readouterr().err
    assert main(["halting", str(model), "--limit", "1"]) == 2 and "one puzzle is too few" in capsys.readouterr().err
    assert main(["halting", str(model), "--first-steps", "17"]) == 2 and "compiled for 16" in capsys.readouterr().err
    (model / HALTING_FILE).mkdir()
    assert main(["halting", str(model), "--keep"]) == 3 and HALTING_FILE in capsys.readouterr().err


def test_a_broken_rule_stops_what_would_use_it(model, capsys):
    (model / HALTING_FILE).write_text("{}")
    for command in (["inspect", str(model)], ["eval", str(model), "--limit", "1", "--solve"]):
        assert main(command) == 3 and "halting.json is not valid" in capsys.readouterr().err
