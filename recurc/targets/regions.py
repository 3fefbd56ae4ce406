"""Memory of a board: its regions, and which parts of a firmware may lie where."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recurc.reading import shown
from recurc.targets.allowed import REGION
from recurc.targets.tomltable import ADDRESS_LIMIT, Table, nearest

REGION_KINDS = ("flash", "ram", "external-flash", "external-ram")
PARTS = ("code", "image", "arena", "data", "stack")
TABLE = "table"  # the optional part: a puzzle table outside the image
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


ELSEWHERE = Region("elsewhere", "external-flash", 0, 1 << 31, optional=True,
                   note="wherever your program puts the weights file, in memory that can be read like flash")  # fmt: skip


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


def read_regions(t: Table, family: str) -> tuple[Region, ...]:
    """[[regions]] of a board file. Raises InputError: empty, beyond 32 bits, overlapping, no RAM, nothing for code."""
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


def read_placement(t: Table, regions: tuple[Region, ...], family: str, emulated: bool) -> dict[str, tuple[str, ...]]:
    """[placement] of a board file: part -> region names. Raises InputError: one that cannot hold the part."""
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
