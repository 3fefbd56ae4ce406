"""The startup after a boot loader that left interrupts, timers, priorities or another stack behind."""

from __future__ import annotations

import struct
import subprocess

import numpy as np
import pytest
from elftools.elf.elffile import ELFFile

from recurc.device.session import DeviceFaultError
from recurc.targets.boards import load_board
from recurc.targets.toolchain import find_compiler
from recurc.verify.device import connect
from tests.device.dummy_build import DUMMY
from tests.device.runs import run_all
from tests.tools import EMULATED

ARM = [b for b in EMULATED if load_board(b).family == "arm"]
IRQ, PENDSV, SYSTICK, BASEPRI, PROCESS_STACK = 1, 2, 3, 4, 5
PAGE = 4096


def booted(board: str, elf, leave: int, folder):
    """The firmware with its reset vector on the boot loader, which lies in the last page of its flash: (ELF, memory)."""
    code = load_board(board).candidates("code")[0]
    data = bytearray(elf.read_bytes())
    with elf.open("rb") as stream:
        file = ELFFile(stream)
        vectors = file.get_section_by_name(".symtab").get_symbol_by_name("rc_vectors")[0]["st_value"]
        text = file.get_section_by_name(".text")
        at = text["sh_offset"] + vectors - text["sh_addr"] + 4
        assert text["sh_addr"] + text["sh_size"] < code.end - PAGE
    (reset,) = struct.unpack_from("<I", data, at)
    struct.pack_into("<I", data, at, (code.end - PAGE) | 1)
    (folder / "booted.elf").write_bytes(data)
    stack = load_board(board).candidates("data")[0].end
    call = [find_compiler("arm"), *load_board(board).cpu_flags, f"-DLEAVE={leave}", f"-DFIRMWARE={reset:#x}",
            f"-DSTACK={stack:#x}", "-nostdlib", f"-Wl,-Ttext={code.end - PAGE:#x}", str(DUMMY.parent / "loader.S"),
            "-o", str(folder / "loader.elf")]  # fmt: skip
    subprocess.run(call, check=True)
    with (folder / "loader.elf").open("rb") as stream:
        (folder / "loader.bin").write_bytes(ELFFile(stream).get_section_by_name(".text").data())
    return folder / "booted.elf", ((folder / "loader.bin", code.end - PAGE),)


@pytest.mark.parametrize("leave", [0, IRQ, PENDSV, PROCESS_STACK], ids=["nothing", "irq", "pendsv", "stack"])
@pytest.mark.parametrize("board", ARM)
def test_what_it_left_is_gone(board, leave, elfs, tmp_path):
    elf, memory = booted(board, elfs(board), leave, tmp_path)
    with connect(load_board(board), elf, "qemu", step_timeout=30, memory=memory) as session:
        assert session.hello().board == board
        session.load(np.zeros(16))
        done, result = run_all(session, 3)
        assert len(done) == 3 and 0 < result.stack_used < load_board(board).stack_bytes


@pytest.mark.parametrize("leave", [SYSTICK, BASEPRI], ids=["systick", "basepri"])
@pytest.mark.parametrize("board", ["mps2-an500", "mps2-an505"])
def test_the_watchdog_still_tells_where_it_hangs(board, leave, elfs, tmp_path):
    """Its first stage, which needs SysTick and PendSV in this order, and not the second, which cannot wait as long."""
    firmware = elfs(board, defines={"DUMMY_HANG_STEP": 2, "RC_WATCHDOG_MS": 700})
    elf, memory = booted(board, firmware, leave, tmp_path)
    with connect(load_board(board), elf, "qemu", step_timeout=60, memory=memory) as session:
        session.load(np.zeros(16))
        with pytest.raises(DeviceFaultError) as e:
            list(session.run(5))
    assert e.value.fault.cause == 1 and e.value.place.function == "hang"
