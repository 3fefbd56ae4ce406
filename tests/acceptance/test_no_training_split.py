"""A dataset that has only a test split: enough for whatever does not learn from training puzzles."""

import json
import shutil

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
