"""`recurc verify` on a real build: fidelity of what the device sends, the journal through kill -9, an old build refused."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

import recurc
from recurc.build.manifest import load_build
from recurc.cli.main import main
from recurc.errors import InputError
from recurc.evaluate.candidate import Candidate
from recurc.evaluate.evaluation import evaluate
from recurc.verify.options import RunOptions
from recurc.verify.record import verified as verified_of
from recurc.verify.run import build_places
from tests.tools import need


def verified(capsys, *arguments: object) -> dict:
    assert main(["verify", *map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_fidelity_is_that_of_the_simulator(built, model, quantized, data, capsys, tmp_path):
    """The device's carries are the engine's, so phi is what `eval` computes on the same puzzles."""
    document = verified(capsys, built.path, "--data", data, "--on", "host", "--limit", 3, "--journal", tmp_path / "j")
    expected = evaluate(Candidate(model.reasoner, quantized.model, quantized.engine), recurc.load_dataset(data, "test").take(3))
    phi = document["fidelity"]
    assert (phi["n"], phi["last_step"]) == (3, built.steps)
    assert phi["after_step_1"] == pytest.approx(expected.fidelity_first, abs=1e-6)
    assert phi["after_last_step"] == pytest.approx(expected.fidelity_last, abs=1e-6)
    assert document["ticks_per_step"] * 3 * built.steps == pytest.approx(document["ticks"])
    for options, n in ((("--fidelity", 2), 2), (("--fidelity", 0), None), (("--limit", 1, "--halt"), 1)):
        document = verified(capsys, built.path, "--data", data, "--on", "host", "--limit", 3, *options)
        assert (document["fidelity"] and document["fidelity"]["n"]) == n


@pytest.mark.parametrize("option", ["--patience", "--halt-threshold", "--min-steps"])
def test_numbers_of_a_rule_change_a_tuned_one_and_are_refused_where_there_is_none(
    built, data, capsys, tmp_path, monkeypatch, option
):
    arguments = ("verify", str(built.path), "--data", str(data), "--on", "host", "--limit", "1", option, "2")
    arguments += ("--journal", str(tmp_path / "j"))
    assert main([*arguments]) == main([*arguments, "--no-halt"]) == main([*arguments, "--on", "onnxruntime"]) == 2
    assert option in (error := capsys.readouterr().err) and error.count("Add --halt") == 3
    tuned = replace(built, details={**built.details, "halt": {"threshold": 0.0, "min_steps": 1, "patience": 1}})
    monkeypatch.setattr("recurc.cli.verify.open_build", lambda *a, **k: tuned)
    verified(capsys, *arguments[1:])
    rule = json.loads((tmp_path / "j").read_text().splitlines()[0])["halt"]
    assert rule == {"--patience": [0.0, 1, 2], "--halt-threshold": [2.0, 1, 1], "--min-steps": [0.0, 2, 1]}[option]
    assert main([*arguments, "--no-halt"]) == 2


def test_the_reference_may_have_moved(built, data, capsys, tmp_path):
    journal = ("--journal", tmp_path / "j")
    arguments = (built.path, "--data", data, "--on", "host", "--limit", 1, *journal, "--reference")
    assert verified(capsys, *arguments, "sudoku4-tiny")["fidelity"]["n"] == 1
    assert main(["verify", *map(str, arguments), "nowhere"]) == 3


def test_places_are_the_compiled_schedule(built, quantized):
    places = build_places(built)
    assert len(places) == quantized.engine.ops + 1 == built.h_cycles * (built.l_cycles + 1) * len(
        quantized.model.program.blocks[0].ops) + 2  # fmt: skip
    assert [p.op for p in places] == list(range(len(places)))


def test_kill_9_midway_loses_nothing(built, data, capsys, tmp_path):
    journal = tmp_path / "j.jsonl"
    arguments = [str(built.path), "--data", str(data), "--on", "host", "--fidelity", "0", "--journal", str(journal)]
    command = [sys.executable, "-m", "recurc", "verify", *arguments, "--limit", "4000"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not (journal.exists() and journal.read_bytes().count(b"\n") > 20):
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    before = journal.read_bytes()
    whole = before.count(b"\n") - 1
    assert whole >= 20
    limit = whole + 3
    document = verified(capsys, *arguments, "--limit", limit, "--resume")
    assert (document["resumed"], document["n"], document["bit_exact"]) == (whole, limit, True)
    assert [p["puzzle"] for p in document["puzzles"]] == list(range(limit))
    assert journal.read_bytes().startswith(before[: before.rfind(b"\n") + 1])
    other = tmp_path / "other"
    shutil.copytree(data, other)
    labels = np.load(other / "test/all__labels.npy")
    labels[0, 0] = 5 - labels[0, 0]
    np.save(other / "test/all__labels.npy", labels)
    assert main(["verify", *arguments, "--data", str(other), "--limit", str(limit), "--resume"]) == 2
    assert "dataset" in capsys.readouterr().err


def test_the_journal_of_the_emulator_lies_in_the_build(built, data, capsys, tmp_path):
    need("mps2-an500")
    document = verified(capsys, built.path, "--data", data, "--limit", 1)
    assert document["journal"] == str(built.path / "verify-mps2-an500.jsonl") and os.path.getsize(document["journal"])
    assert verified_of(load_build(built.path), "mps2-an500")[0]["n"] == 1
    assert 0 < document["stack_used"] <= document["stack_worst"] <= document["stack_bytes"]


def test_a_build_of_before_the_trace_is_refused(built, tmp_path):
    """Its library and firmware do not know rc_ops."""
    copy = shutil.copytree(built.path, tmp_path / "copy")
    file = copy / "recurc-build.json"
    document = json.loads(file.read_text())
    document["schema"] = "recurc/build-folder/1"
    file.write_text(json.dumps(document))
    with pytest.raises(InputError, match="build-folder/1.*reads 'recurc/build-folder/4'"):
        load_build(copy)


def test_a_build_that_is_replaced_meanwhile_is_told_as_that(built, data, tmp_path, monkeypatch):
    """Not as a device that differs: its firmware and the host's engine would be of two builds."""
    from recurc.errors import InputError
    from recurc.targets.host import HostEngine
    from recurc.verify import run

    shutil.copytree(built.path, tmp_path / "b")
    build = recurc.load_build(tmp_path / "b")
    test = recurc.load_dataset(data, "test")
    first = HostEngine.__init__

    def replaced(self, *args, **options):
        """As the engine is opened, another build has come: its manifest is another one."""
        first(self, *args, **options)
        (tmp_path / "b/recurc-build.json").unlink()

    monkeypatch.setattr(HostEngine, "__init__", replaced)
    with pytest.raises(InputError, match="interrupted|replaced"):
        run.verify(build, "host", test, RunOptions(limit=1, steps=1))
    monkeypatch.undo()
    monkeypatch.setattr(run, "manifest_digest", lambda folder: "of another build")
    with pytest.raises(InputError, match="replaced while it was being verified"):
        run.verify(recurc.load_build(built.path), "host", test, RunOptions(limit=1, steps=1))
