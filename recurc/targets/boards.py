"""Boards: one TOML file each, read strictly.

A board names its chip (`recurc.targets.chips`) and what it adds, or says all by itself: its core, compiler flags, every memory
region with its real size, where the parts of a firmware may go, its UART and clock, and how far recurc's own tests reach on it
("emulated", "compiled", "written" or "described").
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from recurc.errors import InputError, UsageError
from recurc.formats import parse_toml
from recurc.reading import Unreadable, matching, read_text, shown
from recurc.resources import resource_dir
from recurc.targets.allowed import NAME, WORD
from recurc.targets.chips import whole_text, with_chip
from recurc.targets.reach import VERIFIED
from recurc.targets.regions import Region, read_placement, read_regions
from recurc.targets.requests import Emulator, read_defines, read_emulator, read_flags, read_ports
from recurc.targets.tomltable import Table, nearest
from recurc.targets.uploads import Flash, Stock, read_flash, read_packages, read_stock
from recurc.targets.usb import read_usb
from recurc.targets.watchdog import Watchdog, read_watchdog

FAMILIES = ("arm", "riscv", "xtensa", "host")
KINDS = ("budget", "board", "emulator", "host")
MPUS = ("v7", "v8")
GUARDED = {mpu: f"PMSA{mpu}: flash-like memory read-only, RAM never executed, what is not listed closed" for mpu in MPUS}
COMPILED = "firmware"  # the format whose ELF is compiled here
_NEEDED = (
    "name",
    "title",
    "family",
    "core",
    "cpu_flags",
    "features",
    "ports",
    "clock_hz",
    "stack_bytes",
    "verified",
    "uart",
    "ticks",
)
BOOT_PLACES = ("first", "after-vectors")
BOARD_LIMIT = 1 << 16  # bytes of a board file; the bundled ones have at most 3,000


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
    `chip`: the file of `chips/` that the rest comes from, "" where the board's own says all. `packages`: the formats of
    recurc.package that a build for it is delivered in, in the order in which they are made; () for one that is only described.
    `unseen`: what was changed in its port, or in where its parts lie, and nobody has seen on the part since, a text each.
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
    chip: str = ""
    packages: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()

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
        """Whether its firmware is compiled here: it is delivered so, and its family has a toolchain."""
        return self.family != "xtensa" and COMPILED in self.packages

    @property
    def buildable(self) -> bool:
        """Whether `recurc build` takes it as a target."""
        return bool(self.packages)

    def region(self, name: str) -> Region:
        """The region of that name (KeyError when there is none)."""
        return next(r for r in self.regions if r.name == name)

    def candidates(self, part: str) -> tuple[Region, ...]:
        """Regions that may hold a part ("code", "image", "arena", "data", "stack", "table"), best first; () for none."""
        return tuple(self.region(name) for name in self.placement.get(part, ()))


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
    t = Table(with_chip(data, path), "top level", path)
    t.need(*_NEEDED, *(() if t.data.get("family") == "host" else ("placement",)))
    name, title = t.text("name", pattern=NAME), t.text("title")
    family = t.text("family", one_of=FAMILIES)
    emulator = read_emulator(t, family)
    clock_hz = t.number("clock_hz", high=10**11)
    regions = read_regions(t, family)
    u = Table(t.get("uart", dict), "uart", path)
    u.need("kind", "base", "baud")
    uart = Uart(u.text("kind", pattern=WORD), u.number("base"), u.number("baud", high=100_000_000), u.text("note", ""))
    u.close()
    k = Table(t.get("ticks", dict), "ticks", path)
    ticks = Ticks(k.text("source", pattern=WORD), k.number("hz", clock_hz, high=10**11), k.get("per_instruction", float, None))
    k.close()
    if ticks.per_instruction is not None and not 0 < ticks.per_instruction < 1e6:
        raise k.bad(f"ticks: per_instruction = {ticks.per_instruction} is not a positive number")
    facts = {
        "clock_hz": clock_hz,
        "uart.base": uart.base,
        "uart.baud": uart.baud,
        "ticks.hz": ticks.hz,
        **{f"regions.{r.name}.{what}": getattr(r, what) for r in regions for what in ("base", "size")},
    }
    cpu_flags = read_flags(t, "cpu_flags")
    ports = read_ports(t)
    mpu = t.text("mpu", None, one_of=MPUS)
    watchdog = read_watchdog(t)
    stock = read_stock(t)
    board = Board(
        name=name,
        title=title,
        family=family,
        core=t.text("core", pattern=WORD),
        cpu_flags=cpu_flags,
        link_flags=read_flags(t, "link_flags", list(cpu_flags)),
        features=frozenset(t.words("features", pattern=WORD)),
        ports=ports,
        clock_hz=clock_hz,
        stack_bytes=t.number("stack_bytes", high=1 << 24),
        verified=t.text("verified", one_of=VERIFIED),
        aliases=t.words("aliases", [], pattern=NAME),
        twin=t.text("twin", None, pattern=NAME),
        uart=uart,
        ticks=ticks,
        emulator=emulator,
        regions=regions,
        placement=read_placement(t, regions, family, emulator is not None),
        defines={**read_defines(t, facts), **(watchdog.defines if watchdog else {})},
        platformio=stock,
        flash=read_flash(t),
        path=path,
        kind=t.text("kind", "host" if family == "host" else "board", one_of=KINDS),
        reference=t.text("reference", ""),
        evidence=t.text("evidence", ""),
        mpu=mpu,
        boot=_boot(t, ports),
        usb=read_usb(t),
        watchdog=watchdog,
        chip=t.text("chip", ""),
        packages=read_packages(t, family, ports, stock),
        unseen=t.words("unseen", []),
    )
    t.close()
    if mpu and family != "arm":
        raise t.bad(f"mpu = {mpu!r} is Arm's memory protection unit; the family is {family}", "Leave it out")
    if family != "host" and (board.stack_bytes < 1024 or board.stack_bytes % 16):
        raise t.bad(f"stack_bytes = {board.stack_bytes} is not a multiple of 16 of at least 1024")
    return board


def _text(path: Path) -> str:
    try:
        return read_text(path, BOARD_LIMIT)
    except Unreadable as e:
        raise InputError("the board file cannot be read", where=str(path), why=str(e),
                         next="Name a readable TOML file") from None  # fmt: skip


def whole_board_text(path: Path) -> str:
    """Text of a board's file that says all by itself, whatever becomes of its chip's: for what has to stay as it is.

    Raises:
        InputError: the file cannot be read, is no TOML, or names a chip that is not there.
    """
    return whole_text(_text(path), path)


def read_board(path: Path) -> Board:
    """A board from a file.

    Raises:
        InputError: the file cannot be read or is not a valid board.
    """
    return parse_board(_text(path), path)


@lru_cache(maxsize=1)
def _bundled() -> dict[str, Board]:
    boards: dict[str, Board] = {}
    for path in matching(resource_dir("boards"), "*.toml"):
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
