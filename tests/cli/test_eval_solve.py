"""`recurc eval --solve`: the procedure with restarts beside plain steps, in text and JSON; options that do not go together."""

from __future__ import annotations

import json

import numpy as np
import pytest

import recurc
from recurc.cli.common.solving import solved_text
from recurc.cli.main import main
from recurc.errors import UsageError
from recurc.resources import bundled_models
from recurc.solve import Policy
from recurc.symmetries import draw, named
from tests.tools import need

MODEL = "sudoku6-attn"
EVAL = ("eval", MODEL, "--precision", "int8", "--limit", "24", "--fidelity-puzzles", "2", "--solve",
        "--halt-threshold", "0")  # fmt: skip


@pytest.fixture(autouse=True)
def compiler():
    need("host")


def test_the_document_and_the_table(capsys):
    assert main([*EVAL, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    solve = document["solve"]
    assert solve["symmetry"] == "sudoku:2x3" and (solve["first_steps"], solve["restarts"], solve["restart_steps"]) == (8, 8, 8)
    assert (solve["accept"], solve["theta"], solve["patience"]) == ("margin", 0.0, 1)
    assert solve["exact"] > document["exact"] and solve["mean_steps"] < document["steps"] and solve["restarted"] >= 1
    assert solve["solved"] - solve["wrong_solved"] + solve["right_unsure"] == round(24 * solve["exact"])
    assert "symmetry: sudoku:2x3, the largest that the labels of train allow" in document["notes"]
    assert main([*EVAL, "--accept", "agreement", "--restarts", "3", "--first-steps", "4", "--restart-steps", "3"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "with restarts: 4 steps, then up to 3 runs of 3 in another form (sudoku:2x3); believed is the answer of the" in out
    assert "of 24 puzzles are called solved" in out and "steps on average" in out


def test_python_gives_the_same(capsys):
    assert main([*EVAL, "--restarts", "2", "--symmetry", "sudoku:2x3", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["solve"]
    folder = bundled_models()[MODEL] / "data"
    model = recurc.load(MODEL).quantize("int8")
    forms = draw(named("sudoku:2x3", 36, 8), 2, 0)
    found = model.solve(folder, Policy(8, 2, 8), forms, 24)
    assert {name: told[name] for name in found.as_dict()} == found.as_dict() and found.tokens.dtype == np.uint8
    noisy = model.solve(folder, Policy(2, 2, 3, threshold=99.0, noise=0.5, seed=1), (), 2)
    assert (noisy.restarts == 2).all() and (noisy.steps == 8).all()
    told = {name: noisy.as_dict()[name] for name in ("noise", "noise_at", "seed", "restarted")}
    assert told == {"noise": 0.5, "noise_at": "start", "seed": 1, "restarted": 2}
    assert "with noise of 0.5 at the start" in solved_text(noisy, "none")[0]
    with pytest.raises(UsageError, match="17 steps cannot be run"):
        model.solve(folder, Policy(8, 2, 17), forms, 1)


@pytest.mark.parametrize(
    ("options", "code", "why"),
    [
        (("--symmetry", "square"), 3, "in form 1, example"),
        (("--symmetry", "sudoku:3x3"), 2, "boxes of 3x3 make a grid of 81 cells"),
        (("--first-steps", "17"), 2, "the model is compiled for 16"),
        (("--accept", "agreement", "--restarts", "0"), 2, "agrees with nobody"),
        (("--restarts", "256"), 2, "--restarts"),
        (("--noise-at", "step"), 2, "no noise to put anywhere"),
        (("--noise", "1e39"), 2, "no positive number of 32 bits"),
        (("--noise", "-1"), 2, "--noise"),
        (("--noise", "1", "--restarts", "0"), 2, "no restarts to have noise"),
        (("--steps", "4", "--restart-steps", "5"), 2, "the model is compiled for 4"),
    ],
)
def test_what_cannot_be_solved_so_is_refused_before_the_calibration(options, code, why, capsys, monkeypatch):
    monkeypatch.setattr("recurc.cli.eval.quantize_with_progress", lambda *a, **k: pytest.fail("calibrated"))
    assert main([*EVAL, *options]) == code
    assert why in capsys.readouterr().err


def test_a_place_for_no_noise_in_the_project_file_is_refused(capsys, monkeypatch, tmp_path):
    def stop(*args, **options):
        raise UsageError("it calibrates")

    monkeypatch.setattr("recurc.cli.eval.quantize_with_progress", stop)
    project = tmp_path / "recurc.toml"
    project.write_text('[solve]\nnoise_at = "step"\n')
    assert main([*EVAL, "--project", str(project)]) == 3
    error = " ".join(capsys.readouterr().err.split())
    assert "no noise to put anywhere" in error and "solve.noise_at" in error
    for noise in ("0", "1"):
        assert main([*EVAL, "--project", str(project), "--noise", noise]) == 2
        assert "it calibrates" in capsys.readouterr().err


def test_options_of_solve_alone_are_refused(capsys):
    assert main(["eval", MODEL, "--limit", "1", "--restarts", "2"]) == 2
    assert "--restarts" in (error := capsys.readouterr().err) and "Add --solve" in error


def test_where_there_is_no_other_form_nothing_is_said_of_restarts(capsys):
    plain = ["eval", MODEL, "--precision", "int8", "--limit", "1", "--fidelity-puzzles", "1", "--solve"]
    assert main([*plain, "--symmetry", "none", "--json"]) == 0
    solve = json.loads(capsys.readouterr().out)["solve"]
    assert solve["restarts"] == solve["restarted"] == 0 and solve["symmetry"] == "none"
    assert main([*plain, "--restarts", "0"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "without restarts" in out and "nan" not in out and "1 of 1 puzzles" in out
    assert main([*plain, "--symmetry", "none", "--accept", "agreement"]) == 2
    assert "one run agrees with nobody" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "named_option"),
    [
        (("--halt-threshold", "1e39"), "--halt-threshold"),
        (("--first-steps", "17"), "--first-steps"),
        (("--min-steps", "2"), "--min-steps"),
    ],
)
def test_the_option_that_is_wrong_is_named(options, named_option, capsys, recwarn):
    assert main([*EVAL, *options]) == 2
    assert named_option in capsys.readouterr().err and not list(recwarn)
