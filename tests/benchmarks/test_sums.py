"""What the cost of a self-test is said to be, against counts in the emulator."""

from __future__ import annotations

import pytest

from benchmarks.counting import BOARDS, count_sums
from recurc.plan.selftest import CRC, SHA256, selftest_cost
from recurc.targets.boards import list_boards, load_board
from tests.benchmarks.compilers import need_same_compiler


@pytest.mark.parametrize("name", BOARDS)
def test_instructions_a_byte_are_as_counted(name, tmp_path):
    need_same_compiler(name)
    crc, sha256 = count_sums(name, tmp_path)
    core = load_board(name).core
    assert crc == pytest.approx(CRC[core], rel=0.03) and sha256 == pytest.approx(SHA256[core], rel=0.03)


def test_the_cost_grows_with_bytes_and_falls_with_the_clock():
    chip, slow, unknown = load_board("stm32h7"), load_board("mps2-an500"), load_board("esp32-s3-n8r8")
    one = selftest_cost(chip, {"weights image": (1_000_000, "flash")})
    two = selftest_cost(chip, {"weights image": (1_000_000, "flash"), "puzzle table": (1_000_000, None)})
    assert (one.bytes, one.instructions) == (1_000_000, 50_000_000)
    assert two.instructions == 93_000_000 and two.seconds > one.seconds
    # 50 instructions at 480 MHz, and four wait states for each of three reads of 31,250 lines
    assert one.seconds == pytest.approx(50e6 / 480e6 + 3 * 31_250 * 4 / 480e6)
    assert selftest_cost(slow, {"weights image": (1_000_000, None)}).seconds == pytest.approx(2.0)
    assert selftest_cost(unknown, {"weights image": (1, None)}).seconds is None
    assert selftest_cost(load_board("host"), {"weights image": (1, None)}).instructions is None


def test_every_board_with_a_clock_and_a_core_that_was_counted_has_an_estimate():
    for board in list_boards():
        cost = selftest_cost(board, {"weights image": (4096, None)})
        assert (cost.seconds is None) == (board.core not in CRC or not board.clock_hz), board.name
