"""verify: equal bits are found equal, a planted difference is named to the element, and the command says so."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import recurc.verify.device as device
import recurc.verify.divergence
from recurc.cli.main import main
from recurc.errors import InputError, MismatchError, UsageError
from recurc.evaluate.halting import Halt, stayed
from recurc.targets.boards import load_board
from recurc.verify.options import Keywords, Listener, RunOptions
from tests.tools import EMULATED
from tests.verify.standins import Artifact, Build, dataset


@pytest.mark.parametrize("board", ["host", *EMULATED])
def test_equal_bits_are_found_equal(verify, board):
    data, seen = dataset(), []
    result = verify(board, data, progress=lambda puzzle, step: seen.append((puzzle, step)))
    assert result.bit_exact and result.matched == result.n == 3 and result.first_difference is None
    assert seen == [(p, s) for p in range(3) for s in range(1, 13)]
    assert result.steps == 36 and result.ticks > 0
    assert (result.instructions(1000) is None) == (board == "host")
    assert (result.seconds(1000) is None) == (board != "host")
    assert (result.instructions_per_step is None) == (board == "host")
    assert (result.seconds_per_step is None) == (board != "host")
    if board == "host":
        assert 36 * result.seconds_per_step == pytest.approx(result.seconds(result.ticks))
    else:
        assert 36 * result.instructions_per_step == pytest.approx(result.instructions(result.ticks), rel=0.01)


def test_accuracy_is_the_devices(verify, engine):
    data = dataset()
    labels = np.array([_predict(engine, t, p) for t, p in zip(data.inputs, data.puzzle_ids, strict=True)], np.int32)
    assert verify("host", replace(data, labels=labels)).exact == 1.0
    labels[1, 3] = (labels[1, 3] + 1) % 6
    result = verify("host", replace(data, labels=labels))
    assert result.exact == pytest.approx(2 / 3) and result.cell == pytest.approx(47 / 48)
    labels[1, 3] = -100
    result = verify("host", replace(data, labels=labels, ignore_label_id=-100))
    assert result.exact == 1.0 and result.puzzles[1].cells == 15


def _predict(engine, tokens, puzzle, steps=12):
    engine.begin(tokens, int(puzzle))
    for _ in range(steps):
        engine.step()
    return engine.tensor("tokens")


@pytest.mark.parametrize("board", ["host", "mps2-an500", "riscv32-virt"])
@pytest.mark.parametrize("step", [1, 5, 12])
def test_a_planted_difference_is_named(verify, engine, board, step):
    data = dataset()
    result = verify(board, data, firmware={"defines": {"DUMMY_BUG_STEP": step}})
    assert not result.bit_exact and result.matched == 2
    d = result.first_difference
    assert (d.puzzle, d.step, d.tensor, d.index) == (2, step, "logits", (1, 1))
    _predict(engine, data.inputs[2], 2, step)
    wanted = engine.tensor("logits")[1, 1]
    assert np.float32(d.host) == wanted
    assert np.float32(d.device).view(np.uint32) == wanted.view(np.uint32) ^ 1
    assert f"puzzle 2, step {step}: logits[1, 1] is" in str(d)


def test_a_difference_that_does_not_come_back_is_still_told(verify, monkeypatch):
    monkeypatch.setattr(recurc.verify.divergence, "compare_tensors", lambda *_: None)
    d = verify("host", dataset(), firmware={"defines": {"DUMMY_BUG_STEP": 4}}).first_difference
    assert (d.puzzle, d.step, d.tensor, d.index, d.reproduced) == (2, 4, "logits", None, False)
    assert "checksum" in str(d) and "equal when the puzzle was run again" in str(d)


@pytest.mark.parametrize(("threshold", "min_steps", "steps"), [(0.0, 1, 6), (2.0, 1, 8), (0.0, 9, 9), (50.0, 1, 12)])
def test_halting_is_compared_too(verify, threshold, min_steps, steps):
    result = verify("host", dataset(), halt=Halt(threshold, min_steps, 0))
    assert result.bit_exact and {p.steps for p in result.puzzles} == {steps}
    assert {p.halted for p in result.puzzles} == {steps < 12}


def test_a_device_waits_until_its_tokens_have_stayed(verify, engine):
    """As long as the host's own count says, puzzle by puzzle."""
    data, low = dataset(), -1e9
    for patience in (1, 2, 3):
        wanted = []
        for tokens, puzzle in zip(data.inputs, data.puzzle_ids, strict=True):
            said = np.stack([_predict(engine, tokens, puzzle, steps) for steps in range(1, 13)])[:, None]
            wanted.append(next((s for s, same in enumerate(stayed(said)[:, 0], 1) if same >= patience), 12))
        result = verify("host", data, halt=Halt(low, patience=patience))
        assert result.bit_exact and [p.steps for p in result.puzzles] == wanted


@pytest.mark.parametrize("early", [True, False])
def test_another_halting_decision_is_a_difference(verify, engine, monkeypatch, early):
    least = 1.0 if early else -1.0
    answers = lambda threshold, patience: engine.tensor("q")[0] > least  # noqa: E731
    monkeypatch.setattr(engine, "halts", answers)
    d = verify("host", dataset(1), halt=Halt(patience=0)).first_difference
    assert d.tensor == "halt" and d.puzzle == 0
    assert (d.host, d.device) == ((0, 1) if early else (1, 0))


def test_show_sees_every_step_of_the_first_puzzle(verify, engine):
    views, data = [], dataset()
    assert verify("host", data, show=views.append).bit_exact
    assert [v.step for v in views] == list(range(13))
    assert (views[0].tokens == data.inputs[0]).all()
    for view in views[1:]:
        assert (view.tokens == _predict(engine, data.inputs[0], 0, view.step)).all()
    views.clear()
    assert verify("host", data, show=views.append, halt=Halt(patience=0)).puzzles[0].steps == 6 == views[-1].step


def test_limits(verify):
    assert verify("host", dataset(), limit=1, steps=2).steps == 2
    with pytest.raises(UsageError, match="compiled for 12"):
        verify("host", dataset(), steps=13)
    with pytest.raises(InputError, match="not of this model"):
        verify("host", replace(dataset(), seq_len=81))
    with pytest.raises(UsageError, match="no puzzles"):
        verify("host", None)


def test_another_firmware_is_not_compared(engine, elfs):
    with device.connect(load_board("host"), elfs("host"), "host") as session:
        hello = session.hello()
    good = Artifact(Path("x"))
    device.check_identity(hello, good)
    for wrong in (replace(good, build_id="f" * 32), replace(good, model_sha256="0" * 64)):
        with pytest.raises(MismatchError, match="runs another") as e:
            device.check_identity(hello, wrong)
        assert e.value.exit_code == 8
    with pytest.raises(MismatchError, match="refuses its weights image.*checksum"):
        device.check_identity(replace(hello, status=6), good)


def test_where_it_runs():
    artifact = Artifact(Path("x"))
    build = Build({"stm32h7": artifact, "mps2-an500": artifact, "host": artifact})
    assert device.resolve(build, "qemu")[0].name == "mps2-an500"
    assert device.resolve(build, "host")[0].name == "host"
    assert device.resolve(build, "/dev/ttyACM0")[0].name == "stm32h7"
    assert device.resolve(replace(build, target="mps3-an547", boards={"mps3-an547": artifact}), "qemu")[0].name == "mps3-an547"
    with pytest.raises(UsageError, match="no emulated twin"):
        device.resolve(replace(build, twin=None), "qemu")
    with pytest.raises(UsageError, match="no firmware for host"):
        device.resolve(replace(build, boards={}), "host")


def test_command_tells_that_all_bits_are_equal(command, capsys):
    assert command({}, "--show") == 0
    out = capsys.readouterr().out
    assert "3 of 3 puzzles equal to the host in every bit" in out
    assert "step 1:" in out and "│" in out
    lines = [line for line in out.splitlines() if "all equal" in line]
    assert len(lines) == 3 and len({line.rstrip().index("all equal") for line in lines}) == 1


def test_command_names_a_difference_and_ends_with_8(command, capsys):
    assert command({"DUMMY_BUG_STEP": 5}) == 8
    captured = capsys.readouterr()
    assert "2 of 3 puzzles equal" in captured.out and "DIFFER" in captured.out
    assert "puzzle 2, step 5: logits[1, 1]" in captured.err
    assert "Traceback" not in captured.err


def test_command_json(command, capsys):
    assert command({"DUMMY_BUG_STEP": 5}, "--json") == 8
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "recurc/verify/1"
    assert (document["on"], document["n"], document["matched"], document["bit_exact"]) == ("host", 3, 2, False)
    assert {"cell", "exact"} <= set(document)
    d = document["first_difference"]
    assert (d["puzzle"], d["step"], d["tensor"], d["index"]) == (2, 5, "logits", [1, 1])
    assert d["host"] != d["device"]
    assert command({}, "--json", "--limit", "1") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["n"] == 1 and document["first_difference"] is None and document["bit_exact"] is True


def test_command_on_a_port_that_is_not_there(command, capsys, monkeypatch):
    build = Build({"stm32h7": Artifact(Path("x"))})
    import recurc.build.manifest

    monkeypatch.setattr(recurc.build.manifest, "load_build", lambda folder, *_, **options: build)
    assert main(["verify", "B", "--on", "/dev/nonexistent", "--data", "D"]) == 7
    assert "cannot be opened" in capsys.readouterr().err


def test_boards_command(capsys):
    assert main(["boards"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "stm32h7" in out and "compiled: " in out and "neither firmware nor upload has been run on the part" in out
    assert main(["boards", "show", "stm32h7", "--json"]) == 0
    board = json.loads(capsys.readouterr().out)["board"]
    assert board["verified"] == "compiled" and board["twin"] == "mps2-an500"
    assert main(["boards", "show", "stm32h8"]) == 2
    assert "stm32h7" in capsys.readouterr().err


def test_the_keywords_of_a_call_are_the_fields_of_options_and_listener():
    wanted = {f.name: f.type for kind in (RunOptions, Listener) for f in dataclasses.fields(kind)}
    assert {name: kind.__forward_arg__ for name, kind in Keywords.__annotations__.items()} == wanted
