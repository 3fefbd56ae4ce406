"""`recurc tune --solve`: the procedure that asks again is searched too, confirmed on other puzzles, and written as a recipe."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from recurc.cli.common.project import Project, project_text, read_project
from recurc.cli.main import main
from recurc.errors import FidelityError, InputError
from recurc.evaluate.scores import Share
from recurc.evaluate.solving import Solved
from recurc.solve import Policy
from recurc.study.arms import Arm
from recurc.study.pricing import Prices
from recurc.study.settings import Aim
from recurc.study.tune_solving import NOISES, RUNS, SolveSearch
from recurc.study.units import Threads
from recurc.study.variants import Variant
from recurc.study.workbench import Workbench
from recurc.symmetries import draw, named
from recurc.targets.boards import load_board
from tests.randmodels import sudoku4
from tests.study.bench import split
from tests.study.searching import CONFIG, quiet
from tests.tools import need

FEW = (
    "--precisions",
    "int8,int4",
    "--carries",
    "fp32",
    "--h-cycles",
    "2",
    "--l-cycles",
    "3",
    "--limit",
    "80",
    "--tolerance",
    "9",
)


@pytest.fixture
def here(tmp_path, monkeypatch):
    need("host")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_procedure_is_found_confirmed_and_taken_from_the_recipe(here, capsys):
    target = ("tune", "sudoku4-tiny", "--target", "mcu-4mb-m7", "--write", "recurc.toml", "--no-cache", "--json")
    assert main([*target, *FEW, "--solve", "--worst-steps", "12"]) == 0
    found = json.loads(capsys.readouterr().out)
    best, held = found["choice"], found["held_out"]
    assert best["deficit"] + 2 * best["deficit_se"] <= 0.09 and best["policy_worst"] <= 12 and held["confirmed"]
    assert (best["n"], held["n"]) == (40, 40) and best["first_steps"] in RUNS and found["symmetry"] == "sudoku:2x2"
    assert best["seconds"] == min(best["seconds"], *(t["seconds"] for t in found["tried"])), "the default is one of its ways"
    project = read_project(here / "recurc.toml")
    assert project.precision == best["precision"] and project.halt["threshold"] == pytest.approx(best["theta"])
    written = ("first_steps", "restarts", "restart_steps", "accept")
    assert project.solving == {"symmetry": "sudoku:2x2", **{name: best[name] for name in written}}
    assert main(["eval", "--limit", "4", "--fidelity-puzzles", "1", "--solve", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["solve"]
    for name in (*written, "patience"):
        assert told[name] == best[name], name


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--worst-steps", "9"), "Add --solve"),
        (("--symmetry", "square"), "Add --solve"),
        (("--solve", "--min-fidelity", "0.9"), "exclude each other"),
    ],
)
def test_options_that_do_not_go_together(options, why, here, capsys):
    assert main(["tune", "sudoku4-tiny", *options]) == 2 and why in capsys.readouterr().err


def test_a_worst_case_that_no_run_has_is_refused(here):
    with pytest.raises(FidelityError, match="no procedure is short enough"):
        searched(CONFIG.halt_max_steps, worst=RUNS[0] - 1)


@pytest.mark.parametrize("steps", [2, 5, 7])
def test_a_model_may_be_compiled_for_any_number_of_steps(here, steps):
    """The runs that are tried have 3, 4, 6 or 8 steps, and none has more than the model."""
    most = max((r for r in RUNS if r <= steps), default=steps)
    found = searched(steps)
    assert [t.solved.policy.steps for t in found.tried] == [most] and found.choice.solved.policy.steps <= most


@pytest.mark.parametrize("noise", ["-0.5", "1e39", "true", "'much'"])
def test_a_recipe_may_have_noise(tmp_path, noise):
    made = Project(solving={"symmetry": "none", "restarts": 8, "noise": 0.3, "noise_at": "step"})
    (tmp_path / "good.toml").write_text(project_text(made))
    assert read_project(tmp_path / "good.toml").solving == made.solving
    (tmp_path / "bad.toml").write_text(f"[solve]\nnoise = {noise}\n")
    with pytest.raises(InputError, match="solve.noise"):
        read_project(tmp_path / "bad.toml")


def test_without_other_forms_restarts_have_noise(here):
    """Their lengths are tried apart from that of the first run."""

    def look(search):
        (arm,) = [Arm(v, search.prices(v)) for v in map(search.bench.resolve, [Variant("int8")])]
        asked = search._asked(arm, search.data)
        policies = search._policies(asked)
        noises = {p.noisy for p in policies if p.restarts}
        assert noises == {replace(n, seed=3) for n in NOISES} and {p.noisy for p in policies if not p.restarts} == {None}
        best = next(p for p in policies if p.restarts and p.steps == 4)
        around = search._around(best, asked)
        assert {(p.steps, p.restart_steps) for p in around} == {(3, 4), (4, 3)}
        assert {p.restarts for p in around} == {1, 2, 4, 8} and {p.noisy for p in around} == {best.noisy}
        never = replace(best, threshold=1e30)
        found = search._tried(arm, Solved.of(never, asked.answers(never), search.data), search._plain(search.data)).as_dict()
        assert found["noise"] == best.noise and found["noise_at"] == best.noise_at and found["seed"] == 3
        assert found["restarted"] == 12 and found["worst_steps"] == never.worst_steps
        return search.run([Variant("int8")])

    chosen = searched(5, forms=(), use=look).choice.solved.policy
    assert not chosen.restarts or chosen.noisy in {replace(n, seed=3) for n in NOISES}


def searched(steps, worst=None, forms=None, use=lambda search: search.run([Variant("int8")])):
    """A search over one variant of the trained model, with so many steps, on a few puzzles; all may be lost."""
    some, reasoner = split("test").take(24), sudoku4()
    reasoner = replace(reasoner, config=replace(reasoner.config, halt_max_steps=steps))
    bench = Workbench(reasoner, some.take(1), split("train"), puzzles=16, full=True)
    prices = Prices(reasoner.config, load_board("mps2-an500"))
    if forms is None:
        forms = draw(named("sudoku:2x2", 16, 6), 2, 0)
    with Threads(1) as threads:
        search = SolveSearch(
            bench, prices, Aim("exact", 3.0), "macs", some.take(12), some.take(None, 12), forms, worst, threads, quiet, 3
        )
        return use(search)


def test_votes_are_tried_where_the_margin_is_no_certificate():
    """Those that agreement was tried with; and none where nothing but right answers is called solved by the margin."""

    def tried(wrong: int, policy: Policy) -> SimpleNamespace:
        return SimpleNamespace(
            solved=SimpleNamespace(policy=policy, wrong_solved=wrong, right_if_solved=Share(200 - wrong, 200))
        )

    search = object.__new__(SolveSearch)
    agreed, noisy = Policy(3, 2, 3, 1.0, 0, "agreement"), Policy(3, 4, 3, accept="agreement", noise=0.5)
    found = [tried(9, Policy(3, 2, 3)), tried(30, Policy(4, 2, 4)), tried(0, agreed), tried(1, noisy)]
    assert search._votes(found) == [replace(agreed, accept="vote"), replace(noisy, accept="vote")]
    assert search._votes([tried(1, Policy(3, 2, 3)), *found]) == [] == search._votes(found[2:])
