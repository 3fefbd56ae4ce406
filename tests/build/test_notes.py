"""What was assumed of a checkpoint when a build was made of it is said by every command that takes the build, and in Python."""

from __future__ import annotations

import json
import shutil
import warnings

import numpy as np
import pytest
import torch

import recurc
from recurc.api import Model
from recurc.build.listing import MANIFEST, digest_of
from recurc.build.manifest import load_build
from recurc.cli.main import main
from recurc.errors import RecurcWarning
from recurc.models.checkpoint import load
from recurc.resources import bundled_models
from tests.build.conftest import GOOD, NAME
from tests.tools import need


@pytest.fixture(scope="module")
def guessed(tmp_path_factory):
    """A build of a checkpoint without a configuration."""
    need("mps2-an500")
    folder = tmp_path_factory.mktemp("guessed")
    shutil.copytree(bundled_models()[NAME] / "data", folder / "data")
    torch.save({n: torch.from_numpy(np.array(t)) for n, t in load(NAME).tensors.items()}, folder / "step_1")
    quantized = Model(load(folder), "guessed").quantize("int8")
    return quantized.build("mps2-an500", folder / "build", gate=GOOD, details={"data": str(folder / "data")})


def test_the_manifest_keeps_them(guessed):
    assert any("H_cycles" in note for note in guessed.notes) and load_build(guessed.path).notes == guessed.notes


@pytest.mark.parametrize("arguments", [
    ("verify", "BUILD", "--on", "host", "--limit", "1", "--steps", "1", "--fidelity", "0"), ("run", "BUILD", "--steps", "1"),
    ("report", "BUILD"), ("export", "BUILD", "--onnx", "OUT"), ("ci", "BUILD", "--out", "BUILD"), ("flash", "BUILD", "--stop"),
], ids=lambda a: a[0])  # fmt: skip
def test_every_command_of_a_build_says_them(arguments, guessed, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("recurc.flash.stop", lambda *told: True)
    shutil.copytree(guessed.path, tmp_path / "b")
    places = {"BUILD": str(tmp_path / "b"), "OUT": str(tmp_path / "out")}
    line = [places.get(a, a) for a in arguments]
    if arguments[0] == "ci":
        line[-1] = str(tmp_path)
    assert main(line) == 0, capsys.readouterr().err
    told = capsys.readouterr().err
    assert all(told.count(f"note: {note}") == 1 for note in guessed.notes), told
    assert main([*line, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["notes"][: len(guessed.notes)] == list(guessed.notes)


def test_the_report_s_page_has_them(guessed, tmp_path, capsys):
    for line in ((str(guessed.path),), (str(guessed.path.parent), "--target", "stm32h7")):
        assert main(["report", *line, "--html", str(tmp_path / "r.html")]) == 0
        assert "H_cycles" in (tmp_path / "r.html").read_text()
    capsys.readouterr()


def test_python_warns_once_where_a_path_is_opened(guessed):
    def warned(call) -> list[warnings.WarningMessage]:
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            call()
        return [w for w in found if w.category is RecurcWarning]

    test = recurc.load_dataset(guessed.data, "test")
    calls = (
        lambda: recurc.load_build(guessed.path),
        lambda: recurc.connect(str(guessed.path), on="host"),
        lambda: recurc.verify(guessed.path, on="host", dataset=test, limit=1, steps=1),
    )
    for call in calls:
        found = warned(call)
        assert len(found) == len(guessed.notes) and all(w.filename == __file__ for w in found)
        assert any("H_cycles" in str(w.message) for w in found)
    assert not warned(lambda: recurc.connect(guessed, on="host")), "an open build has been told of"


def test_a_manifest_without_notes_is_readable(guessed, tmp_path):
    folder = shutil.copytree(guessed.path, tmp_path / "old")
    document = json.loads((folder / MANIFEST).read_text())
    del document["checkpoint"]["notes"]
    (folder / MANIFEST).write_text(json.dumps({**document, "digest": digest_of(document)}))
    assert load_build(folder, trust=True).notes == ()
