"""A chip's own firmware on a simulated core (Unicorn) with its registers as plain memory, but for those that answer.

What a port waits for comes from `templates/renode/ports.toml`, which a test holds against the ports' sources; the UART's and
the core's registers are here. Nothing has time, interrupts or faults: a test stops the core where it wants one.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from recurc.make.renode import port_registers
from recurc.targets.boards import Board, load_board
from tests.tools import missing

AIRCR, DWT_CYCCNT, MPU_TYPE = 0xE000ED0C, 0xE0001004, 0xE000ED90
MPU_SLOTS = 16 << 8
PERIPHERALS = ((0x40000000, 0x20000000), (0xE0000000, 0x00100000))
NRF_INFO = (0x00FF0000, 0x10000)  # FICR and UICR
SECONDS = 20  # of this computer, after which a core that goes on counts as hanging
RESET, IDLE, HANGING = "reset", "idle", "hanging"


@dataclass(frozen=True)
class Uart:
    """A UART's register for sending, and those whose bits say that it may: address -> bits (set, cleared by `idle`)."""

    send: int
    ready: dict[int, int]
    divider: int  # the register that sets the rate
    status: int  # where a received byte shows: `received` set, or cleared where `when_empty`
    received: int
    data: int
    when_empty: bool = False
    pointer: int = 0  # with DMA: `send` starts a transfer of one byte from the address there, `data` has where one goes to
    start: int = 0  # with DMA: starts receiving


UARTS = {
    "stm32h743": Uart(0x40004828, {0x4000481C: 0xC0}, 0x4000480C, 0x4000481C, 0x20, 0x40004824),
    "stm32u5": Uart(0x40013828, {0x4001381C: 0xC0}, 0x4001380C, 0x4001381C, 0x20, 0x40013824),
    "imxrt": Uart(0x4018401C, {0x40184014: 0x00C00000}, 0x40184010, 0x40184014, 0x00200000, 0x4018401C),
    "rp2350": Uart(0x40070000, {0x40070018: 0}, 0x40070024, 0x40070018, 0x10, 0x40070000, True),
    "apollo5": Uart(0x40039000, {0x40039018: 0}, 0x40039024, 0x40039018, 0x10, 0x40039000, True),
    "nrf53": Uart(
        0x50008008, {0x50008120: 1, 0x5000814C: 1}, 0x50008524, 0x50008110, 1, 0x50008534, pointer=0x50008544, start=0x50008000
    ),
}
SWITCHES = {"RCC_CFGR": 7, "RCC_CFGR1": 3}  # STM32: the core's clock as asked for, and above it the one that runs
BOARDS = {"stm32h743": "nucleo-h743", "stm32u5": "stm32u5a5", "imxrt": "teensy41", "rp2350": "pico2", "apollo5": "apollo510",
          "nrf53": "nrf5340"}  # fmt: skip


def need_unicorn() -> None:
    try:
        import unicorn  # noqa: F401
    except ImportError:
        missing("unicorn")


@dataclass
class Chip:
    """A core with a firmware of one board.

    `stuck`: names of ports.toml and the bits of them that never get set. `uart_on`: its status bits are ever set.
    `values`: what registers hold at reset. After `run`: `sent` is what went out, `writes` every store to a peripheral.
    """

    port: str
    elf: Path
    stuck: Mapping[str, int] = field(default_factory=dict)
    uart_on: bool = True
    values: dict[int, int] = field(default_factory=dict)
    sent: bytearray = field(default_factory=bytearray)
    writes: list[tuple[int, int]] = field(default_factory=list)
    incoming: bytearray = field(default_factory=bytearray)

    def __post_init__(self) -> None:
        need_unicorn()
        import unicorn as u
        import unicorn.arm_const as arm

        self.board: Board = load_board(BOARDS[self.port])
        self.uart = UARTS[self.port]
        self._u, self._arm = u, arm
        self.uc = u.Uc(u.UC_ARCH_ARM, u.UC_MODE_THUMB | u.UC_MODE_MCLASS)
        self.uc.ctl_set_cpu_model(arm.UC_CPU_ARM_CORTEX_M7 if "m7" in self.board.core else arm.UC_CPU_ARM_CORTEX_M33)
        for base, size in (*((r.base, r.size) for r in self.board.regions), *PERIPHERALS):
            self.uc.mem_map(base & ~0xFFF, (size + 0xFFF) & ~0xFFF)
        if self.port == "nrf53" and self.board.region("flash").end <= NRF_INFO[0]:
            self.uc.mem_map(*NRF_INFO)
        self._load()
        for address, value in {MPU_TYPE: MPU_SLOTS, **self.values}.items():
            self.put(address, value)
        self._answer()
        self.ended = ""

    def _load(self) -> None:
        with self.elf.open("rb") as stream:
            file = ELFFile(stream)
            for segment in file.iter_segments():
                if segment["p_type"] == "PT_LOAD" and segment["p_filesz"]:
                    self.uc.mem_write(segment["p_paddr"], segment.data())
            table = file.get_section_by_name(".symtab")
            self.symbols = {s.name: s["st_value"] for s in table.iter_symbols() if s.name}
        self.entry = struct.unpack("<I", self.uc.mem_read(self.symbols["rc_vectors"] + 4, 4))[0]
        if "rc_imxrt_entry" in self.symbols:
            self.entry = self.symbols["rc_imxrt_entry"]

    def _answer(self) -> None:
        """The registers that are more than memory."""
        known = port_registers()[self.port]
        for tag in known.get("tags", ()):
            never = self.stuck.get(tag["name"], 0)
            if select := SWITCHES.get(tag["name"]):
                shift = select.bit_length()
                self._reads(tag["address"], lambda old, f=select, s=shift, n=never: (old & ~(f << s) | (old & f) << s) & ~n)
            else:
                self._reads(tag["address"], lambda old, value=tag["value"], n=never: (old | value) & ~n)
        for rolling in known.get("rolling", ()):
            never = self.stuck.get(rolling["name"], 0)
            self._reads(rolling["address"], lambda old, n=never: (((old << 1) & 0xF) or 1) & ~n)
        self._reads(DWT_CYCCNT, lambda old: (old + 100) & 0xFFFFFFFF)
        for address, bits in self.uart.ready.items():
            if self.port in ("rp2350", "apollo5"):  # the PL011's bits are set while it is busy
                self._reads(address, lambda old: 0 if self.uart_on else 0x28)
            else:
                self._reads(address, lambda old, b=bits: old | b if self.uart_on else old & ~b)
        self._reads(self.uart.status, self._waiting)
        self._filling, self._offered = 0, False
        for base, size in PERIPHERALS:
            self.uc.hook_add(self._u.UC_HOOK_MEM_WRITE, self._written, begin=base, end=base + size - 1)

    def _waiting(self, old: int) -> int:
        """The status register with or without a received byte; with DMA the byte is in memory when it shows."""
        if self.uart.start:
            if not old & self.uart.received and self.incoming and self._filling:
                self.uc.mem_write(self._filling, bytes([self.incoming.pop(0)]))
                self._filling = self.get(self.uart.data)  # the next transfer starts at once and takes its address
                return old | self.uart.received
            return old
        return old | self.uart.received if self._offered != self.uart.when_empty else old & ~self.uart.received

    def offer(self) -> None:
        """Put the next byte into the receiver, before the firmware looks. Not by a hook on its register: in one Unicorn loses
        the state of an IT block."""
        if not self.uart.start:
            self._offered = bool(self.incoming)
            self.put(self.uart.data, self.incoming.pop(0) if self.incoming else 0)

    def _reads(self, address: int, change: Callable[[int], int]) -> None:
        def hook(uc, access, at, size, value, data):
            self.put(address, change(self.get(address)))

        self.uc.hook_add(self._u.UC_HOOK_MEM_READ, hook, begin=address, end=address + 3)

    def _written(self, uc, access, at, size, value, data) -> None:
        value &= 0xFFFFFFFF
        self.writes.append((at, value))
        if at == AIRCR and value == 0x05FA0004:
            self._stop(RESET)
        elif at == self.uart.send and self.uart_on:
            source = self.get(self.uart.pointer) if self.uart.start else None
            self.sent.append(value & 0xFF if source is None else self.uc.mem_read(source, 1)[0])

        elif self.uart.start and at == self.uart.start:
            self._filling = self.get(self.uart.data)

    def _stop(self, why: str) -> None:
        self.ended = why
        self.uc.emu_stop()

    def get(self, address: int) -> int:
        return struct.unpack("<I", self.uc.mem_read(address, 4))[0]

    def put(self, address: int, value: int) -> None:
        self.uc.mem_write(address, struct.pack("<I", value & 0xFFFFFFFF))

    def wrote(self, address: int) -> list[int]:
        """Values that the firmware stored there, in order."""
        return [value for at, value in self.writes if at == address]

    def run(self, start: int | None = None, until: str = "rc_port_read") -> str:
        """Go on from `start` (the reset vector) until `until` is called, the chip resets itself, or neither comes."""
        self.ended = ""
        self.uc.reg_write(self._arm.UC_ARM_REG_SP, self.symbols["rc_stack_top"])
        end = self.symbols[until] & ~1
        try:
            self.uc.emu_start((self.entry if start is None else start) | 1, end, timeout=SECONDS * 1_000_000)
        except self._u.UcError as e:
            at = self.uc.reg_read(self._arm.UC_ARM_REG_PC)
            pytest.fail(f"{e} at {at:#x}")
        if not self.ended:
            self.ended = IDLE if self.uc.reg_read(self._arm.UC_ARM_REG_PC) & ~1 == end else HANGING
        return self.ended

    def fault(self, at: str) -> str:
        """Run to a function, then into the fault handler as an exception there would."""
        assert self.run(until=at) == IDLE
        self.uc.reg_write(self._arm.UC_ARM_REG_LR, 0xFFFFFFF9)
        self.uc.reg_write(self._arm.UC_ARM_REG_PC, self.symbols["rc_fault_handler"] | 1)
        return self.run(self.symbols["rc_fault_handler"])

    @property
    def core_hz(self) -> int:
        return self.get(self.symbols["core_hz"])


class Line:
    """A chip's UART as a transport of `recurc.device`: the core runs while the host reads."""

    def __init__(self, chip: Chip) -> None:
        self.chip, self.description = chip, f"{chip.board.name} on a simulated core"
        self._taken, self._at = 0, chip.symbols["rc_chip_receive"] & ~1
        wide = chip.get(self._at) >> 11 & 0x1F >= 0x1D  # the first instruction has 32 bits
        self._next = self._at + (4 if wide else 2)
        assert chip.run(until="rc_chip_receive") == IDLE

    def read(self, timeout: float) -> bytes:
        """What the firmware said until it looked in vain for a byte, twice."""
        idle = 0
        while idle < 2:
            idle = 0 if self.chip.incoming else idle + 1
            self.chip.offer()
            self.chip.uc.emu_start(self._at | 1, self._next)
            self.chip.uc.emu_start(self._next | 1, self._at, timeout=SECONDS * 1_000_000)
            assert self.chip.uc.reg_read(self.chip._arm.UC_ARM_REG_PC) & ~1 == self._at, "the firmware hangs"
        said = bytes(self.chip.sent[self._taken :])
        self._taken = len(self.chip.sent)
        return said

    def write(self, data: bytes) -> None:
        self.chip.incoming.extend(data)

    def close(self) -> None:
        pass
