"""A dataset that has only a test split: enough for whatever does not learn from training puzzles."""

import errno
import json
import os
import shutil

import pytest

from recurc.cli.main import main
from recurc.resources import bundled_models


def test_eval_without_a_training_split(tmp_path, capsys):
    shutil.copytree(bundled_models()["sudoku4-tiny"] / "data" / "test", tmp_path / "data" / "test")
    common = ("--data", str(tmp_path / "data"), "--limit", "4", "--steps", "1", "--fidelity-puzzles", "1", "--json")
    for precision, more in (("int8", ()), ("int4", ("--calibration", "min-max"))):
        assert main(["eval", "sudoku4-tiny", "--precision", precision, *more, *common]) == 0
        said = capsys.readouterr()
        assert json.loads(said.out)["n"] == 4 and "no calibration puzzles" in said.err
    assert main(["eval", "sudoku4-tiny", "--precision", "int4", *common]) == 3
    assert "train" in json.loads(capsys.readouterr().out)["error"]["what"]


def _with_data(folder):
    """A copy of a bundled checkpoint; the training labels in it."""
    shutil.copytree(bundled_models()["sudoku4-tiny"], folder / "ck")
    return folder / "ck/data/train/all__labels.npy"


@pytest.mark.parametrize("command", [
    "eval ck --precision int8 --limit 1 --steps 1", "sweep ck --precisions int8 --limit 1 --steps 1 --jobs 1 --out out",
    "gate ck --limit 1 --steps 1 --jobs 1 --out out", "study ck --methods weights --limit 1 --steps 1 --jobs 1 --out out",
    "tune ck --limit 2 --precisions int8 --carries fp32 --calibration min-max --jobs 1",
])  # fmt: skip
@pytest.mark.parametrize("fault", ["damaged", "refused"])
def test_a_training_split_that_is_there_is_not_passed_over(tmp_path, monkeypatch, capsys, command, fault):
    """Only one that is absent: without its puzzles the answer is another one."""
    labels = _with_data(tmp_path)
    monkeypatch.chdir(tmp_path)
    look = os.stat

    def refusing(path, *args, **options):
        if str(path).endswith("train/all__labels.npy"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return look(path, *args, **options)

    if fault == "damaged":
        labels.write_bytes(labels.read_bytes()[:-1])
    else:
        monkeypatch.setattr(os, "stat", refusing)
    assert main(command.split()) == 3
    said = capsys.readouterr().err
    assert "all__labels.npy" in said and "no calibration puzzles" not in said and not (tmp_path / "out").exists()
