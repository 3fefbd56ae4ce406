"""Planner: from a program, its precision and a board to a placement with every size, or the reason why it does not fit.

It plans twice. Before anything is compiled, with an estimate of code and variables, which fixes the arena; after compiling,
with the sizes of a trial link, which decides. Both go through `make_plan`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Protocol

from recurc.documents.plan import Plan
from recurc.errors import DoesNotFitError
from recurc.ir.program import Program
from recurc.plan.budget import ImageBudget, image_budget, streamed_table_bytes
from recurc.plan.kernels import KernelSet, choose_kernels
from recurc.plan.layout import ARENA_ALIGN, Layout, align_up, comfortable_scratch, make_layout
from recurc.plan.pieces import Piece, PlannedSection, RegionLike, SectionSize, StackUse, ends, lay_out, pieces_of
from recurc.storage.form import Forms

PARTS = ("code", "data", "stack", "image", "arena")  # in the order in which they choose their regions
ESTIMATED_CODE = 20 * 1024  # the largest firmware of the bundled models has 13 KiB; the trial link says it exactly
ESTIMATED_CONSTANTS = 3 * 1024
ESTIMATED_DATA = 4 * 1024
LEAST_CODE, LEAST_DATA = 4 * 1024, 1024  # no firmware of ours is smaller: what does not fit with these never will
IMAGE_ALIGN, STACK_ALIGN = 64, 64
TABLE_ALIGN = 4096  # a streamed table starts at a page of its flash


class BoardLike(Protocol):
    """What the planner needs of a board."""

    @property
    def name(self) -> str: ...
    @property
    def features(self) -> frozenset[str]: ...
    @property
    def stack_bytes(self) -> int: ...
    @property
    def regions(self) -> Sequence[RegionLike]: ...
    @property
    def placement(self) -> Mapping[str, Sequence[str]]: ...
    @property
    def linkable(self) -> bool: ...
    @property
    def buildable(self) -> bool: ...

    def candidates(self, part: str) -> Sequence[RegionLike]: ...


@dataclass(frozen=True)
class Measured:
    """Output sections as a trial link measured them, in the linker's order, without image, arena and stack."""

    sections: tuple[SectionSize, ...]


@dataclass(frozen=True)
class Missing:
    """`bytes` more than a region has; `parts` are those that found no room, the largest of them first."""

    region: str
    bytes: int
    parts: tuple[str, ...]


@dataclass(frozen=True)
class TablePlace:
    """Where a streamed table lies when the board has flash for it; else its rows come over the wire."""

    region: str
    address: int
    bytes: int


@dataclass(frozen=True)
class MemoryPlan:
    """Placement of a firmware on a board, whether it fits (`missing` is empty) or not.

    placement: part ("code", "image", "arena", "data", "stack") -> region name. sections: output sections with addresses, as
    the linker will place them. pieces: everything in them, down to buffers. estimated: code and variables are not measured
    yet. table_bytes: size of a streamed table's file (0: none), `table` its place in the board's memory.
    """

    board: str
    program: Program
    forms: Forms
    kernels: KernelSet
    layout: Layout
    placement: Mapping[str, str]
    sections: tuple[PlannedSection, ...]
    pieces: tuple[Piece, ...]
    regions: tuple[RegionLike, ...]
    image: ImageBudget
    stack_bytes: int
    estimated: bool
    missing: tuple[Missing, ...] = ()
    table_bytes: int = 0
    table: TablePlace | None = None
    stack: StackUse | None = field(default=None)
    least: bool = False  # fits with code and variables as small as they could ever be, not with the estimate

    @property
    def fits(self) -> bool:
        return not self.missing

    @property
    def image_bytes(self) -> int:
        return self.image.total

    def section(self, name: str) -> PlannedSection:
        """The output section of that name."""
        return next(s for s in self.sections if s.name == name)

    @property
    def ram_bytes(self) -> int:
        """All that must be written while it runs: arena, variables and stack."""
        return sum(s.bytes for s in self.sections if s.part in ("arena", "data", "stack"))

    def end(self, region: str) -> int:
        """First address of a region after everything that is planned there."""
        base = {r.name: r for r in self.regions}
        end = ends(self.sections, base)[region]
        if self.table is not None and self.table.region == region:
            end = max(end, self.table.address + self.table.bytes)
        return end


def _sizes(board: BoardLike, image: int, arena: int, measured: Measured | None, least: bool = False) -> tuple[SectionSize, ...]:
    """All output sections in the linker script's order."""
    stack = SectionSize(".stack", align_up(board.stack_bytes, 16), STACK_ALIGN)
    fixed = {
        ".recurc_image": SectionSize(".recurc_image", image, IMAGE_ALIGN),
        ".recurc_arena": SectionSize(".recurc_arena", arena, ARENA_ALIGN),
    }
    if measured is not None:
        others = [fixed.get(s.name, s) for s in measured.sections if s.name != ".stack"]
        return (stack, *others)
    code, constants, data = (LEAST_CODE, 0, LEAST_DATA) if least else (ESTIMATED_CODE, ESTIMATED_CONSTANTS, ESTIMATED_DATA)
    return (
        stack,
        SectionSize(".text", code, 16),
        fixed[".recurc_image"],
        SectionSize(".rodata", constants, 8),
        SectionSize(".bss", data, 8),
        fixed[".recurc_arena"],
    )


@dataclass
class _Placer:
    """Chooses a region for one part after the other."""

    board: BoardLike
    sections: tuple[SectionSize, ...]
    regions: dict[str, RegionLike]
    placement: dict[str, str] = field(default_factory=dict)
    homeless: list[tuple[str, str]] = field(default_factory=list)  # (part, region) without room

    def overflow(self, placement: Mapping[str, str]) -> dict[str, int]:
        """Bytes beyond its end for each region that has too little."""
        end = ends(lay_out(self.sections, placement, self.regions), self.regions)
        over = {name: end[name] - r.base - r.size for name, r in self.regions.items()}
        return {name: n for name, n in over.items() if n > 0}

    def place(self, part: str) -> None:
        """The first candidate with room; where none has, the one that lacks least."""
        before = self.overflow(self.placement)
        lacks: list[tuple[int, str]] = []
        for region in self.board.candidates(part):
            over = self.overflow({**self.placement, part: region.name})
            lack = over.get(region.name, 0) - before.get(region.name, 0)
            if lack <= 0 and region.name not in over:
                self.placement[part] = region.name
                return
            lacks.append((over.get(region.name, 0), region.name))
        best = min(lacks)[1]
        self.placement[part] = best
        self.homeless.append((part, best))


def _table_place(
    board: BoardLike, size: int, sections: Sequence[PlannedSection], regions: Mapping[str, RegionLike], not_below: int = 0
) -> TablePlace | None:
    """First region for tables with room after what is linked there."""
    end = ends(sections, regions)
    for name in board.placement.get("table", ()) if size else ():
        address = align_up(max(end[name], not_below if regions[name].base <= not_below else 0), TABLE_ALIGN)
        if address + size <= regions[name].base + regions[name].size:
            return TablePlace(name, address, size)
    return None


def _arena_room(placer: _Placer, region: RegionLike) -> int:
    """Contiguous bytes that the arena could have in a region."""
    sections = lay_out(placer.sections, {**placer.placement, "arena": region.name}, placer.regions)
    start = next(s.address for s in sections if s.name == ".recurc_arena")
    return region.base + region.size - start


def _make_way(placer: _Placer, arena_bytes: int) -> None:
    """Move variables and stack out of the arena's first region when it would hold an arena of `arena_bytes` without them."""
    first = next(iter(placer.board.candidates("arena")), None)
    if first is None or _arena_room(placer, first) >= arena_bytes:
        return
    moved = dict(placer.placement)
    for part in ("data", "stack"):
        others = [r.name for r in placer.board.candidates(part) if r.name != first.name]
        if moved[part] == first.name and others:
            moved[part] = others[0]
    kept, placer.placement = placer.placement, moved
    if _arena_room(placer, first) < arena_bytes or placer.overflow(moved).keys() - placer.overflow(kept).keys():
        placer.placement = kept


def _rearrange(placer: _Placer) -> None:
    """When one part after the other left no room for all that is written, any places for variables, stack and arena that do,
    the most preferred first."""
    if not placer.homeless:
        return
    parts = ("data", "stack", "arena")
    for names in product(*(tuple(r.name for r in placer.board.candidates(part)) for part in parts)):
        placement = {**placer.placement, **dict(zip(parts, names, strict=True))}
        if not placer.overflow(placement).keys() & set(names):
            placer.placement = placement
            placer.homeless = [(part, region) for part, region in placer.homeless if part not in parts]
            return


def _arena_region(placer: _Placer, board: BoardLike, smallest: int, wanted: int) -> RegionLike | None:
    """The first region that holds the arena: regions are in order of speed. One that holds it only with smaller tiles, each
    of which is a pass over the weights, stands behind one of the same kind that holds it as it is `wanted`."""
    rooms = [(r, _arena_room(placer, r)) for r in board.candidates("arena")]
    fitting = [(r, room) for r, room in rooms if room >= smallest]
    if not fitting:
        return None
    first = fitting[0][0]
    return next((r for r, room in fitting if room >= wanted and r.kind == first.kind), first)


def _choose_layout(program: Program, forms: Forms, kernels: KernelSet, placer: _Placer, board: BoardLike) -> Layout:
    """The arena with the largest tiles for its region, which a comfortable one chooses if it can."""
    smallest = make_layout(program, forms, kernels, 0)
    comfortable = comfortable_scratch(program, forms, kernels)
    wanted = make_layout(program, forms, kernels, comfortable).arena_bytes
    _make_way(placer, wanted)
    region = _arena_region(placer, board, smallest.arena_bytes, wanted)
    fitting = _arena_room(placer, region) if region is not None else 0
    budget = min(comfortable, fitting - (smallest.arena_bytes - smallest.scratch_bytes) - ARENA_ALIGN)
    if budget <= 0:
        return smallest
    layout = make_layout(program, forms, kernels, budget)
    return layout if layout.arena_bytes <= fitting else smallest


def make_plan(
    program: Program,
    forms: Forms,
    board: BoardLike,
    kernels: KernelSet | None = None,
    layout: Layout | None = None,
    measured: Measured | None = None,
    *,
    least: bool = False,
    table_not_below: int = 0,
) -> MemoryPlan:
    """Plan, whether it fits or not: each part goes to its first region with room, the arena gets the largest tiles that fit.

    Args:
        layout: take this arena instead of laying one out (it is compiled already, or a twin's board has it).
        measured: sizes of a trial link; None plans with an estimate.
        least: estimate code and variables as small as they could ever be.
        table_not_below: least address for a streamed table, so that planning and compiling in turn come to an end.
    """
    kernels = kernels or choose_kernels(board.features)
    image = image_budget(program, forms, kernels)
    regions = {r.name: r for r in board.regions}
    placer = _Placer(board, _sizes(board, image.total, 0, measured, least), regions)
    for part in PARTS[:-1]:
        placer.place(part)
    if layout is None:
        layout = _choose_layout(program, forms, kernels, placer, board)
    else:
        _make_way(placer, layout.arena_bytes)
    placer.sections = _sizes(board, image.total, layout.arena_bytes, measured, least)
    placer.place("arena")
    _rearrange(placer)
    sections = lay_out(placer.sections, placer.placement, regions)
    table_bytes = streamed_table_bytes(program)
    missing = tuple(
        Missing(region, n, tuple(part for part, where in reversed(placer.homeless) if where == region) or ("arena",))
        for region, n in sorted(placer.overflow(placer.placement).items(), key=lambda item: -item[1])
    )
    return MemoryPlan(
        board=board.name,
        program=program,
        forms=forms,
        kernels=kernels,
        layout=layout,
        placement=dict(placer.placement),
        sections=sections,
        pieces=pieces_of(sections, image, layout),
        regions=tuple(board.regions),
        image=image,
        stack_bytes=board.stack_bytes,
        estimated=measured is None,
        missing=missing,
        table_bytes=table_bytes,
        table=_table_place(board, table_bytes, sections, regions, table_not_below),
        least=least,
    )


def with_stack(plan: MemoryPlan, use: StackUse) -> MemoryPlan:
    """The plan with its computed worst stack path; one deeper than what is reserved makes it a plan that does not fit."""
    short = use.worst_bytes - plan.stack_bytes
    missing = (*plan.missing, Missing(plan.placement["stack"], short, ("stack",))) if short > 0 else plan.missing
    return replace(plan, stack=use, missing=missing)


def does_not_fit(plan: MemoryPlan, advice: str = "", summary: Plan | None = None) -> DoesNotFitError:
    """The error for a plan that does not fit: what is missing where, the sums of that region, what would help."""
    worst = plan.missing[0]
    if worst.parts == ("stack",) and plan.stack is not None:
        path = " > ".join(f"{name} {size}" for name, size in plan.stack.path)
        why = (
            f"the worst path takes {plan.stack.worst_bytes:,} bytes and {plan.stack_bytes:,} are reserved: {path}, "
            f"and {plan.stack.interrupt_bytes} for an interrupt"
        )
        advice = advice or "Raise stack_bytes in the board file"
    else:
        region = next(r for r in plan.regions if r.name == worst.region)
        parts = [f"{s.name.lstrip('.')} {s.bytes:,}" for s in plan.sections if s.region == worst.region and s.bytes]
        why = f"{' + '.join(parts)} bytes, and {worst.region} has {region.size:,} contiguous bytes" + (
            " (code and variables estimated)" if plan.estimated else ""
        )
    others = "".join(f", {m.bytes:,} bytes more in {m.region}" for m in plan.missing[1:])
    return DoesNotFitError(
        f"does not fit {plan.board}: {worst.bytes:,} bytes more in {worst.region}{others}",
        where=", ".join(worst.parts),
        why=why,
        next=advice,
        summary=summary,
    )
