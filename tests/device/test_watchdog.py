"""A program that stands still is told of with its source line, and one that works or waits is left alone."""

from __future__ import annotations

import re
import time

import numpy as np
import pytest

from recurc.device import frames as f
from recurc.device.session import DeviceFaultError, DeviceRestartedError
from recurc.emit.code import emit_model
from recurc.emit.image import build_image
from recurc.plan.kernels import kernel_set
from recurc.plan.layout import make_layout
from recurc.quant.model import quantize_model
from recurc.quant.weights import precision_named
from recurc.resources import resource_dir
from recurc.targets.boards import list_boards, load_board
from recurc.verify.device import connect
from tests.device import dummy_build as dummy
from tests.device.runs import run_all
from tests.randmodels import random_reasoner
from tests.tools import EMULATED

HANG = {"DUMMY_HANG_STEP": 2, "RC_WATCHDOG_MS": 700}


def hang_line() -> int:
    lines = (dummy.DUMMY / "model.c").read_text().splitlines()
    return next(i for i, line in enumerate(lines, 1) if "turns++" in line)


def caught(board: str, elfs, **defines) -> DeviceFaultError:
    elf = elfs(board, defines={**HANG, **defines})
    with connect(load_board(board), elf, "host" if board == "host" else "qemu", step_timeout=60) as session:
        session.load(np.zeros(16))
        run = session.run(5)
        assert next(run).step == 1
        with pytest.raises(DeviceFaultError) as e:
            next(run)
    return e.value


@pytest.mark.parametrize("board", EMULATED)
def test_a_hang_is_located(board, elfs):
    error = caught(board, elfs)
    assert error.fault.cause == 1 and error.fault.hang and error.exit_code == 7
    assert error.place.function == "hang" and error.place.file.endswith("dummy/model.c")
    assert abs(error.place.line - hang_line()) <= 1
    assert "the firmware hangs" in str(error) and f"dummy/model.c:{error.place.line}" in str(error)


@pytest.mark.parametrize("board", [b for b in EMULATED if load_board(b).family == "arm"])
def test_with_interrupts_off_the_chips_own_watchdog_finds_it(board, elfs):
    error = caught(board, elfs, DUMMY_HANG_MASKED=1)
    assert error.fault.cause == 2 and error.place.function == "hang"
    assert "hardware watchdog" in str(error)


def test_a_process_hangs_too(elfs):
    error = caught("host", elfs)
    assert error.fault.cause == 1 and "not fed in time" in str(error)


@pytest.mark.parametrize("board", ("mps2-an500", "riscv32-virt"))
def test_waiting_for_requests_is_no_hang(board, elfs):
    """Also when half a frame lies in the receiver, and during runs that are longer than the watchdog waits."""
    elf = elfs(board, defines={"RC_WATCHDOG_MS": 1000})
    with connect(load_board(board), elf, "qemu", step_timeout=60) as session:
        session.hello()
        session.transport.write(b"\x07abc")
        time.sleep(1.0)
        session.load(np.zeros(16))
        for _ in range(3):
            assert len(run_all(session, 12)[0]) == 12
        assert session.retries <= 1


def test_a_reset_tells_its_cause(elfs):
    with connect(load_board("host"), elfs("host"), "host") as session:
        assert session.hello().reset_cause == "power"
        session._pending.append(f.Frame(f.BOOT, 0, bytes([4, 0])))
        with pytest.raises(DeviceRestartedError, match="watchdog restarted it") as e:
            session.load(np.zeros(16))
        assert e.value.cause == "watchdog"


def test_every_board_that_can_be_built_has_one():
    for board in list_boards():
        assert (board.watchdog is not None) == board.buildable, board.name
        if board.watchdog:
            assert board.defines["RC_WATCHDOG_MS"] == board.watchdog.seconds * 1000


def test_it_is_fed_by_the_schedule_and_by_no_interrupt():
    """In the generated code every call of a kernel is counted for the hook, which feeds it; in the ports nothing but the start
    does."""
    for mixer in ("mlp_t", "attention"):
        model = quantize_model(random_reasoner(mixer), precision_named("int8"))
        image, kernels = build_image(model, kernel_set("host")), kernel_set("host")
        text = emit_model(model, image, kernels, make_layout(model.program, model.forms, kernels, 20_000))["model.c"]
        worked = re.findall(r"^ +(?:linear|swiglu)_tile\w*\(.*\);\n(.*)", text, re.M)
        assert len(worked) > 5 and all("if (spend(call->ctx, " in line for line in worked), mixer
    for file in (resource_dir("runtime_c") / "ports").rglob("*.c"):
        text = file.read_text()
        for handler in re.findall(r"void (?:rc_systick_handler|rc_fault_c|rc_trap_c)\(.*?\n}\n", text, re.S):
            assert "watchdog_feed" not in handler, file
