"""What cannot end well is refused before the work: no calibration, no measurement, no answer is waited for."""

from __future__ import annotations

import json
import os
import pydoc
import shutil

import numpy as np
import pytest

from recurc.cli.main import main
from recurc.resources import bundled_models

NAME = "sudoku4-tiny"


PLACES = (
    "recurc.quant.calibrate.calibrate", "recurc.api.model.calibrate", "recurc.study.workbench.Workbench.evaluate",
    "recurc.study.tune.Search.run", "recurc.study.study.study", "recurc.study.ladder.measure_ladder",
    "recurc.verify.answers.answer", "recurc.api.model.quantize_model",
)  # fmt: skip


class Worked(Exception):
    """The long work was begun."""


@pytest.fixture
def no_work(monkeypatch):
    def begun(*args, **options):
        raise Worked

    for place in PLACES:  # all before the first is replaced: a module that is imported later would keep the replacement
        pydoc.locate(place)
    for place in PLACES:
        monkeypatch.setattr(place, begun)


def refused(capsys, *args, code=3) -> str:
    found = main([str(a) for a in args])
    told = capsys.readouterr()
    assert found == code, told.err
    assert "bug" not in told.err and told.out == ""
    return told.err


COMMANDS = {
    "sweep": ("sweep", NAME, "--out"), "gate": ("gate", NAME, "--out"), "study": ("study", NAME, "--out"),
    "tune": ("tune", NAME, "--out"), "recipe": ("tune", NAME, "--write"),
    "layers": ("layers", NAME, "--budget", "90000", "--write"),
    "run": ("run", NAME, "--out"), "export": ("export", NAME, "--onnx"), "build": ("build", NAME, "--out"),
}  # fmt: skip
FILES = ("recipe", "layers", "run")


@pytest.mark.parametrize("name", COMMANDS)
def test_a_place_that_cannot_be_written(name, no_work, capsys, tmp_path):
    file = tmp_path / "file.npy"
    file.write_text("")
    (tmp_path / "folder.npy").mkdir()
    below = file / "more.npy"
    for out in (below, tmp_path / "folder.npy") if name in FILES else (below, file):
        told = refused(capsys, *COMMANDS[name], out, code=2 if (name, out.name) in _USAGE else 3)
        assert out.name in told
    assert sorted(os.listdir(tmp_path)) == ["file.npy", "folder.npy"]


_USAGE = {("run", "folder.npy"), ("tune", "file.npy"), ("recipe", "folder.npy"), ("layers", "folder.npy"),
          ("sweep", "file.npy"), ("gate", "file.npy"), ("study", "file.npy"), ("build", "file.npy")}  # fmt: skip


@pytest.mark.parametrize("name", COMMANDS)
def test_a_good_place_goes_on_to_the_work(name, no_work, capsys, tmp_path):
    assert main([*COMMANDS[name], str(tmp_path / "out.npy")]) == 1 and "Worked" in capsys.readouterr().err
    assert os.listdir(tmp_path) == []


def test_a_budget_that_nothing_fits(no_work, capsys):
    assert "int4 takes 29,184 bytes already" in refused(capsys, "layers", NAME, "--budget", 1000, code=4)


def test_a_threshold_that_cannot_be_kept(no_work, capsys, tmp_path):
    shutil.copytree(bundled_models()[NAME], tmp_path / "m")
    (tmp_path / "m/fidelity.json").unlink(missing_ok=True)
    (tmp_path / "m/fidelity.json").mkdir()
    assert "fidelity.json" in refused(capsys, "gate", tmp_path / "m", "--keep")


@pytest.mark.parametrize("command", ["build", "eval"])
def test_a_test_split_that_is_broken(command, no_work, capsys, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(bundled_models()[NAME] / "data", data)
    np.save(data / "test/all__labels.npy", np.zeros((3, 3), np.uint8))
    args = ["--target", "host", "--out", tmp_path / "b"] if command == "build" else []
    assert "labels.npy shape" in refused(capsys, command, NAME, "--data", data, *args)


def test_a_dataset_of_other_puzzles(no_work, capsys, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(bundled_models()[NAME] / "data", data)
    for split in ("train", "test"):
        path = data / split / "dataset.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "num_puzzle_identifiers": 9}))
    for args in (("eval", NAME), ("build", NAME, "--out", tmp_path / "b"), ("layers", NAME)):
        assert "9 puzzle identifiers where the model has 1" in refused(capsys, *args, "--data", data)


def test_a_dataset_without_a_test_split_is_built_with(capsys, tmp_path, no_work):
    shutil.copytree(bundled_models()[NAME] / "data/train", tmp_path / "data/train")
    assert main(["build", NAME, "--data", str(tmp_path / "data"), "--out", str(tmp_path / "b")]) == 1
    told = capsys.readouterr().err
    assert "no test split, so accuracy is not shown" in told and "Worked" in told


@pytest.mark.parametrize(
    "out", ["x" * 300, "new/" + "x" * 300 + "/more", "/".join(["y" * 200] * 25)], ids=["name", "above", "path"]
)
@pytest.mark.parametrize("name", COMMANDS)
def test_a_name_that_no_filesystem_takes(name, out, tmp_path, capsys, no_work, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = refused(capsys, *COMMANDS[name], out + ".npy" * (name in FILES))
    assert "File name too long" in told or (name in FILES and "No such file" in told)
    assert os.listdir(tmp_path) == []


def test_a_name_of_many_bytes_is_taken(capsys, tmp_path):
    """240 bytes in 80 letters, and more with what temporary names add."""
    out = tmp_path / ("\u4e2d" * 80 + ".npy")
    assert main(["run", NAME, "--steps", "1", "--limit", "1", "--out", str(out)]) == 0, capsys.readouterr().err
    assert os.listdir(tmp_path) == [out.name]
