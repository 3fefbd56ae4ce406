"""A build id names all that a firmware is made of, so that a stale one on a board is told apart."""

from __future__ import annotations

import dataclasses
import shutil

import pytest

from recurc.emit import sources as emitted
from recurc.plan.kernels import choose_kernels
from recurc.resources import resource_dir
from recurc.targets.boards import load_board


@pytest.fixture
def made(tmp_path):
    """made(board=..., extra=...) -> build id, of a copy of the runtime in `made.runtime`."""
    runtime = tmp_path / "runtime"
    shutil.copytree(resource_dir("runtime_c"), runtime)
    board = load_board("mps2-an500")
    sources = emitted.Sources(tmp_path / "src", choose_kernels(board.features), None, 0, "digest", "code", 1)  # type: ignore[arg-type]

    def get(board=board, *extra: str) -> str:
        return emitted.firmware_id(board, sources, runtime, *extra)

    get.runtime, get.board = runtime, board
    return get


@pytest.mark.parametrize("name", [
    "kernels/dsp/rc_tile_s4_dsp.c", "wire/rc_server.c", "ports/mps2/rc_port_mps2.c", "include/recurc/rc_arith.h",
    "ports/arm_common/rc_arm.h",
])  # fmt: skip
def test_a_change_of_the_runtime_is_another_build(made, name):
    before = made()
    assert len(before) == 32 and before == made()
    with open(made.runtime / name, "a") as f:
        f.write("/* fixed */\n")
    assert made() != before


def test_what_the_firmware_does_not_hold_is_none(made):
    before = made()
    with open(made.runtime / "ports" / "stm32h743" / "rc_chip_h743.c", "a") as f:
        f.write("/* fixed */\n")
    assert made() == before


def test_a_changed_board_is_another_build(made):
    b = made.board
    for change in ({"defines": {**b.defines, "RC_UART_BASE": 1}}, {"cpu_flags": ("-mcpu=x",)}, {"name": "other"}):
        assert made(dataclasses.replace(b, **change)) != made()
    assert made(b, "another linker script") != made()
