"""A board that runs slower than its file says is told of: its port went on without the clock that did not start."""

from __future__ import annotations

import pytest

from recurc.cli.common.verified import clock_text
from recurc.targets.boards import load_board


@pytest.mark.parametrize("board, told, says", [
    ("stm32h7", 64_000_000, "its clock runs at 64 MHz, and 480 MHz are stm32h7's"), ("stm32h7", 480_000_000, ""),
    ("pico2", 12_000_000, "12 MHz, and 150 MHz"), ("mps2-an500", 1000, ""), ("host", 1000, ""), ("nrf5340", 0, ""),
])  # fmt: skip
def test_a_slow_clock_is_said(board, told, says):
    text = clock_text(load_board(board), told)
    assert (says in text) if says else text == ""
