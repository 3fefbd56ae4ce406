"""The ports of real chips on a simulated core: they start, and what never gets ready ends in the way that is defined for it."""

from __future__ import annotations

import pytest

from recurc.device.coding import Frame, Receiver
from recurc.device.frames import BOOT, FAULT
from recurc.emit.linker import Placement
from recurc.targets.boards import load_board
from tests.device.dummy_build import build_dummy
from tests.placing import default_placement
from tests.targets.chipmodel import AIRCR, BOARDS, HANGING, IDLE, RESET, Chip
from tests.tools import need

PORTS = tuple(BOARDS)
# Port -> its watchdog's control register and the bits whose store starts it.
WATCHDOGS = {
    "stm32h743": (0x58004800, 0xCCCC), "stm32u5": (0x40003000, 0xCCCC), "imxrt": (0x400B8000, 0x4),
    "rp2350": (0x400D8000, 1 << 30), "apollo5": (0x40024000, 1), "nrf53": (0x50018000, 1),
}  # fmt: skip
# Port -> the register that makes its watchdog stand while a debugger halts the core, and the bits.
FREEZES = {
    "stm32h743": (0x5C001054, 1 << 18), "stm32u5": (0xE0044008, 1 << 12), "imxrt": (0x400B8000, 1 << 1),
    "rp2350": (0x400D8000, 7 << 24),
}  # fmt: skip
CCR, DCISW, ICER, ICPR, CFGR1, CFGR2 = 0xE000ED14, 0xE000EF60, 0xE000E180, 0xE000E280, 0x46020C1C, 0x46020C20
UNPROTECTED = 0x50FA50FA


def frames(chip: Chip) -> list[int]:
    """Types of the frames that were sent."""
    return [frame.type for frame in Receiver().push(bytes(chip.sent)) if isinstance(frame, Frame)]


@pytest.mark.parametrize("port", PORTS)
def test_it_starts_at_the_boards_clock_and_says_so(port, start):
    chip = start(port)
    assert chip.run() == IDLE and frames(chip) == [BOOT]
    assert chip.core_hz == (400_000_000 if port == "stm32h743" else chip.board.clock_hz)  # a chip of revision 0


def test_revision_v_runs_at_480_mhz(start):
    chip = start("stm32h743", values={0x5C001000: 0x20030450})
    assert chip.run() == IDLE and chip.core_hz == load_board("nucleo-h743").clock_hz


@pytest.mark.parametrize("port, register, bits, ends, hz, divider", [
    ("stm32h743", "PWR_CSR1", 0x2000, IDLE, 64_000_000, 69),
    ("stm32h743", "PWR_D3CR", 0x2000, IDLE, 64_000_000, 69),
    ("stm32h743", "RCC_CR", 1 << 25, IDLE, 64_000_000, 69),
    ("stm32h743", "FLASH_ACR", 0xF, IDLE, 64_000_000, 69),
    ("stm32h743", "RCC_CFGR", 0x38, IDLE, 64_000_000, 69),
    ("stm32h743", "RCC_CR", 1 << 2, RESET, 0, None),
    ("stm32u5", "PWR_VOSR", 1 << 15, IDLE, 16_000_000, 17),
    ("stm32u5", "PWR_VOSR", 1 << 14, IDLE, 16_000_000, 17),
    ("stm32u5", "FLASH_ACR", 0xF, IDLE, 16_000_000, 17),
    ("stm32u5", "RCC_CR", 1 << 25, IDLE, 16_000_000, 17),
    ("stm32u5", "RCC_CR", 1 << 10, RESET, 0, None),
    ("stm32u5", "RCC_CFGR1", 0xC, RESET, 0, None),
    ("imxrt", "PLL_ARM", 1 << 31, IDLE, 24_000_000, 0x19000001),
    ("nrf53", "CLOCK_HFCLKSTARTED", 1, IDLE, 128_000_000, 0x01D60000),
    ("rp2350", "PLL_CS", 1 << 31, IDLE, 12_000_000, 6),
    ("rp2350", "XOSC_STATUS", 1 << 31, RESET, 0, None),
    ("rp2350", "RESETS_DONE", 1 << 26, RESET, 0, None),
    ("rp2350", "CLK_SYS_SELECTED", 1, RESET, 0, None),
    ("rp2350", "CLK_REF_SELECTED", 4, RESET, 0, None),
    ("apollo5", "PWR_DEVPWRSTAT", 1 << 9, RESET, 0, None),
])  # fmt: skip
def test_what_never_gets_ready_has_a_bound_and_an_end(port, register, bits, ends, hz, divider, start):
    """The chip stays on a clock that runs, with the UART at its rate, or starts anew; its watchdog runs by then."""
    chip = start(port, stuck={register: bits})
    assert chip.run() == ends and chip.core_hz == hz
    assert frames(chip) == ([BOOT] if ends == IDLE else [])
    assert divider is None or chip.wrote(chip.uart.divider)[-1] == divider
    address, value = WATCHDOGS[port]
    assert any(v & value == value for v in chip.wrote(address))


def test_dividers_of_the_imxrt_that_never_change_end_in_a_reset(start):
    for bit in (1, 3, 5, 16):
        assert start("imxrt", values={0x400FC048: 1 << bit}, reads=0).run() == RESET, bit  # the port's own bound


def test_an_external_clock_that_does_not_come_is_replaced(start):
    for stuck, source in (({}, 0x12), ({"RCC_CR": 1 << 17}, 0x80)):
        chip = start("stm32h743", ("RC_HSE_HZ", 8_000_000), stuck=stuck, values={0x5C001000: 0x20030450})
        assert chip.run() == IDLE and chip.core_hz == 480_000_000
        assert chip.wrote(0x58024428) == [source]


@pytest.mark.parametrize("port", PORTS)
def test_the_watchdog_runs_before_the_first_clock(port, start):
    chip = start(port)
    assert chip.run(until="rc_chip_init") == IDLE
    address, value = WATCHDOGS[port]
    assert any(v & value == value for v in chip.wrote(address))
    if port in FREEZES:
        address, value = FREEZES[port]
        assert any(v & value == value for v in chip.wrote(address)), "it stands while a debugger halts the core"


def test_the_nrf5340_s_stands_in_a_debugger_too(start):
    chip = start("nrf53")
    chip.run()
    assert chip.wrote(0x5001850C) == [1], "CONFIG: runs in sleep, not while halted"


@pytest.mark.parametrize("port, status", [("stm32h743", 0x5800480C), ("stm32u5", 0x4000300C)])
def test_an_iwdg_that_stays_busy_is_not_waited_for(port, status, start):
    chip = start(port, values={status: 7})
    assert chip.run() == IDLE and 0xAAAA in chip.wrote(WATCHDOGS[port][0])


@pytest.mark.parametrize("port", PORTS)
def test_a_fault_before_the_uart_has_its_clock_is_not_waited_for(port, start):
    chip = start(port, uart_on=False)
    assert chip.fault("rc_chip_init") == RESET
    assert chip.wrote(AIRCR) == [0x05FA0004] and chip.wrote(chip.uart.send) == []


@pytest.mark.parametrize("port", PORTS)
def test_a_fault_later_is_told(port, start):
    chip = start(port)
    assert chip.fault("rc_port_read") == RESET and frames(chip) == [BOOT, FAULT]


@pytest.mark.parametrize("port", PORTS)
def test_a_uart_that_takes_nothing_stops_nobody(port, start):
    chip = start(port, uart_on=False)
    assert chip.run() == IDLE
    assert chip.fault("rc_port_read") == RESET and chip.ended != HANGING


@pytest.mark.parametrize("port", PORTS)
def test_interrupts_are_off_before_they_are_allowed(port, start):
    chip = start(port, values={0xE000E004: 7})  # ICTR: 256 of them
    chip.run(until="rc_chip_init")
    for base in (ICER, ICPR):
        assert [chip.wrote(base + 4 * i) for i in range(9)] == [*[[0xFFFFFFFF]] * 8, []]


@pytest.mark.parametrize("port", ["stm32h743", "imxrt", "apollo5"])
def test_caches_are_on_and_a_full_one_is_not_emptied(port, start):
    cold, warm = start(port), start(port, values={CCR: 1 << 16})
    for chip in (cold, warm):
        assert chip.run() == IDLE and chip.get(CCR) & (3 << 16) == 3 << 16
    assert cold.wrote(DCISW) and not warm.wrote(DCISW)


def test_the_h743_runs_with_its_stack_in_axi_sram(tmp_path):
    """As where the arena needs all of the DTCM."""
    need(BOARDS["stm32h743"])
    board = load_board(BOARDS["stm32h743"])
    usual = default_placement(board)
    moved = Placement({**usual.regions, "data": "axisram", "stack": "axisram"}, usual.sizes)
    chip = Chip("stm32h743", build_dummy(board.name, tmp_path, placement=moved))
    assert chip.run() == IDLE and frames(chip) == [BOOT]
    axi = board.region("axisram")
    assert axi.base <= chip.symbols["core_hz"] < axi.end and axi.base == chip.symbols["rc_stack_limit"]


def test_the_apollo510_s_caches_need_power(start):
    chip = start("apollo5")
    chip.run()
    assert chip.get(0xE001E000) & (3 << 12) == 3 << 12 and chip.wrote(0x40039030)[-1] == 0x319  # 24 MHz of HFRC
    assert chip.get(0x40000000) & 2, "its watchdog may reset the chip"
    unpowered = start("apollo5", values={0xE001E300: 1 << 8})
    assert unpowered.run() == IDLE and not unpowered.get(CCR) & (1 << 16)


def test_the_u5_goes_to_160_mhz_in_two_steps(start):
    chip = start("stm32u5")
    chip.run()
    steps = [(at, value) for at, value in chip.writes if at in (CFGR1, CFGR2)]
    assert steps == [(CFGR2, 8), (CFGR1, 3), (CFGR2, 0)]


@pytest.mark.parametrize("word", [UNPROTECTED, 0xFFFFFFFF, 0])
def test_the_nrf5340_s_debug_port_is_as_uicr_says(word, start):
    chip = start("nrf53", values={0x00FF8000: word, 0x00FF801C: word})
    assert chip.run() == IDLE
    assert (chip.wrote(0x50006544), chip.wrote(0x5000654C)) == ([word], [word])


SUPPLY, PROTECTION, CLOCK, NEWER = 0x5000470C, 0x50004A20, 0x50039530, 0x502012A0


@pytest.mark.parametrize("family, revision, supply, first, newer", [
    (7, 2, [0x29, 0x65], True, False), (7, 3, [], False, False), (7, 4, [], False, False), (7, 5, [0x7E], False, True),
    (7, 6, [0x7E], False, True), (6, 2, [], False, False),
])  # fmt: skip
def test_the_nrf5340_s_errata_go_by_its_revision(family, revision, supply, first, newer, start):
    chip = start("nrf53", values={0x00FF0130: family, 0x00FF0134: revision})
    assert chip.run() == IDLE and chip.core_hz == 128_000_000
    assert chip.wrote(SUPPLY) == supply
    assert chip.wrote(PROTECTION) == ([0xD] if first else []) and chip.wrote(CLOCK) == ([0xBEEF0044] if first else [])
    assert chip.wrote(0x50005558) == ([1, 0] if first else [0]) and chip.wrote(0x5084450C) == ([0x4040] if first else [])
    assert chip.wrote(NEWER) == ([0] if newer else [])


def test_a_chip_that_97_was_cured_of_keeps_what_it_has(start):
    chip = start("nrf53", values={0x00FF0130: 7, 0x00FF0134: 2, PROTECTION: 0xD})
    assert chip.run() == IDLE and chip.wrote(PROTECTION) == []
