"""Memory protection: the table says what the board file says, and in QEMU every access outside the budget is a fault."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from recurc.device.session import DeviceFaultError
from recurc.errors import InputError
from recurc.targets.boards import list_boards, load_board, parse_board
from recurc.targets.mpu import SLOTS, mpu_entries
from recurc.verify.device import connect
from tests.device.dummy_build import build_dummy
from tests.targets.texts import GOOD
from tests.tools import BUDGETS, need

WRITE_IMAGE, WRITE_CODE, RUN_RAM, READ, WRITE = range(1, 6)
DACCVIOL, IACCVIOL, MMARVALID = 0x02, 0x01, 0x80  # of CFSR: MemManage faults, Arm v7-M ARM B3.2.15


def open_ranges(board, placed=()) -> list[tuple[int, int, bool, bool]]:
    """(start, end, writable, executable) of each entry, decoded from the words as the unit would."""
    ranges = []
    for entry in mpu_entries(board, placed):
        if board.mpu == "v8":
            writable = (entry.base_word >> 1) & 3 in (0, 1)
            ranges.append((entry.base_word & ~31, (entry.second_word | 31) + 1, writable, not entry.base_word & 1))
            assert entry.second_word & 1
            continue
        word = entry.second_word
        size = 2 << ((word >> 1) & 31)
        assert word & 1 and entry.base_word % size == 0
        access = ((word >> 24) & 7) == 3, not (word >> 28) & 1
        for i in range(8):
            if not (word >> (8 + i)) & 1:
                start = entry.base_word + i * size // 8
                ranges.append((start, start + size // 8, *access))
    merged: list[tuple[int, int, bool, bool]] = []
    for r in sorted(ranges):
        if merged and merged[-1][1] == r[0] and merged[-1][2:] == r[2:]:
            r = (merged.pop()[0], *r[1:])
        merged.append(r)
    return merged


@pytest.mark.parametrize("name", [b.name for b in list_boards() if b.mpu])
def test_the_table_opens_the_regions_and_the_peripherals_and_nothing_else(name):
    board = load_board(name)
    want = sorted([(r.base, r.end, r.writable, not r.writable) for r in board.regions if not r.optional]
                  + [(0x40000000, 0x60000000, True, False)])  # fmt: skip
    assert open_ranges(board) == want
    assert len(mpu_entries(board, ())) <= SLOTS


def board_with(base: int, size: int, mpu: str):
    text = GOOD.replace("base = 0x20000000\nsize = 0x1000", f"base = {base:#x}\nsize = {size:#x}")
    return parse_board(text.replace('verified = "described"', f'verified = "described"\nmpu = "{mpu}"'), Path("b.toml"))


@pytest.mark.parametrize("base, size", [(0x20000000, 0x1000), (0x20008000, 0x7C000), (0x20000100, 0x20), (0x20010000, 0x70000),
                                        (0x70000000, 0x7C0000), (0x20000000, 0x270000)])  # fmt: skip
@pytest.mark.parametrize("mpu", ["v7", "v8"])
def test_odd_sizes_are_covered_exactly(base, size, mpu):
    board = board_with(base, size, mpu)
    assert (base, base + size, True, False) in open_ranges(board)


def test_optional_regions_open_only_when_used():
    board = load_board("teensy41")
    psram = board.region("psram")
    assert not any(start <= psram.base < end for start, end, *_ in open_ranges(board))
    assert any(start == psram.base for start, *_ in open_ranges(board, ("psram",)))


@pytest.mark.parametrize("mpu", ["v7", "v8"])
def test_what_the_unit_cannot_describe_is_an_error(mpu):
    with pytest.raises(InputError, match="multiples of 32"):
        mpu_entries(board_with(0x20000010, 0x1000, mpu), ())
    if mpu == "v7":
        with pytest.raises(InputError, match=f"slots of {SLOTS}"):
            mpu_entries(board_with(0x20000020, 0x7FFFC0, mpu), ())


def run_probe(board: str, tmp_path: Path, probe: int | None, address: int = 0):
    need(board)
    defines = {} if probe is None else {"DUMMY_PROBE": probe, "DUMMY_ADDRESS": address}
    elf = build_dummy(board, tmp_path, defines=defines)
    with connect(load_board(board), elf, "qemu", step_timeout=30) as session:
        session.load(np.zeros(16))
        return [s.step for s in session.run(3) if hasattr(s, "step")]


def outside(name: str) -> list[int]:
    """Addresses just outside the board's regions where the emulated machine has memory all the same."""
    board = load_board(name)
    ends = [r.end for r in board.regions if not any(o.base == r.end for o in board.regions)]
    machine = {
        "mcu-4mb": [(0x10000000, 0x10400000), (0x38000000, 0x38400000), (0x80000000, 0x81000000)],
        "mcu-4mb-m7": [(0x0, 0x800000), (0x20000000, 0x20800000), (0x60000000, 0x61000000)],
        "soc-8mb": [(0x0, 0x800000), (0x20000000, 0x20800000), (0x60000000, 0x61000000)],
    }[name]
    starts = [low for low, _ in machine if not any(r.base <= low < r.end for r in board.regions)]
    return [a for a in ends if any(low <= a < high for low, high in machine)] + starts


@pytest.mark.parametrize("board", BUDGETS)
def test_a_firmware_that_stays_inside_runs(board, tmp_path):
    assert run_probe(board, tmp_path, None) == [1, 2, 3]
    ram = load_board(board).candidates("arena")[-1]
    assert run_probe(board, tmp_path, WRITE, ram.end - 1) == [1, 2, 3]
    assert run_probe(board, tmp_path, READ, load_board(board).region("flash").end - 1) == [1, 2, 3]


@pytest.mark.parametrize("board", BUDGETS)
@pytest.mark.parametrize("probe", [WRITE_IMAGE, WRITE_CODE])
def test_writes_into_flash_fault(board, probe, tmp_path):
    with pytest.raises(DeviceFaultError) as e:
        run_probe(board, tmp_path, probe)
    fault, flash = e.value.fault, load_board(board).region("flash")
    assert fault.cfsr & 0xFF == DACCVIOL | MMARVALID
    assert flash.base <= fault.mmfar < flash.end and flash.base <= fault.pc < flash.end


@pytest.mark.parametrize("board", BUDGETS)
def test_instructions_in_ram_fault(board, tmp_path):
    with pytest.raises(DeviceFaultError) as e:
        run_probe(board, tmp_path, RUN_RAM)
    region = load_board(board).candidates("data")[0]
    assert e.value.fault.cfsr & 0xFF == IACCVIOL
    assert region.base <= e.value.fault.pc < region.end


@pytest.mark.parametrize("board, address", [(b, a) for b in BUDGETS for a in outside(b)])
def test_reads_outside_the_budget_fault(board, address, tmp_path):
    """The emulated machine has memory there: without the unit the read would succeed."""
    with pytest.raises(DeviceFaultError) as e:
        run_probe(board, tmp_path, READ, address)
    assert e.value.fault.cfsr & 0xFF == DACCVIOL | MMARVALID and e.value.fault.mmfar == address


@pytest.mark.parametrize("board", BUDGETS)
def test_a_stack_overflow_faults(board, tmp_path):
    need(board)
    elf = build_dummy(board, tmp_path, defines={"DUMMY_DEEP_STEP": 2})
    with connect(load_board(board), elf, "qemu", step_timeout=30) as session:
        session.load(np.zeros(16))
        with pytest.raises(DeviceFaultError) as e:
            list(session.run(3))
    assert e.value.fault.cfsr
