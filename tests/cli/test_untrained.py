"""A checkpoint that solves no puzzle: no command draws a conclusion from the share of exact puzzles."""

import json
import shutil

import pytest

from recurc.cli.main import main
from recurc.evaluate.scores import Scores
from recurc.evaluate.stopping import Halting
from recurc.models.checkpoint import save
from recurc.report import tune_page
from recurc.report.wording import halting_text
from tests.cli.running import ran
from tests.randmodels import DATA, smallest_reasoner


@pytest.fixture(scope="module")
def untrained(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("untrained")
    save(smallest_reasoner(16, 6), folder)
    return str(folder)


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    return ran(capsys, *arguments, "--data", str(DATA / "data"), "--no-cache")


def test_sweep_has_no_front(capsys, tmp_path, untrained):
    status, out, _ = run(
        capsys,
        "sweep",
        untrained,
        "--limit",
        "8",
        "--engine",
        "fake",
        "--precisions",
        "int8,int4-naive",
        "--steps",
        "1,2",
        "--out",
        str(tmp_path),
    )
    assert status == 0 and "fp32 solves none of these puzzles" in out and "*int" not in out
    assert not any(row["pareto"] for row in json.loads((tmp_path / "sweep.json").read_text())["rows"])
    assert (tmp_path / "accuracy-macs.png").is_file()
    assert "fp32 solves none of these puzzles" in (tmp_path / "sweep.html").read_text()


def test_tune_by_accuracy_is_refused(capsys, tmp_path, untrained):
    status, _, err = run(capsys, "tune", untrained, "--limit", "16", "--tolerance", "20", "--out", str(tmp_path))
    assert status == 2 and "fp32 solves 0.0 % of 8 puzzles" in err and "--min-fidelity" in err


def test_a_loss_that_was_not_aimed_at_has_no_error_of_another_number():
    assert tune_page._lost({"lost": 0.031, "lost_se": None}) == "3.1"
    assert tune_page._lost({"lost": 0.031, "lost_se": 0.01}) == "3.1 ± 1.0"


def test_halting_may_gain():
    def told(lost: float) -> str:
        return halting_text(Halting(Scores(0.9, 0.9 - lost, 100), 1.0, lost, 0.02), 4, "recurc tune m")

    assert told(-0.05) == "stopping early gains 5.00 ± 2.00 points exact and saves 75 % of the steps"
    assert told(0.1) == (
        "stopping early costs 10.00 ± 2.00 points exact and saves 75 % of the steps; `recurc "
        "tune m` looks for a rule that keeps them"
    )


def test_without_training_puzzles_it_says_what_takes_none(capsys, tmp_path, untrained):
    shutil.copytree(DATA / "data" / "test", tmp_path / "test")
    status = main(["eval", untrained, "--data", str(tmp_path), "--limit", "2"])
    assert status == 3 and "pass --calibration min-max" in capsys.readouterr().err
    assert main(["eval", untrained, "--data", str(tmp_path), "--limit", "2", "--calibration", "min-max"]) == 0
