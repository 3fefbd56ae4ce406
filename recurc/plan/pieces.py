"""What a plan consists of: linker sections with addresses, and the pieces in them with kind and lifetime."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from recurc.plan.budget import ImageBudget
from recurc.plan.layout import Layout, align_up, arena_pieces

# Kinds of pieces, in the order in which reports show them. "headers" is the image's own; "padding" is what alignment costs.
KINDS = (
    "weights",
    "scales",
    "tables",
    "vectors",
    "headers",
    "code",
    "constants",
    "data",
    "carry",
    "kv",
    "scratch",
    "io",
    "stack",
    "padding",
)
_SHARE_ORDER = {"carry": 0, "kv": 1, "io": 2, "scratch": 3}
_ALWAYS, _READ_ONLY = "always", "always, read only"

# Output section -> part of the firmware that a board places. Sections not named here stay where the linker puts them.
SECTION_PARTS = {
    ".stack": "stack",
    ".text": "code",
    ".ARM.exidx": "code",
    ".recurc_image": "image",
    ".rodata": "code",
    ".data": "data",
    ".bss": "data",
    ".recurc_arena": "arena",
}
_SECTION_PIECES = {
    ".text": ("code", "code", _READ_ONLY),
    ".ARM.exidx": ("unwind index", "constants", _READ_ONLY),
    ".rodata": ("constants", "constants", _READ_ONLY),
    ".data": ("variables with initial values", "data", _ALWAYS),
    ".bss": ("variables", "data", _ALWAYS),
    ".stack": ("stack", "stack", _ALWAYS),
}


class RegionLike(Protocol):
    """A memory region: `size` bytes from address `base`; kind "flash", "ram", "external-flash" or "external-ram"."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def base(self) -> int: ...
    @property
    def size(self) -> int: ...


@dataclass(frozen=True)
class SectionSize:
    """An output section before it has an address. `gap`: bytes the linker script leaves free before it on purpose."""

    name: str
    bytes: int
    align: int
    gap: int = 0


@dataclass(frozen=True)
class PlannedSection:
    """An output section in a region; `load_region` and `load_address` say where .data's initial values lie."""

    name: str
    part: str
    region: str
    address: int
    bytes: int
    load_region: str | None = None
    load_address: int = 0


@dataclass(frozen=True)
class Piece:
    """One thing in memory: `bytes` from `address` on. Pieces of the arena may share memory, one op after the other."""

    name: str
    kind: str
    region: str
    address: int
    bytes: int
    lifetime: str


@dataclass(frozen=True)
class StackUse:
    """Worst stack path of a linked firmware in bytes, from the compiler's call graph.

    path: functions with their frames, outermost first. interrupt_bytes: exception frames and the deepest handler, part of
    `worst_bytes`. assumed: functions without the compiler's word, with what was counted for them.
    """

    worst_bytes: int
    path: tuple[tuple[str, int], ...]
    interrupt_bytes: int
    assumed: tuple[tuple[str, int], ...] = ()


def lay_out(
    sections: Iterable[SectionSize], placement: Mapping[str, str], regions: Mapping[str, RegionLike]
) -> tuple[PlannedSection, ...]:
    """Addresses as the linker gives them: in order, each at the next aligned address of its region.

    Sections whose part has no region in `placement` are left out.
    """
    cursor = {name: region.base for name, region in regions.items()}
    found = []
    for section in sections:
        part = SECTION_PARTS.get(section.name, "code")
        if part not in placement:
            continue
        region = placement[part]
        address = align_up(cursor[region], section.align) + section.gap
        cursor[region] = address + section.bytes
        load_region, load_address = None, 0
        if section.name == ".data" and section.bytes and "code" in placement:
            load_region = placement["code"]
            load_address = align_up(cursor[load_region], section.align)
            cursor[load_region] = load_address + section.bytes
        found.append(PlannedSection(section.name, part, region, address, section.bytes, load_region, load_address))
    return tuple(found)


def ends(sections: Iterable[PlannedSection], regions: Mapping[str, RegionLike]) -> dict[str, int]:
    """First free address of each region."""
    end = {name: region.base for name, region in regions.items()}
    for s in sections:
        end[s.region] = max(end[s.region], s.address + s.bytes)
        if s.load_region:
            end[s.load_region] = max(end[s.load_region], s.load_address + s.bytes)
    return end


def pieces_of(sections: Sequence[PlannedSection], image: ImageBudget, layout: Layout) -> tuple[Piece, ...]:
    """Pieces of all sections, down to the buffers of the arena and the sections of the image."""
    found: list[Piece] = []
    for s in sections:
        if s.name == ".recurc_image":
            found.append(Piece("image header", "headers", s.region, s.address, image.header_bytes, _READ_ONLY))
            found += [Piece(i.name, i.budget_kind, s.region, s.address + i.offset, i.bytes, _READ_ONLY) for i in image.sections]
        elif s.name == ".recurc_arena":
            found += [Piece(a.name, a.kind, s.region, s.address + a.offset, a.bytes, a.lifetime) for a in arena_pieces(layout)]
        elif s.bytes:
            name, kind, lifetime = _SECTION_PIECES.get(s.name, (s.name, "constants", _READ_ONLY))
            found.append(Piece(name, kind, s.region, s.address, s.bytes, lifetime))
        if s.load_region:
            found.append(
                Piece("initial values of variables", "constants", s.load_region, s.load_address, s.bytes, "until start")
            )
    return tuple(found)


def bytes_by_kind(pieces: Iterable[Piece]) -> dict[str, int]:
    """Bytes of each kind, in the order of KINDS. Memory that several pieces share in turn counts once, for the first of its
    kinds in the order of _SHARE_ORDER (what attention or the logits use is "kv" or "io", although ops use it as scratch)."""
    found = dict.fromkeys(KINDS, 0)
    covered: list[tuple[int, int]] = []
    ordered = sorted(pieces, key=lambda p: (_SHARE_ORDER.get(p.kind, -1), p.address))
    for kind in dict.fromkeys(p.kind for p in ordered):
        before = _union(covered)
        covered += [(p.address, p.bytes) for p in ordered if p.kind == kind]
        found[kind] = _union(covered) - before
    return found


def _union(spans: Iterable[tuple[int, int]]) -> int:
    """Bytes covered by (address, bytes) spans."""
    total, reached = 0, 0
    for address, size in sorted(spans):
        total += max(0, address + size - max(address, reached))
        reached = max(reached, address + size)
    return total
