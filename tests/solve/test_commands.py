"""`build --solve`, `verify --solve` and `run --solve`: forms lie in the image, and the device answers as the host does."""

from __future__ import annotations

import json
import zlib

import numpy as np
import pytest

import recurc
from recurc.build.manifest import load_build
from recurc.cli.main import main
from recurc.dataset import load_dataset
from recurc.emit.readback import read_model
from recurc.errors import UsageError
from recurc.evaluate.gate import Answers
from recurc.solve import Policy
from recurc.symmetries import draw, named
from recurc.targets.host import HostEngine
from tests.randmodels import DATA
from tests.tools import need

MODEL, PUZZLES = str(DATA / "checkpoint"), str(DATA / "data")
UNSURE = ("--halt-threshold", "99")


def said(capsys, *arguments: str, code: int = 0) -> dict:
    capsys.readouterr()
    assert main([*arguments, "--json"]) == code
    return json.loads(capsys.readouterr().out)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    need("mps2-an500")
    out = tmp_path_factory.mktemp("solve") / "b"
    target = ("--target", "mps2-an500", "--precision", "int4", "--accuracy-puzzles", "0")
    solve = ("--solve", "--symmetry", "sudoku:2x2", "--restarts", "3", "--first-steps", "4", "--restart-steps", "2",
             "--noise", "0.25", "--noise-at", "step", "--seed", "7")  # fmt: skip
    assert main(["build", MODEL, "--data", PUZZLES, *target, *solve, "--out", str(out)]) == 0
    return out


def test_the_build_says_how_it_answers(built, capsys):
    kept = load_build(built).details["solve"]
    assert kept == {"symmetry": "sudoku:2x2", "forms": 3, "steps": 4, "restarts": 3, "restart_steps": 2, "threshold": 0.0,
                    "patience": 1, "accept": "margin", "noise": 0.25, "noise_at": "step", "seed": 7}  # fmt: skip
    assert said(capsys, "report", str(built))["solve"] == kept
    capsys.readouterr()
    assert main(["report", str(built)]) == 0
    how = "3 restarts of 2 in other forms (sudoku:2x2) while there are some, with noise of 0.25 before each step"
    assert how in " ".join(capsys.readouterr().out.split())


def test_the_image_holds_the_forms_that_the_host_draws(built):
    data, build = load_dataset(PUZZLES, "test"), load_build(built, trust=True)
    engine = HostEngine(build.host_library, build.host_image)
    assert engine.info.forms == 3
    for number, form in enumerate(draw(named("sudoku:2x2", 16, data.vocab_size), 3, 7), start=1):
        solving = engine.solving(data.inputs[0], Policy(1, 3, 1, threshold=99.0))
        steps = solving.steps()
        for _ in range(number + 1):
            next(steps)
        assert engine.raw("input") == form.present(data.inputs[0].astype(np.uint8)).tobytes()


@pytest.mark.parametrize("on", ["host", "qemu"])
def test_a_device_is_verified_through_restarts(built, capsys, on):
    found = said(capsys, "verify", str(built), "--solve", "--on", on, "--limit", "3", *UNSURE)
    assert found["bit_exact"] and found["n"] == 3 and found["fidelity"] is None
    assert [(p["steps"], p["restarts"], p["solved"], p["equal_steps"]) for p in found["puzzles"]] == [(10, 3, False, 10)] * 3
    assert found["solve"] == {"solved": 0, "wrong_solved": 0, "restarted": 3, "mean_steps": 10.0, "worst_steps": 10}
    sure = said(capsys, "verify", str(built), "--solve", "--on", on, "--limit", "3", "--tokens")
    assert sure["solve"]["solved"] == 3 and all(p["restarts"] == 0 for p in sure["puzzles"])
    labels = load_dataset(PUZZLES, "test").labels
    assert [p["tokens"] for p in sure["puzzles"]] == labels[:3].tolist()


def test_a_build_refuses_what_it_has_not(built, capsys):
    for asked, why in ((("--restarts", "4"), "room for 3 runs"), (("--restarts", "4", "--noise", "0"), "holds 3"),
                       (("--noise", "0", "--noise-at", "start"), "no noise to put")):  # fmt: skip
        error = said(capsys, "verify", str(built), "--solve", "--on", "host", "--limit", "1", *asked, code=2)["error"]
        assert why in f"{error['what']} {error['why']}"
    assert main(["verify", str(built), "--solve", "--on", "host", "--limit", "1", *UNSURE, "--noise", "3e38"]) not in (0, 1)
    assert "finite" in capsys.readouterr().err


def test_without_restarts_a_builds_noise_is_left_out(built, capsys):
    found = said(capsys, "verify", str(built), "--solve", "--on", "host", "--limit", "1", *UNSURE, "--restarts", "0")
    assert found["bit_exact"] and found["puzzles"][0]["restarts"] == 0
    asked = ("--solve", "--on", "host", "--restarts", "0", "--noise", "1")
    assert "no restarts to have noise" in said(capsys, "verify", str(built), *asked, code=2)["error"]["what"]


def test_verify_draws_each_run(built, capsys):
    capsys.readouterr()
    assert main(["verify", str(built), "--solve", "--on", "host", "--limit", "1", "--show", *UNSURE]) == 0
    shown = capsys.readouterr().out
    assert all(f"asked again, restart {run}" in shown for run in (1, 2, 3)) and "unsure" in shown
    assert "answered there: 0 of 1 called solved" in " ".join(shown.split())


def test_a_journal_goes_on_only_with_the_same_way_to_answer(built, capsys, tmp_path):
    journal = ("--journal", str(tmp_path / "j.jsonl"))
    arguments = ("verify", str(built), "--on", "host", *journal)
    said(capsys, *arguments, "--solve", "--limit", "1")
    more = said(capsys, *arguments, "--solve", "--limit", "2", "--resume")
    assert more["resumed"] == 1 and more["solve"]["solved"] == 2
    for other in (("--solve", *UNSURE), ()):
        failed = said(capsys, *arguments, *other, "--limit", "2", "--resume", code=2)
        assert "way to answer" in failed["error"]["why"]


def test_run_lets_the_device_answer(built, capsys):
    data = load_dataset(PUZZLES, "test")
    found = said(capsys, "run", str(built), "--solve", "--limit", "2", "--restarts", "1", *UNSURE)
    assert found["solve"]["restarts"] == 1 and found["solve"]["steps"] == 4
    for i, answer in enumerate(found["answers"]):
        assert (answer["total_steps"], answer["restarts"], answer["solved"]) == (6, 1, False)
        assert answer["answer"] == data.labels[i].tolist() and answer["exact"]
    capsys.readouterr()
    assert main(["run", str(built), "--solve", "--on", "qemu"]) == 0
    assert "solved" in capsys.readouterr().out


def test_python_asks_a_device_for_its_answer(built):
    data = load_dataset(PUZZLES, "test")
    with recurc.connect(built, on="host") as device:
        (sure,) = device.solve(data.inputs[0])
        (unsure,) = device.solve(data.inputs[:1], policy=Policy(2, 2, 1, threshold=99.0))
        assert sure.solved and sure.tokens.tolist() == data.labels[0].tolist() and "solved" in repr(sure)
        assert (unsure.solved, unsure.steps, unsure.restarts) == (False, 4, 2)
        assert zlib.crc32(bytes(unsure.as_dict()["answer"])) == zlib.crc32(unsure.tokens.astype(np.uint8).tobytes())
        with pytest.raises(UsageError):
            device.solve(data.inputs[0], policy=Policy(17))


def test_what_a_step_had_is_gone_once_the_device_has_answered(built):
    data = load_dataset(PUZZLES, "test")
    with recurc.connect(built, on="host") as device:
        step = next(iter(device.steps(data.inputs[0])))
        device.solve(data.inputs[1])
        with pytest.raises(UsageError, match="gone"):
            step.tensor("z_H")


def test_forms_change_nothing_for_the_independent_check(built, tmp_path, capsys):
    pytest.importorskip("onnxruntime")
    assert main(["export", str(built), "--onnx", str(tmp_path / "onnx")]) == 0
    assert said(capsys, "verify", str(built), "--on", "onnxruntime", "--limit", "1")["n"] == 1
    forms = read_model(load_build(built)).program.symmetries
    assert forms == draw(named("sudoku:2x2", 16, load_dataset(PUZZLES, "test").vocab_size), 3, 7)


def test_restarts_of_none_need_nobody_to_agree(built, tmp_path, capsys):
    """Of a build that believes two runs that agree, too."""
    out, toml = tmp_path / "b", tmp_path / "recurc.toml"
    toml.write_text('[solve]\nsymmetry = "sudoku:2x2"\nrestarts = 2\nfirst_steps = 3\nrestart_steps = 1\naccept = "agreement"\n'
                    "[schedule]\nhalt_threshold = 0.25\npatience = 2\n")  # fmt: skip
    arguments = ("--data", PUZZLES, "--target", "mps2-an500", "--precision", "int4", "--accuracy-puzzles", "0")
    assert main(["build", MODEL, *arguments, "--solve", "--project", str(toml), "--out", str(out)]) == 0
    assert load_build(out).details["solve"] == {
        "symmetry": "sudoku:2x2", "forms": 2, "steps": 3, "restarts": 2, "restart_steps": 1, "threshold": 0.25, "patience": 2,
        "accept": "agreement"}  # fmt: skip
    found = said(capsys, "verify", str(out), "--solve", "--on", "host", "--limit", "1", "--restarts", "0")
    assert found["bit_exact"] and found["puzzles"][0]["restarts"] == 0
    assert said(capsys, "run", str(out), "--solve", "--limit", "1")["solve"]["accept"] == "agreement"


def test_a_build_without_forms_answers_in_one_run_everywhere(tmp_path, capsys):
    out = tmp_path / "b"
    arguments = ("--data", PUZZLES, "--target", "host", "--precision", "int4", "--accuracy-puzzles", "0")
    assert main(["build", MODEL, *arguments, "--out", str(out)]) == 0
    found = said(capsys, "run", str(out), "--solve", "--limit", "1", *UNSURE)
    with recurc.connect(out, on="host") as device:
        (own,) = device.solve(load_dataset(PUZZLES, "test").inputs[0], policy=Policy(16, threshold=99.0))
    assert found["answers"][0]["total_steps"] == own.steps == 16 and not own.solved


@pytest.mark.parametrize(
    ("command", "arguments", "why"),
    [
        ("verify", ("--restarts", "1"), "Add --solve"),
        ("verify", ("--solve", "--restarts", "4"), "room for 3"),
        ("verify", ("--solve", "--steps", "2"), "--steps"),
        ("verify", ("--solve", "--halt"), "--halt"),
        ("verify", ("--solve", "--fidelity", "1"), "--fidelity"),
        ("verify", ("--solve", "--on", "onnxruntime"), "onnxruntime"),
        ("verify", ("--solve", "--first-steps", "17"), "compiled for 16"),
        ("run", ("--solve", "--steps", "2"), "by itself"),
    ],
)
def test_what_does_not_go_together_is_refused(built, capsys, command, arguments, why):
    error = said(capsys, command, str(built), *arguments, code=2)["error"]
    assert why in " ".join(map(str, error.values()))


def test_a_symmetry_that_the_labels_contradict_builds_nothing(tmp_path, capsys):
    solve = ("--solve", "--symmetry", "square+tokens:1-5", "--out", str(tmp_path / "b"))
    failed = said(capsys, "build", MODEL, "--data", PUZZLES, "--target", "mps2-an500", *solve, code=3)
    assert "symmetr" in failed["error"]["what"] + failed["error"]["why"] and not (tmp_path / "b").exists()


def test_a_build_shows_how_its_procedure_answers(built, tmp_path, capsys):
    solve = ("--solve", "--symmetry", "sudoku:2x2", "--restarts", "2")
    arguments = ("--data", PUZZLES, "--target", "mps2-an500", "--precision", "int4", "--out", str(tmp_path / "b"))
    found = said(capsys, "build", MODEL, *arguments, *solve, "--min-fidelity", "0.99999")
    answers = found["accuracy"]["answers"]
    assert found["fidelity"] < 0.99999, "else this tells nothing"
    assert (
        answers["exact"] == 1.0
        and answers["wrong_solved"] == 0
        and answers["solved"] == found["accuracy"]["n"] == 128
        and answers["mean_steps"] < 4
    )
    assert load_build(tmp_path / "b").details["min_fidelity_from"].endswith("passed by its answers")
    capsys.readouterr()
    assert main(["report", str(tmp_path / "b")]) == 0
    assert "asked again 100.0 % puzzles exact" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ((), "fidelity is"),
        (("--solve", "--symmetry", "sudoku:2x2", "--accuracy-puzzles", "31"), "too few to tell"),
        (("--solve", "--symmetry", "sudoku:2x2", "--accuracy-puzzles", "0"), "fidelity is"),
    ],
)
def test_a_low_fidelity_is_refused_where_answers_do_not_tell(tmp_path, capsys, options, why):
    need("mps2-an500")
    arguments = ("--data", PUZZLES, "--target", "mps2-an500", "--precision", "int4", "--out", str(tmp_path / "b"))
    error = said(capsys, "build", MODEL, *arguments, "--min-fidelity", "0.99999", *options, code=5)["error"]
    assert why in error["what"] + error["why"] and not (tmp_path / "b").exists()


def test_answers_are_kept_only_where_they_are_as_good_as_those_of_fp32():
    assert Answers(32, 31, 31, 3.0).keep and Answers(64, 64, 60, 3.0).keep
    assert not Answers(32, 30, 31, 3.0).keep and not Answers(31, 31, 31, 3.0).keep
