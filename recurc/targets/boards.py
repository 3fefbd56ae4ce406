"""Boards: one TOML file each, read strictly.

A board names its core, compiler flags, every memory region with its real size, where the parts of a firmware may go,
its UART and clock, and how far recurc's own tests reach on it ("emulated", "compiled", "written" or "described").
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Mapping

from recurc.errors import InputError, UsageError
from recurc.formats import parse_toml
from recurc.reading import Unreadable, read_text, shown
from recurc.resources import resource_dir
from recurc.targets.allowed import NAME, REGION, WORD
from recurc.targets.requests import Emulator, read_defines, read_emulator, read_flags, read_ports
from recurc.targets.tomltable import ADDRESS_LIMIT, Table, nearest
from recurc.targets.uploads import Flash, Stock, read_flash, read_stock
from recurc.targets.usb import read_usb
from recurc.targets.watchdog import Watchdog, read_watchdog

FAMILIES = ("arm", "riscv", "xtensa", "host")
KINDS = ("budget", "board", "emulator", "host")
REGION_KINDS = ("flash", "ram", "external-flash", "external-ram")
VERIFIED = ("emulated", "compiled", "written", "described")
PARTS = ("code", "image", "arena", "data", "stack")
TABLE = "table"  # the optional part: a puzzle table outside the image
MPUS = ("v7", "v8")
GUARDED = {
    mpu: f"PMSA{mpu}: flash-like memory read-only, RAM never executed, what is not listed closed" for mpu in MPUS
}
BOOT_PLACES = ("first", "after-vectors")
BOARD_LIMIT = 1 << 16  # bytes of a board file; the bundled ones have at most 3,000
_WRITABLE = ("ram", "external-ram")


@dataclass(frozen=True)
class Region:
    """One memory region: base address and size in bytes. `optional` ones are not on every board of that name.

    `wait_states` of the core's clock; `bandwidth`: bytes/s of long reads. None: not known.
    """

    name: str
    kind: str
    base: int
    size: int
    wait_states: int | None = None
    optional: bool = False
    note: str = ""
    bandwidth: int | None = None

    @property
    def end(self) -> int:
        """First address after the region."""
        return self.base + self.size

    @property
    def writable(self) -> bool:
        return self.kind in _WRITABLE


@dataclass(frozen=True)
class Uart:
    """The wire's UART: `baud` in bit/s (0 where there is none)."""

    kind: str
    base: int
    baud: int
    note: str = ""


@dataclass(frozen=True)
class Ticks:
    """The tick counter: `hz` ticks a second, 0 when it counts instructions.

    `per_instruction`: ticks an instruction in the emulator, None where ticks are time.
    """

    source: str
    hz: int
    per_instruction: float | None = None


@dataclass(frozen=True)
class Boot:
    """What the chip's boot ROM wants to find in the code region: section .recurc_boot, filled by the port `port`.

    `place` "first": it fills the region's first `bytes`, the vector table follows. "after-vectors": it comes behind
    the vector table, `bytes` is its size.
    """

    port: str
    place: str
    bytes: int


@dataclass(frozen=True)
class Board:
    """A board as its TOML file describes it.

    `kind` is one of KINDS: a budget class, a real board, an emulator's machine, this computer. `placement` maps each
    part of the firmware to region names in order of preference. `reference` names the part that a budget class stands
    for, `evidence` says in a line what was checked, and how. `mpu` is the memory protection unit that the startup turns
    on from the table in the linker script ("v7": PMSAv7, "v8": PMSAv8, None: as the port sets it). `usb`: its serial adapters.
    """

    name: str
    title: str
    family: str
    core: str
    cpu_flags: tuple[str, ...]
    link_flags: tuple[str, ...]
    features: frozenset[str]
    ports: tuple[str, ...]
    clock_hz: int
    stack_bytes: int
    verified: str
    aliases: tuple[str, ...]
    twin: str | None
    uart: Uart
    ticks: Ticks
    emulator: Emulator | None
    regions: tuple[Region, ...]
    placement: Mapping[str, tuple[str, ...]]
    defines: Mapping[str, int] = field(default_factory=dict)
    platformio: Stock | None = None
    flash: Flash | None = None
    path: Path | None = None
    kind: str = "board"
    reference: str = ""
    evidence: str = ""
    mpu: str | None = None
    boot: Boot | None = None
    usb: tuple[str, ...] = ()
    watchdog: Watchdog | None = None

    @property
    def flash_bytes(self) -> int:
        """All flash-like memory that is always there, in bytes."""
        return sum(r.size for r in self.regions if not r.writable and not r.optional)

    @property
    def ram_bytes(self) -> int:
        """All RAM that is always there, in bytes, whatever its kind."""
        return sum(r.size for r in self.regions if r.writable and not r.optional)

    def largest(self, kind: str) -> int:
        """Bytes of the largest region of a kind that is always there, 0 when there is none: no buffer can be larger."""
        return max((r.size for r in self.regions if r.kind == kind and not r.optional), default=0)

    @property
    def linkable(self) -> bool:
        """Whether firmware can be compiled for it: its family has a toolchain here and it has a port."""
        return self.family != "xtensa" and bool(self.ports) and not self.written

    @property
    def written(self) -> bool:
        """Whether a build writes a project for the chip's own SDK, which compiles it elsewhere: no ELF is made here."""
        return self.platformio is not None and bool(self.platformio.framework) and bool(self.ports)

    @property
    def buildable(self) -> bool:
        """Whether `recurc build` takes it as a target."""
        return self.linkable or self.written

    def region(self, name: str) -> Region:
        """The region of that name (KeyError when there is none)."""
        return next(r for r in self.regions if r.name == name)

    def candidates(self, part: str) -> tuple[Region, ...]:
        """Regions that may hold a part ("code", "image", "arena", "data", "stack", "table"), best first; () for none."""
        return tuple(self.region(name) for name in self.placement.get(part, ()))


def _region(data: Any, index: int, path: Path) -> Region:
    t = Table(data, f"regions[{index}]", path)
    region = Region(
        name=t.text("name"),
        kind=t.text("kind", one_of=REGION_KINDS),
        base=t.number("base", high=ADDRESS_LIMIT - 1),
        size=t.number("size"),
        wait_states=t.number("wait_states", None, high=1000),
        optional=t.get("optional", bool, False),
        note=t.text("note", ""),
        bandwidth=t.number("bandwidth", None, low=1, high=10**11),
    )
    t.close()
    if region.size == 0:
        raise t.bad(f"region {shown(region.name)} has size 0")
    if region.end > ADDRESS_LIMIT:
        raise t.bad(f"region {shown(region.name)} ends beyond the 32-bit address space")
    if not REGION.fullmatch(region.name):
        raise t.bad(f"region name {shown(region.name)} is not a plain word")
    return region


def _regions(t: Table, family: str) -> tuple[Region, ...]:
    regions = tuple(_region(d, i, t.path) for i, d in enumerate(t.get("regions", list, [])))
    names = [r.name for r in regions]
    for name in names:
        if names.count(name) > 1:
            raise t.bad(f"region {shown(name)} is given twice")
    ordered = sorted(regions, key=lambda r: r.base)
    for low, high in zip(ordered, ordered[1:], strict=False):
        if low.end > high.base:
            raise t.bad(f"regions {shown(low.name)} and {shown(high.name)} overlap at {high.base:#010x}")
    if family != "host" and not any(r.writable for r in regions):
        raise t.bad("no region is RAM", 'Add a [[regions]] entry with kind = "ram"')
    if family != "host" and all(r.writable for r in regions):
        raise t.bad("no region holds code", 'Add a [[regions]] entry with kind = "flash"')
    return regions


def _placement(t: Table, regions: tuple[Region, ...], family: str, emulated: bool) -> dict[str, tuple[str, ...]]:
    if family == "host":
        t.get("placement", dict, {})
        return {}
    p = Table(t.get("placement", dict), "placement", t.path)
    by_name = {r.name: r for r in regions}
    placement = {part: p.words(part) for part in PARTS}
    table = p.words(TABLE, [])
    p.close()
    for part, names in placement.items():
        if not names:
            raise t.bad(f"placement.{part} names no region")
    placement |= {TABLE: table} if table else {}
    for part, names in placement.items():
        for name in names:
            if name not in by_name:
                raise t.bad(f"placement.{part}: there is no region {shown(name)}", nearest(name, tuple(by_name)))
            writable = by_name[name].writable
            if part in ("arena", "data", "stack") and not writable:
                raise t.bad(f"placement.{part}: region {shown(name)} is {by_name[name].kind}, which cannot be written")
            # Only an emulator's loader can fill RAM before the start; elsewhere code must survive without power.
            if part in ("code", "image", TABLE) and writable and not emulated:
                raise t.bad(f"placement.{part}: region {shown(name)} is {by_name[name].kind}, which is empty after power-on")
    return placement


def _boot(t: Table, ports: tuple[str, ...]) -> Boot | None:
    data = t.get("boot", dict, None)
    if data is None:
        return None
    b = Table(data, "boot", t.path)
    place = b.text("place", one_of=BOOT_PLACES)
    boot = Boot(b.text("port"), place, b.number("bytes", low=4, high=1 << 20))
    b.close()
    if boot.port not in ports:
        raise t.bad(f"boot.port = {shown(boot.port)} is not one of the board's ports", nearest(boot.port, ports))
    if boot.bytes % 4 or (place == "first" and boot.bytes % 256):  # the vector table behind it is aligned
        raise t.bad(f"boot.bytes = {boot.bytes} is not a multiple of {256 if place == 'first' else 4}")
    return boot


def parse_board(text: str, path: Path) -> Board:
    """A board from the text of its TOML file; `path` is only named in errors.

    Raises:
        InputError: not TOML, unknown or missing keys, wrong types or ranges, overlapping regions, no RAM.
    """
    try:
        data = parse_toml(text, BOARD_LIMIT)
    except Unreadable as e:
        raise InputError("the board file is not TOML", where=str(path), why=str(e), next="Correct the board file") from None
    t = Table(data, "top level", path)
    name, title = t.text("name", pattern=NAME), t.text("title")
    family = t.text("family", one_of=FAMILIES)
    emulator = read_emulator(t, family)
    regions = _regions(t, family)
    u = Table(t.get("uart", dict), "uart", path)
    uart = Uart(u.text("kind", pattern=WORD), u.number("base"), u.number("baud", high=100_000_000), u.text("note", ""))
    u.close()
    k = Table(t.get("ticks", dict), "ticks", path)
    ticks = Ticks(k.text("source", pattern=WORD), k.number("hz", high=10**11), k.get("per_instruction", float, None))
    k.close()
    if ticks.per_instruction is not None and not 0 < ticks.per_instruction < 1e6:
        raise k.bad(f"ticks: per_instruction = {ticks.per_instruction} is not a positive number")
    cpu_flags = read_flags(t, "cpu_flags")
    ports = read_ports(t)
    mpu = t.text("mpu", None, one_of=MPUS)
    watchdog = read_watchdog(t)
    board = Board(
        name=name,
        title=title,
        family=family,
        core=t.text("core", pattern=WORD),
        cpu_flags=cpu_flags,
        link_flags=read_flags(t, "link_flags", list(cpu_flags)),
        features=frozenset(t.words("features", pattern=WORD)),
        ports=ports,
        clock_hz=t.number("clock_hz", high=10**11),
        stack_bytes=t.number("stack_bytes", high=1 << 24),
        verified=t.text("verified", one_of=VERIFIED),
        aliases=t.words("aliases", [], pattern=NAME),
        twin=t.text("twin", None, pattern=NAME),
        uart=uart,
        ticks=ticks,
        emulator=emulator,
        regions=regions,
        placement=_placement(t, regions, family, emulator is not None),
        defines=read_defines(t) | (watchdog.defines if watchdog else {}),
        platformio=read_stock(t),
        flash=read_flash(t),
        path=path,
        kind=t.text("kind", "host" if family == "host" else "board", one_of=KINDS),
        reference=t.text("reference", ""),
        evidence=t.text("evidence", ""),
        mpu=mpu,
        boot=_boot(t, ports),
        usb=read_usb(t),
        watchdog=watchdog,
    )
    t.close()
    if mpu and family != "arm":
        raise t.bad(f"mpu = {mpu!r} is Arm's memory protection unit; the family is {family}", "Leave it out")
    if family != "host" and (board.stack_bytes < 1024 or board.stack_bytes % 16):
        raise t.bad(f"stack_bytes = {board.stack_bytes} is not a multiple of 16 of at least 1024")
    return board


def read_board(path: Path) -> Board:
    """A board from a file.

    Raises:
        InputError: the file cannot be read or is not a valid board.
    """
    try:
        text = read_text(path, BOARD_LIMIT)
    except Unreadable as e:
        raise InputError("the board file cannot be read", where=str(path), why=str(e),
                         next="Name a readable TOML file") from None  # fmt: skip
    return parse_board(text, path)


@lru_cache(maxsize=1)
def _bundled() -> dict[str, Board]:
    boards: dict[str, Board] = {}
    for path in sorted(resource_dir("boards").glob("*.toml")):
        board = read_board(path)
        if board.name != path.stem:
            raise InputError("the board file is invalid", where=str(path), why=f"its name is {shown(board.name)}",
                             next="Name file and board alike")  # fmt: skip
        boards[board.name] = board
    names = [n for b in boards.values() for n in (b.name, *b.aliases)]
    for name in names:
        if names.count(name) > 1:
            raise InputError("two board files claim one name", where=name, next="Rename one of them or drop the alias")
    return boards


def list_boards() -> list[Board]:
    """All bundled boards, by name."""
    return [board for _, board in sorted(_bundled().items())]


def bundled_board(name: str) -> Board:
    """A bundled board by name or alias.

    Raises:
        UsageError: there is none; the nearest names are given.
    """
    boards = _bundled().values()
    for board in boards:
        if name == board.name or name in board.aliases:
            return board
    known = [n for b in boards for n in (b.name, *b.aliases)]
    raise UsageError(f"there is no board {shown(name)}", why=nearest(name, known),
                     next="Run `recurc boards` for the list, or name a board's TOML file")  # fmt: skip


def load_board(name_or_path: str | Path) -> Board:
    """A bundled board by name or alias, or any board by the path of its TOML file.

    Raises:
        UsageError: no such board (the nearest names are given). InputError: its file is invalid.
    """
    text = str(name_or_path)
    bundled = any(text == b.name or text in b.aliases for b in _bundled().values())
    if not bundled and (text.endswith(".toml") or "/" in text):
        return read_board(Path(text))
    return bundled_board(text)
