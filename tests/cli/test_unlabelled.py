"""Puzzles without labels: what needs none works, and says that accuracy is not known; the rest says what is missing."""

import json
import shutil
from pathlib import Path

import pytest

from recurc.cli.main import main
from recurc.resources import bundled_models
from tests.cli.running import ran
from tests.tools import need

TINY = "sudoku4-tiny"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unlabelled") / "data"
    shutil.copytree(bundled_models()[TINY] / "data", folder)
    (folder / "test" / "all__labels.npy").unlink()
    return folder


def run(capsys, *arguments: str) -> tuple[int, str]:
    status, out, err = ran(capsys, *arguments)
    return status, out + err


@pytest.mark.parametrize(
    "command",
    [
        ("eval",),
        ("sweep", "--no-cache"),
        ("gate", "--no-cache"),
        ("study", "--no-cache"),
        ("tune", "--target", "mps2-an500", "--no-cache"),
    ],
)
def test_accuracy_needs_labels(capsys, data, command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, said = run(capsys, command[0], TINY, *command[1:], "--data", str(data), "--limit", "4")
    assert status == 3 and "no example has labels" in said and list(tmp_path.iterdir()) == []


def test_build_and_verify_need_none(capsys, data, tmp_path):
    need("host")
    status, said = run(
        capsys,
        "build",
        TINY,
        "--data",
        str(data),
        "--target",
        "host",
        "--out",
        str(tmp_path / "b"),
        "--calibration-puzzles",
        "4",
    )
    assert status == 0 and "no labels, so accuracy is not shown" in said and "% puzzles exact" not in said
    status, said = run(capsys, "verify", str(tmp_path / "b"), "--on", "host", "--limit", "2")
    assert status == 0 and "accuracy there: not known" in said and "2 of 2 puzzles equal" in said
    assert main(["verify", str(tmp_path / "b"), "--on", "host", "--limit", "2", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["exact"] is None and told["cell"] is None and told["bit_exact"]


def test_tune_by_fidelity_needs_none(capsys, data, tmp_path):
    need("host")
    status, said = run(
        capsys,
        "tune",
        TINY,
        "--data",
        str(data),
        "--target",
        "mps2-an500",
        "--limit",
        "16",
        "--min-fidelity",
        "0.8",
        "--precisions",
        "int8",
        "--calibration-puzzles",
        "8",
        "--no-cache",
        "--out",
        str(tmp_path / "t"),
    )
    assert status == 0 and "fidelity is to stay at 0.8 or above" in said and "nan" not in said
    for name in ("tune.html", "tune.md", "recurc.toml"):
        assert "nan" not in Path(tmp_path / "t" / name).read_text().lower()
