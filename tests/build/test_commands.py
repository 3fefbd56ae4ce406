"""`recurc build` and `recurc eval` as a user calls them: documents, numbers, exit codes."""

from __future__ import annotations

import json

import numpy as np
import pytest

import recurc
from recurc.api import Quantized
from recurc.cli.main import main
from recurc.evaluate import evaluation
from recurc.evaluate.fidelity import carry_fidelity
from recurc.evaluate.gate import SPARE
from recurc.models.reference import Reference
from tests.build.conftest import NAME
from tests.randmodels import random_reasoner
from tests.tools import need

LIMIT, STEPS = 12, 4


def document(capsys, *args: str) -> dict:
    """The JSON document of a command that must succeed."""
    status = main([*args, "--json"])
    said = capsys.readouterr()
    assert status == 0, said.out + said.err
    return json.loads(said.out)


def failure(capsys, *args: str) -> tuple[int, dict]:
    """Exit code and error of a command that must fail, without a traceback."""
    status = main([*args, "--json"])
    said = capsys.readouterr()
    assert "Traceback" not in said.err + said.out
    document = json.loads(said.out)
    error = document["error"]
    assert set(error) == {"code", "what", "where", "why", "next"}
    return status, error | ({"plan": document["plan"]} if error["code"] == "does-not-fit" else {})


# -- eval -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def test_split(data):
    return recurc.load_dataset(data, "test").take(LIMIT)


@pytest.fixture(scope="module")
def by_hand(model, test_split):
    """What the fp32 reference says: tokens [steps, N, seq], q [steps, N, 2], z_H after the first and the last step."""
    states = list(Reference(model.reasoner).steps(test_split.inputs, test_split.puzzle_ids, STEPS))
    tokens = np.stack([s.logits.argmax(-1).numpy() for s in states])
    return tokens, np.stack([s.q.numpy() for s in states]), states[0].z_H.numpy(), states[-1].z_H.numpy()


def test_examples_without_labels_do_not_count():
    labels = np.array([[1, 2], [0, 0], [1, 1]])
    found = evaluation.score(np.array([[1, 2], [5, 5], [1, 2]]), labels, labels != 0)
    assert (found.cell, found.exact) == (0.75, 0.5), "the second is neither right nor wrong"
    none = evaluation.score(labels, labels, np.zeros(labels.shape, bool))
    assert np.isnan(none.cell) and np.isnan(none.exact)


def scores(tokens, split) -> tuple[float, float]:
    """(cell, exact) by the plainest loops."""
    cells, exact = [], []
    for row, label in zip(tokens, split.labels):
        counted = [i for i, want in enumerate(label) if want != split.ignore_label_id]
        right = sum(int(row[i]) == int(label[i]) for i in counted)
        cells.append(right / len(counted))
        exact.append(right == len(counted))
    return float(np.mean(cells)), float(np.mean(exact))


def test_eval_at_fp32_equals_the_reference(capsys, by_hand, test_split, monkeypatch):
    need("host")
    seen = []
    run_engine = evaluation.run_engine
    monkeypatch.setattr(evaluation, "run_engine", lambda *a, **k: seen.append(run_engine(*a, **k)) or seen[-1])
    d = document(capsys, "eval", NAME, "--precision", "fp32", "--limit", str(LIMIT), "--steps", str(STEPS), "--halt")
    assert {"precision", "n", "steps", "cell", "exact", "fidelity", "mean_steps", "schema"} <= set(d)
    assert (d["schema"], d["precision"], d["n"], d["steps"]) == ("recurc/eval/1", "fp32", LIMIT, STEPS)
    tokens, q, _, _ = by_hand
    assert (seen[0].tokens == tokens).all(), "the engine predicts what the reference predicts"
    for step in (1, 2, 4):
        cell, exact = scores(tokens[step - 1], test_split)
        assert d["by_step"][str(step)] == {"cell": pytest.approx(cell), "exact": pytest.approx(exact)}
    assert (d["full"]["cell"], d["full"]["exact"]) == tuple(map(pytest.approx, scores(tokens[-1], test_split)))
    stayed = (tokens[1:] == tokens[:-1]).all(axis=-1)
    stop = [next((s for s in range(1, STEPS) if q[s, i, 0] > 0 and stayed[s - 1, i]), STEPS - 1) for i in range(LIMIT)]
    halted = np.stack([tokens[s, i] for i, s in enumerate(stop)])
    assert (d["cell"], d["exact"]) == tuple(map(pytest.approx, scores(halted, test_split)))
    assert d["mean_steps"] == pytest.approx(np.mean(stop) + 1)
    assert d["fidelity"] == pytest.approx(1, abs=1e-5) and d["fidelity_last"] == pytest.approx(1, abs=1e-3)
    assert 0 < d["exact"] < 1 or d["mean_steps"] < STEPS, "a model that shows nothing proves nothing"


def test_eval_at_int4(capsys, quantized, by_hand, test_split):
    args = ("--limit", str(LIMIT), "--steps", "4", "--calibration-puzzles", "8", "--fidelity-puzzles", "5")
    d = document(capsys, "eval", NAME, *args)
    assert (d["precision"], d["calibration"], d["fidelity_n"], d["mean_steps"]) == ("int4", "gptq", 5, 4)
    assert "full" not in d
    run = quantized.run(test_split.inputs, test_split.puzzle_ids, steps=4)  # calibrated alike: the same weights
    assert (d["cell"], d["exact"]) == tuple(map(pytest.approx, scores(run.tokens, test_split)))
    assert d["fidelity_last"] == pytest.approx(carry_fidelity(run.z_H[:5], by_hand[3][:5]).mean(), abs=1e-6)
    first = quantized.run(test_split.inputs[:5], test_split.puzzle_ids[:5], steps=1)
    assert d["fidelity"] == pytest.approx(carry_fidelity(first.z_H, by_hand[2][:5]).mean(), abs=1e-6)


def test_halting_options(quantized, test_split):
    def run(**options):
        return quantized.evaluate(test_split, halt=True, fidelity_puzzles=1, **options)

    never, least = run(threshold=1e9), run(threshold=-1e9, min_steps=3, patience=0)
    assert never.mean_steps == never.steps == 16 and never.halted == never.scores
    assert least.mean_steps == 3
    assert run(threshold=-1e9, patience=0).halted == never.by_step[1] and run(threshold=-1e9).mean_steps > 1
    plain = quantized.evaluate(test_split, fidelity_puzzles=1)
    assert plain.halted is None and plain.mean_steps == 16 and plain.by_step == never.by_step


def test_eval_is_the_same_with_any_number_of_threads(quantized, test_split):
    kept = evaluation.Kept((1, 3), 2)
    one, three = (
        evaluation.run_engine(quantized.engine, test_split.inputs, test_split.puzzle_ids, 3, kept=kept, threads=t)
        for t in (1, 3)
    )
    assert (one.tokens == three.tokens).all() and one.z_H.tobytes() == three.z_H.tobytes()
    assert one.z_H.shape[:2] == (2, 2) and (one.margins == three.margins).all()


# -- build ------------------------------------------------------------------------------------------------------------


def test_build_document(capsys, tmp_path, data):
    need("mps2-an500")
    d = document(
        capsys,
        "build",
        NAME,
        "--target",
        "qemu-m7",
        "--out",
        str(tmp_path / "b"),
        "--calibration-puzzles",
        "8",
        "--accuracy-puzzles",
        "4",
    )
    assert {"target", "precision", "image_bytes", "elf", "fits", "fidelity", "regions", "schema"} <= set(d)
    assert (d["schema"], d["target"], d["precision"], d["fits"]) == ("recurc/build/1", "mps2-an500", "int4", True)
    for region in d["regions"]:
        assert {"name", "kind", "size", "used", "parts"} <= set(region)
    assert d["accuracy"]["n"] == 4 and 0 <= d["accuracy"]["exact"] <= d["accuracy"]["cell"] <= 1
    build = recurc.load_build(tmp_path / "b")
    assert str(build.boards["mps2-an500"].elf) == d["elf"] and build.data == data
    # What fidelity was judged on, how sure it is, what halting does, and how long a step takes.
    train = recurc.load_dataset(data, "train")
    assert d["fidelity_inputs"] == SPARE and len(d["fidelity_rows"]) == d["fidelity_puzzles"] == 32
    assert not set(d["fidelity_rows"]) & set(train.order(0)[: d["calibration_puzzles"]].tolist())
    assert 0 < d["fidelity_error"] < 0.1 and build.details["fidelity_error"] == d["fidelity_error"]
    halting = d["accuracy"]["halting"]
    assert halting["lost"] == pytest.approx(d["accuracy"]["exact"] - halting["exact"]) and halting["lost_error"] > 0
    assert d["time_a_step"]["estimated"] and d["time_a_step"]["instructions"] > 1e6
    status = main(["report", str(tmp_path / "b")])
    said = " ".join(capsys.readouterr().out.split())
    assert status == 0 and f"{d['fidelity']:.4f} ± {d['fidelity_error']:.4f} after one step" in said
    assert "stopping early" in said and "fp32" in said


def test_halting_that_costs_points_names_tune(capsys, quantized, test_split, monkeypatch):
    """Runs that all stop after step 2, where fewer puzzles are right, and runs that lose nothing."""
    args = ("eval", NAME, "--limit", str(LIMIT), "--steps", "4", "--calibration-puzzles", "8", "--fidelity-puzzles", "2")
    run_engine, wrong = evaluation.run_engine, 5

    def planted(lost):
        def run(*a, **k):
            runs = run_engine(*a, **k)
            runs.margins[:] = 0.5
            runs.tokens[:] = test_split.labels
            runs.tokens[:2, :lost, 0] = 0
            return runs

        return run

    monkeypatch.setattr(evaluation, "run_engine", planted(wrong))
    assert main([*args]) == 0
    said = " ".join(capsys.readouterr().out.split())
    error = (wrong * (1 - wrong / LIMIT) + 1) ** 0.5 / LIMIT
    assert f"costs {100 * wrong / LIMIT:.2f} ± {100 * error:.2f} points exact and saves 50 % of the steps" in said
    assert f"`recurc tune {NAME}`" in said
    assert main([*args, "--halt-threshold", "1"]) == 0
    assert "stopping early" not in capsys.readouterr().out, "it is not the default that costs, and --halt was not asked for"
    monkeypatch.setattr(evaluation, "run_engine", planted(0))
    found = document(capsys, *args)["halting"]
    assert (found["lost"], found["mean_steps"], found["lost_error"]) == (0, 2, pytest.approx(1 / LIMIT))
    assert main([*args, "--halt"]) == 0
    said = capsys.readouterr().out
    assert "costs 0.00 ±" in said and "tune" not in said


def test_unknown_target_and_precision(capsys, tmp_path):
    out = ("--out", str(tmp_path / "b"))
    status, error = failure(capsys, "build", NAME, "--target", "stm32h8", *out)
    assert (status, error["code"]) == (2, "usage") and "stm32h7" in error["why"]
    status, error = failure(capsys, "build", NAME, "--precision", "int5", *out)
    assert (status, error["code"]) == (2, "usage") and "int4" in error["why"] + error["next"]
    status, error = failure(capsys, "eval", NAME, "--precision", "int5")
    assert (status, error["code"]) == (2, "usage")
    assert failure(capsys, "build", NAME, "--calibration", "magic", *out)[0] == 2
    assert list(tmp_path.iterdir()) == []


def test_lossy_and_low_fidelity_builds_are_refused(capsys, tmp_path, no_compile, monkeypatch, gate):
    need("mps2-an500")
    monkeypatch.setattr(Quantized, "gate", lambda self: gate)
    out = ("--target", "mps2-an500", "--out", str(tmp_path / "b"), "--accuracy-puzzles", "0")
    status, error = failure(capsys, "build", NAME, "--precision", "int4-naive", *out)
    assert (status, error["code"]) == (5, "fidelity") and "--allow-lossy" in error["next"]
    status, error = failure(capsys, "build", NAME, "--min-fidelity", "1.0", "--calibration-puzzles", "4", *out)
    assert (status, error["code"]) == (5, "fidelity") and "L_level.layers.0" in error["why"]
    assert list(tmp_path.iterdir()) == []


def test_no_compiler(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    status, error = failure(capsys, "build", NAME, "--target", "stm32h7", "--out", str(tmp_path / "b"))
    assert (status, error["code"]) == (6, "toolchain") and "apt-get install" in error["next"]
    assert failure(capsys, "eval", NAME, "--limit", "1", "--steps", "1", "--precision", "int8")[0] == 6
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_does_not_fit(capsys, tmp_path, monkeypatch, no_gate):
    need("mps2-an500")
    need("host")
    huge = random_reasoner("mlp_t", pos="none", seq=60, hidden=1280, ndim=0, plen=0, layers=1, expansion=0.1)
    monkeypatch.setattr("recurc.cli.common.options.Model.load", lambda self: huge)
    monkeypatch.setattr("recurc.cli.common.options.Model.dataset", lambda self, split: None)
    monkeypatch.setattr("recurc.cli.build._accuracy", lambda *a: None)
    status, error = failure(capsys, "build", NAME, "--target", "stm32h7", "--out", str(tmp_path / "b"))
    assert (status, error["code"]) == (4, "does-not-fit")
    assert "axisram" in error["what"] and "bytes more" in error["what"]
    verdict = error["plan"]["verdict"]
    assert not verdict["fits"] and verdict["region"] == "axisram" and verdict["missing_bytes"] > 0
    assert f"{verdict['missing_bytes']:,} bytes more in axisram" in error["what"]
    assert any(c["fits"] and c["options"][0] in error["next"] for c in verdict["changes"])
    assert list(tmp_path.iterdir()) == []


def test_an_output_folder_that_cannot_be_used(capsys, tmp_path, no_gate, no_compile):
    need("mps2-an500")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("x")
    args = (
        "build",
        NAME,
        "--target",
        "mps2-an500",
        "--precision",
        "int8",
        "--accuracy-puzzles",
        "0",
        "--calibration-puzzles",
        "1",
        "--out",
    )
    assert failure(capsys, *args, str(tmp_path / "notes"))[0] == 2
    assert failure(capsys, *args, str(tmp_path / "notes" / "a.txt" / "b"))[0] == 3
    assert (tmp_path / "notes" / "a.txt").read_text() == "x"
