"""The ESP-IDF firmware as a process: the very sources of the project, with stand-ins for the functions of ESP-IDF."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import recurc
from recurc.dataset import Dataset
from recurc.device import frames as f
from recurc.device.faults import DeviceFaultError
from recurc.device.session import DeviceSession
from recurc.device.transports import open_transport
from recurc.errors import MismatchError
from tests.espidf.conftest import TARGET, flash_image, running


@pytest.fixture
def chip(project, tmp_path) -> dict[str, str]:
    return flash_image(project, tmp_path / "flash.bin")


@pytest.fixture(scope="session")
def puzzles(made) -> Dataset:
    c, rng = made.config, np.random.default_rng(3)
    tokens = rng.integers(0, c.vocab_size, (4, c.seq_len))
    return Dataset(tokens.astype(np.uint8), tokens.astype(np.int32), np.arange(1, 5, dtype=np.int32), c.seq_len, c.vocab_size,
                   c.num_puzzle_identifiers, None, Path("."), "test")  # fmt: skip


@pytest.mark.parametrize("wire", ["uart", "usb"])
def test_it_answers_as_this_build_and_solves_bit_exactly(made, programs, chip, puzzles, wire):
    with running(programs[wire], chip) as (port, process):
        with DeviceSession(open_transport(port), timeout=10) as session:
            info = session.hello()
            assert (info.board, info.build_id) == (TARGET, made.boards[TARGET].build_id)
            assert (info.status, info.table_status, info.table_mode) == (0, 0, f.TABLE_MAPPED)
            assert info.tick_hz == 240_000_000 and info.stack_bytes == 8192 and info.reset_cause == "power"
        result = recurc.verify(made, on=port, dataset=puzzles)
        assert result.bit_exact and len(result.puzzles) == 4 and result.board.name == TARGET
        assert result.stack_used == 8192 - 5000
        assert all(p.ticks > 0 for p in result.puzzles), "the counter wraps in between and time goes on"
        process.kill()
        said = process.stderr.read().decode()
    assert "watchdog 10000 ms, idle 0, panic 1" in said
    if wire == "uart":
        assert "uart 0 baud 921600 bits 3 parity 0 stop 1" in said and "uart 0 pins 43 44 -1 -1" in said
    else:
        assert "usb rx 4096" in said


def test_reset_is_answered_and_restarts(made, programs, chip):
    with running(programs["uart"], chip) as (port, process):
        with DeviceSession(open_transport(port), timeout=10) as session:
            session.hello()
            session.reset()
        assert process.wait(10) == 6 and b"restart" in process.stderr.read()


@pytest.mark.parametrize("number, cause", [(1, "power"), (2, "pin"), (3, "software"), (4, "software"), (6, "watchdog"),
                                           (11, "pin"), (8, "unknown")])  # fmt: skip
def test_reset_causes_are_told(programs, chip, number, cause):
    with running(programs["uart"], {**chip, "RC_RESET": str(number)}) as (port, _):
        with DeviceSession(open_transport(port), timeout=10) as session:
            assert session.hello().reset_cause == cause


@pytest.mark.parametrize("how, hang", [("fault", False), ("twdt", True)])
def test_a_panic_is_told_and_left_to_esp_idf(programs, chip, how, hang):
    """pc and return address without the bits of Xtensa's register windows."""
    with running(programs["uart"], {**chip, "RC_PANIC": how}) as (port, process):
        with DeviceSession(open_transport(port), timeout=10) as session, pytest.raises(DeviceFaultError) as e:
            session.hello()
        assert (e.value.fault.pc, e.value.fault.lr, e.value.fault.cfsr) == (0x420012AB, 0x420034CD, 28)
        assert e.value.fault.mmfar == 0x10 and e.value.fault.hang == hang
        assert process.wait(10) == 5 and b"panic 4" in process.stderr.read()


@pytest.mark.parametrize("name, at", [("weights", 0x90000 + 300), ("puzzles", None)])
def test_damaged_partitions_are_refused(made, project, programs, chip, puzzles, name, at):
    flash = Path(chip["RC_FLASH"])
    data = bytearray(flash.read_bytes())
    at = at if at is not None else made.details["boards"][TARGET]["plan"]["table"]["address"] + 5
    data[at] ^= 1
    flash.write_bytes(data)
    with running(programs["uart"], chip) as (port, _):
        with DeviceSession(open_transport(port), timeout=10) as session:
            info = session.hello()
            assert bool(info.status) == (name == "weights") and bool(info.table_status) == (name == "puzzles")
        if name == "weights":
            with pytest.raises(MismatchError, match="refuses its weights image"):
                recurc.verify(made, on=port, dataset=puzzles)


@pytest.mark.parametrize("keep", ["", "64,0,589824,4096;"])
def test_missing_or_small_partitions_are_told(programs, chip, keep):
    """A board with another partition table answers, and says that there is no image."""
    with running(programs["uart"], {**chip, "RC_PARTITIONS": keep}) as (port, _):
        with DeviceSession(open_transport(port), timeout=10) as session:
            info = session.hello()
            assert info.status and info.board == TARGET
