"""A build's own answers: the same steps from the fp32 reference, the host engine, a process and the emulated board."""

from __future__ import annotations

import json
import zlib

import numpy as np
import pytest

import recurc
from recurc.cli.main import main
from recurc.errors import InputError, UsageError
from recurc.evaluate.halting import Halt
from recurc.verify.answers import EngineAnswerer, ReferenceAnswerer, answer
from tests.tools import need

STEPS = 3


@pytest.fixture(scope="module")
def test_split(data):
    return recurc.load_dataset(data, "test").take(4)


@pytest.fixture(scope="module")
def engine(quantized):
    return EngineAnswerer(quantized.engine, quantized.model.program.steps)


@pytest.mark.parametrize("on", ["host", "qemu"])
def test_a_firmware_answers_what_the_engine_answers(on, built, engine, test_split):
    need("mps2-an500")
    with recurc.connect(built.path, on=on) as device:
        got = device.run(test_split.inputs[:2], test_split.puzzle_ids[:2] * 0, steps=STEPS)
        assert device.board.name == {"host": "host", "qemu": "mps2-an500"}[on]
    for i, found in enumerate(got):
        expected = answer(engine, test_split.inputs[i], steps=STEPS)
        assert len(found.steps) == STEPS and not found.halted
        for a, b in zip(found.steps, expected.steps, strict=True):
            assert (a.step, a.carry_crc, a.margin) == (b.step, b.carry_crc, b.margin)
            assert a.q.tobytes() == b.q.tobytes() and np.array_equal(a.tokens, b.tokens)
        assert found.as_dict() == expected.as_dict()


def test_steps_with_what_the_carry_is(built, quantized, test_split):
    row = test_split.inputs[0]
    own = quantized.engine.clone()
    own.begin(row)
    with recurc.connect(built, on="host") as device:
        earlier = None
        for step in device.steps(row, steps=2):
            own.step()
            for name in ("z_H", "z_L", "logits"):
                assert step.tensor(name).tobytes() == own.tensor(name).tobytes()
            assert step.carry_crc == zlib.crc32(own.carry_bytes())
            with pytest.raises(InputError, match="no tensor 'carry'"):
                step.tensor("carry")
            if earlier is not None:
                with pytest.raises(UsageError, match="gone"):
                    earlier.tensor("z_H")
            earlier = step
    with pytest.raises(UsageError, match="gone"):
        earlier.tensor("z_H")


def test_halting_stops_where_the_outputs_say(built, quantized, model, test_split):
    halt = Halt(0.0, 2)
    with recurc.connect(built, on="host") as device:
        found = device.run(test_split.inputs, halt=halt)
    outputs = quantized.run(test_split.inputs, halt=halt, trajectory=True)
    assert [len(a.steps) for a in found] == outputs.stopped_at.tolist()
    assert all(a.halted == (len(a.steps) < built.steps or a.steps[-1].margin > 0) for a in found)
    assert np.array_equal([a.tokens for a in found], outputs.tokens)
    for i, a in enumerate(found):
        for s in a.steps:
            assert np.array_equal(s.tokens, outputs.trajectory.tokens[s.step - 1, i])
    full = [answer(ReferenceAnswerer(model.reasoner), row, halt=halt) for row in test_split.inputs]
    reference = model.run(test_split.inputs, halt=halt)
    assert [len(a.steps) for a in full] == reference.stopped_at.tolist()
    assert np.array_equal([a.tokens for a in full], reference.tokens)


def test_what_is_no_input_is_refused(built, test_split):
    device = recurc.connect(built, on="host")
    with pytest.raises(UsageError, match="not open"):
        device.run(test_split.inputs)
    with device:
        for bad, why in (
            (np.zeros((1, 5), int), "shape"),
            (np.full((1, 16), 9), "vocabulary"),
            (np.full((1, 16), 0.5), "whole"),
        ):
            with pytest.raises(InputError, match=why):
                device.run(bad)
        for steps in (0, -1, built.steps + 1):
            with pytest.raises(UsageError, match="cannot be run"):
                device.run(test_split.inputs, steps=steps)
        with pytest.raises(InputError, match="identifiers"):
            device.run(test_split.inputs, np.array([0]))
        assert len(device.run(test_split.inputs[0])) == 1
    with pytest.raises(UsageError, match="not open"):
        next(device.steps(test_split.inputs[0]))


def test_the_command_on_a_build(built, quantized, test_split, data, capsys, tmp_path):
    out = tmp_path / "answers.npy"
    options = ["--data", str(data), "--json"]
    assert main(["run", str(built.path), "--limit", "4", "--steps", "2", "--out", str(out), *options]) == 0
    told = json.loads(capsys.readouterr().out)
    expected = quantized.run(test_split.inputs, steps=2, trajectory=True)
    assert np.array_equal(np.load(out), expected.tokens)
    for i, a in enumerate(told["answers"]):
        assert a["number"] == i and a["answer"] == expected.tokens[i].tolist() and a["halted"] is False
        assert [s["tokens"] for s in a["steps"]] == expected.trajectory.tokens[:, i].tolist()
        assert a["cells"] == 16 and a["exact"] == (a["right"] == 16)
    assert main(["run", str(built.path), "--precision", "int8"]) == 2
    assert "--precision is for a checkpoint" in capsys.readouterr().err


def test_verify_keeps_the_devices_answers_on_request(built, quantized, test_split, data, capsys, tmp_path):
    line = ["verify", str(built.path), "--on", "host", "--data", str(data), "--limit", "2", "--steps", "2", "--fidelity", "0",
            "--journal", str(tmp_path / "j.jsonl"), "--json"]  # fmt: skip
    expected = quantized.run(test_split.inputs[:2], steps=2).tokens.tolist()
    assert main([*line, "--tokens"]) == 0
    assert [p["tokens"] for p in json.loads(capsys.readouterr().out)["puzzles"]] == expected
    lines = [json.loads(text) for text in (tmp_path / "j.jsonl").read_text().splitlines()]
    assert [p["tokens"] for p in lines[1:]] == expected
    assert main([*line, "--resume"]) == 0  # from the journal, where they are
    assert [p["tokens"] for p in json.loads(capsys.readouterr().out)["puzzles"]] == expected
    assert main(line) == 0
    assert all("tokens" not in p for p in json.loads(capsys.readouterr().out)["puzzles"])
