"""`recurc tune` from the command line: its recipe is built and runs in the emulator; project files; errors."""

import json
from pathlib import Path

import pytest

from recurc.cli.common.project import Project, project_text, read_project
from recurc.cli.main import main
from recurc.cli.tune import _frontier
from recurc.errors import InputError
from recurc.report.tune_page import confirmation
from tests.tools import need

TUNE = ["tune", "sudoku4-tiny", "--target", "mps2-an500", "--no-cache", "--jobs", "1", "--json", "--out", "tuned"]


def run(capsys, *args: str) -> tuple[int, dict]:
    code = main([*args])
    return code, json.loads(capsys.readouterr().out)


def test_recipe_is_built_and_runs_in_the_emulator(tmp_path, monkeypatch, capsys):
    need("mps2-an500")
    monkeypatch.chdir(tmp_path)
    code, told = run(
        capsys,
        *TUNE,
        "--precisions",
        "int8",
        "--carries",
        "int8",
        "--h-cycles",
        "1",
        "--l-cycles",
        "1",
        "--limit",
        "64",
        "--tolerance",
        "10",
        "--write",
        "recurc.toml",
        "--calibration-puzzles",
        "16",
    )
    assert code == 0 and told["schema"] == "recurc/tune/1"
    choice, held = told["choice"], told["held_out"]
    assert choice["precision"] == "int8" and choice["carry"] == "int8" and choice["n"] == held["n"] == 32
    assert choice["mean_steps"] < 16 and told["saves"]["macs"] > 2 and told["saves"]["image_bytes"] > 3
    assert told["saves"]["seconds"] == pytest.approx(told["full"]["seconds"] / choice["seconds"])
    assert choice in told["frontier"] and "exact_fp32" in held
    rule = held["deficit"] + 2 * held["deficit_se"] <= 0.1
    assert held["confirmed"] == rule and ("# Confirmed on 32 puzzles" in told["recipe"]) == rule
    assert all(line["exact"] > 0 for line in told["frontier"])
    page = Path("tuned/tune.html").read_text()
    assert "plus two standard errors is within the tolerance" in page, "why a cheaper one on the front was not chosen"
    assert "What was tried" in page and "mps2-an500" in page and Path("tuned/recurc.toml").read_text() == told["recipe"]
    assert "![What is kept at which cost](tune-front.png)" in Path("tuned/tune.md").read_text()
    assert Path("tuned/tune-front.png").stat().st_size > 1000
    project = read_project()
    assert project.lowering == {"h_cycles": 1, "l_cycles": 1, "steps": choice["max_steps"], "carry": "int8"}
    assert (project.precision, project.target, project.calibration_puzzles) == ("int8", "mps2-an500", 16)
    assert project.halt_threshold == choice["halt_threshold"]

    # What is built without a further word is the recipe, and the emulated board halts as it was tuned.
    code, built = run(capsys, "build", "--json", "--out", "made", "--accuracy-puzzles", "0")
    assert code == 0 and (built["precision"], built["carry"], built["target"]) == ("int8", "int8", "mps2-an500")
    assert (built["model"]["h_cycles"], built["model"]["l_cycles"], built["model"]["steps"]) == (1, 1, choice["max_steps"])
    assert built["image_bytes"] == choice["image_bytes"] and built["halt"] == project.halt
    code, verified = run(capsys, "verify", "made", "--on", "qemu", "--limit", "3", "--json", "--fidelity", "0")
    assert code == 0 and verified["bit_exact"]
    assert project.halt is not None and verified["mean_steps"] < choice["max_steps"]
    code, verified = run(capsys, "verify", "made", "--on", "host", "--limit", "3", "--json", "--fidelity", "0", "--no-halt")
    assert code == 0 and verified["mean_steps"] == choice["max_steps"]

    # On the same puzzles the built arithmetic scores what tuning said, and the command line wins over the file.
    code, scored = run(capsys, "eval", "--json", "--limit", "96", "--fidelity-puzzles", "1")
    every = (choice["exact"] * choice["n"] + held["exact"] * held["n"]) / 64
    assert code == 0 and scored["n"] == 96 and abs(scored["exact"] - every) < 0.15
    assert scored["mean_steps"] == pytest.approx(choice["mean_steps"], rel=0.2)
    code, other = run(
        capsys, "eval", "--json", "--limit", "4", "--steps", "2", "--no-halt", "--carry", "fp32", "--fidelity-puzzles", "1"
    )
    assert (other["steps"], other["carry"], other["mean_steps"]) == (2, "fp32", 2)
    code, report = run(capsys, "report", "--json")
    assert (report["target"], report["model"]["h_cycles"]) == ("mps2-an500", 1) and "int8" in report["label"]


def test_a_project_file_reads_as_it_was_written(tmp_path):
    knobs = {"h_cycles": 1, "l_cycles": 2, "steps": 8, "carry": "fp16", "puzzle_table": "int8"}
    project = Project("a", 'b "c"', "int4", {"x.*": "int8"}, "mse", 64, 3, -0.5, 2, 3, "stm32h7", 0.5, knobs)
    path = tmp_path / "some.toml"
    path.write_text(project_text(project, "said\nabove"))
    assert read_project(path) == project and path.read_text().startswith("# said\n# above\n")
    path.write_text(project_text(Project(lowering={"steps": 3})))
    assert read_project(path) == Project(lowering={"steps": 3}) and read_project(path).halt is None
    path.write_text(project_text(Project(halt_threshold=float("inf"))))
    assert read_project(path).halt == {"threshold": float("inf"), "min_steps": 1, "patience": 0}
    path.write_text("[schedule]\nhalt_threshold = 1.5\n")  # from before there was a patience
    assert read_project(path).halt["patience"] == read_project(path).value("patience") == 0
    path.write_text("[schedule]\npatience = 2\n")
    assert read_project(path).halt is None and read_project(path).value("patience") == 2


@pytest.mark.parametrize(
    "text, why",
    [
        ("[schedule]\nstep = 3", "unknown: 'schedule.step'"),
        ("[schedle]\n", "unknown: 'schedle'"),
        ("[schedule]\nsteps = 0", "schedule.steps is not a whole number from 1 to 255"),
        ("[schedule]\nh_cycles = 2.5", "schedule.h_cycles"),
        ("[schedule]\nmin_steps = true", "schedule.min_steps"),
        ("[schedule]\npatience = 256", "schedule.patience is not a whole number from 0 to 255"),
        ("[schedule]\nhalt_threshold = nan", "schedule.halt_threshold is not a number"),
        ("[build]\ncarry = 'fp8'", "build.carry is not one of fp32, fp16, int8"),
        ("[build]\ntarget = 4", "build.target is not text"),
        ("[quantize]\nseed = -1", "quantize.seed"),
        ("[quantize]\ncalibration = 'best'", "quantize.calibration is not one of"),
        ("[schedule]\nsteps = 3\nmin_steps = 2", "line 3: schedule.min_steps has no effect without schedule.halt_threshold"),
        ("[schedule]\nhalt_threshold = 1e39", "line 2: schedule.halt_threshold is not a number of 32 bits"),
        ("[quantize]\n\nprecision = 'int5'", "line 3: quantize.precision is no precision: 'int5', did you mean int"),
        ("quantize = {'layers' = {'a.b' = 'int9'}}", "line 1: quantize.layers.'a.b' is no precision: 'int9'"),
        ("[quantize.layers]\nx = 'int4'\n'y' = 'no'", "line 3: quantize.layers.'y' is no precision: 'no'"),
        ("quantize.precison = 'int4'", "line 1: unknown: 'quantize.precison', did you mean precision?"),
        ("# steps\n[schedule]\nsteps = [\n1]", "schedule.steps is not a whole number"),
        ("[build]\ntarget = 'nucleo'", "line 2: build.target is no board: 'nucleo', the nearest known: nucleo-h743"),
        ("[build]\ntarget = ''\n[model]\ndata = ''", "line 2: build.target is empty; line 4: model.data is empty"),
    ],
)
def test_mistakes_in_a_project_file_are_named(tmp_path, text, why):
    path = tmp_path / "wrong.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"wrong.toml is not valid") as e:
        read_project(path)
    assert why in e.value.why


RECIPE = """[model]
checkpoint = "sudoku4-tiny"
[quantize]
precision = "int4-naive"
calibration = "gptq"
[quantize.layers]
"*.no_proj.weight" = "int8"
"""


@pytest.mark.parametrize(
    "more, code, line, what",
    [
        ([], 3, 7, "no layer is called '*.no_proj.weight'"),
        (["--layer", "lm_head.weight=int8"], 3, 7, "no layer is called '*.no_proj.weight'"),
        (["--precision", "int8"], 3, 5, "int8 has no calibration method 'gptq'"),
        (["--precision", "int8", "--calibration", "gptq"], 2, 0, "int8 has no calibration method 'gptq'"),
    ],
)
def test_what_a_project_file_says_is_not_blamed_on_the_command_line(tmp_path, monkeypatch, capsys, more, code, line, what):
    monkeypatch.chdir(tmp_path)
    Path("recurc.toml").write_text(RECIPE)
    found, told = run(capsys, "build", *more, "--json")
    assert found == code and what in told["error"]["what"]
    assert told["error"]["where"].startswith(f"recurc.toml, line {line}, quantize." if line else "--")


@pytest.mark.parametrize(
    "more, where", [([], "recurc.toml, line 4, quantize.precision"), (["--precision", "int4-naive"], "--precision")]
)
def test_a_lossy_precision_is_found_where_it_stands(tmp_path, monkeypatch, capsys, more, where):
    monkeypatch.chdir(tmp_path)
    Path("recurc.toml").write_text(RECIPE.partition("calibration")[0])
    found, told = run(capsys, "build", *more, "--json")
    assert found == 5 and told["error"]["where"] == where


def test_what_tune_refuses(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for args, code, words in (
        (["--tolerance", "2", "--min-fidelity", "0.9"], 2, "exclude each other"),
        (["--precisions", "int4-naive"], 2, "comparison only"),
        (["--carries", "int4"], 2, "int4"),
        (["--target", "host", "--minimize", "time"], 2, "no time is known"),
        (["--limit", "16", "--tolerance", "2"], 2, "cannot tell so small a loss"),
    ):
        assert main([*TUNE, *args]) == code
        assert words in capsys.readouterr().err


def test_the_front_lists_nothing_that_solves_nothing():
    def line(exact, cost, chosen=False):
        return {"macs": cost, "image_bytes": 1, "deficit": 0.9 - exact, "deficit_se": 0.01, "exact": exact, "chosen": chosen}

    best = line(0.9, 9, True)
    found = _frontier([line(0.0, 1), line(0.3, 3), line(0.6, 5)], best, "macs", "exact")
    assert [p["exact"] for p in found] == [0.3, 0.6, 0.9]
    assert len(_frontier([line(0.0, 1)], best, "macs", "phi")) == 2, "what is aimed at is another thing there"


@pytest.mark.parametrize(
    "deficit, error, words",
    [
        (
            0.01,
            0.005,
            "Confirmed on 50 puzzles that the search has not seen, by the rule of the search: the loss plus two standard "
            "errors is within 3 points there too (1.0 ± 0.5 points).",
        ),
        (0.02, 0.01, "Not confirmed by the rule of the search"),
        (0.035, 0.01, "over the tolerance, by less than a standard error"),
    ],
)
def test_what_the_confirmation_says(deficit, error, words):
    held = {"n": 50, "deficit": deficit, "deficit_se": error, "phi": 1 - deficit, "confirmed": deficit + 2 * error <= 0.03}
    assert words in confirmation({"held_out": held, "aim": {"kind": "exact", "limit": 0.03}})
    said = confirmation({"held_out": held, "aim": {"kind": "phi", "limit": 0.03}})
    assert f"{1 - deficit:.4f} ± {error:.4f}" in said and said.startswith("Confirmed") == held["confirmed"]
