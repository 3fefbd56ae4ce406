"""Tables for Arm's memory protection units, from a board's regions: flash-like ones are read-only, RAM is never executed,
peripherals are open, everything else is closed.

The linker script holds the table as pairs of words in the constants; rc_mpu_v7.c and rc_mpu_v8.c write it to the unit.
Sources: Arm v7-M Architecture Reference Manual B3.5 (PMSAv7), v8-M B11 and D1.2 (PMSAv8).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from recurc.errors import InputError
from recurc.targets.boards import Board
from recurc.targets.regions import Region

SLOTS = 8  # what every Cortex-M with the unit has at least (QEMU's Cortex-M7: 8, Cortex-M33: 8 in the secure state)
PERIPHERALS = (0x40000000, 0x60000000)  # of the default memory map; the core's own registers stay open by themselves
_V7_NORMAL = (1 << 19) | (1 << 17) | (1 << 16)  # TEX=1 C=1 B=1: normal memory, write-back; ignored by tightly coupled RAM
_V7_DEVICE = 1 << 16
_V7_READ_ONLY, _V7_READ_WRITE, _V7_NEVER_EXECUTE = 6 << 24, 3 << 24, 1 << 28
_V8_READ_ONLY, _V8_READ_WRITE, _V8_NEVER_EXECUTE = 3 << 1, 1 << 1, 1
_V8_NORMAL, _V8_DEVICE = 0 << 1, 1 << 1  # index into MAIR0, which rc_mpu_v8.c sets


@dataclass(frozen=True)
class MpuEntry:
    """One slot: RBAR and RASR (PMSAv7, without region number) or RBAR and RLAR (PMSAv8), and what it is for."""

    name: str
    base_word: int
    second_word: int


def mpu_entries(board: Board, placed: Collection[str]) -> tuple[MpuEntry, ...]:
    """The table of a board; () when it has no `mpu`.

    Args:
        placed: names of the regions that the firmware uses; optional regions that it does not use stay closed.

    Raises:
        InputError: the regions do not fit the unit (too many, or not on its granules).
    """
    if board.mpu is None:
        return ()
    start, end = PERIPHERALS
    open_regions = [r for r in board.regions if not r.optional or r.name in placed]
    entries: list[MpuEntry] = []
    for region in open_regions:
        entries += _v7(region, board) if board.mpu == "v7" else [_v8(region, board)]
    if board.mpu == "v7":
        size_field = (end - start).bit_length() - 2
        entries.append(MpuEntry("peripherals", start, _V7_NEVER_EXECUTE | _V7_READ_WRITE | _V7_DEVICE | size_field << 1 | 1))
    else:
        entries.append(MpuEntry("peripherals", start | _V8_READ_WRITE | _V8_NEVER_EXECUTE, (end - 32) | _V8_DEVICE | 1))
    if len(entries) > SLOTS:
        raise _unfit(board, f"its regions take {len(entries)} slots of {SLOTS}: {', '.join(e.name for e in entries)}")
    return tuple(entries)


def _unfit(board: Board, why: str) -> InputError:
    return InputError(
        "the board's regions do not fit its memory protection unit",
        where=board.name,
        why=why,
        next="Leave out `mpu`, or regions that the firmware does not use",
    )


def _v8(region: Region, board: Board) -> MpuEntry:
    if region.base % 32 or region.size % 32:
        raise _unfit(board, f"region {region.name} does not lie on multiples of 32 bytes")
    access = _V8_READ_WRITE | _V8_NEVER_EXECUTE if region.writable else _V8_READ_ONLY
    return MpuEntry(region.name, region.base | access, (region.end - 32) | _V8_NORMAL | 1)


def _v7(region: Region, board: Board) -> list[MpuEntry]:
    """Slots of one region: PMSAv7 knows powers of two on multiples of themselves, less any of their eighths."""
    access = _V7_READ_WRITE | _V7_NEVER_EXECUTE if region.writable else _V7_READ_ONLY
    entries, at = [], region.base
    while at < region.end:
        best: tuple[int, int, int, int] | None = None  # (covered end, log2 of the size, block, disabled eighths)
        for log in range(8, 33):  # eighths exist from 256 bytes up
            eighth = 1 << (log - 3)
            block = at >> log << log
            until = min(region.end, block + (1 << log)) // eighth * eighth
            if at % eighth or until <= at:
                continue
            disabled = sum(1 << i for i in range(8) if not at <= block + i * eighth < until)
            if best is None or until > best[0]:
                best = (until, log, block, disabled)
        if best is None:
            raise _unfit(board, f"region {region.name} does not lie on multiples of 32 bytes")
        until, log, block, disabled = best
        entries.append(MpuEntry(region.name, block, access | _V7_NORMAL | disabled << 8 | (log - 1) << 1 | 1))
        at = until
    return entries
