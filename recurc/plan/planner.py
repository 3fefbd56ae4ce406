"""Planner: from a program, its image and a board to a placement with every size, or the reason why it does not fit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping, Optional, Protocol, Sequence

from recurc.errors import DoesNotFitError
from recurc.ir.program import Program
from recurc.plan.kernels import KernelSet, choose_kernels
from recurc.plan.layout import Layout, comfortable_scratch, make_layout

CODE_RESERVE = 48 * 1024  # code, vectors and constants before the link says exactly; the linker checks the rest
DATA_RESERVE = 8 * 1024  # .data and .bss of runtime and port, one row of tokens


class RegionLike(Protocol):
    """A memory region: base address and size in bytes."""

    name: str
    kind: str
    size: int


class BoardLike(Protocol):
    """What the planner needs of a board."""

    name: str
    features: frozenset[str]
    stack_bytes: int

    def candidates(self, part: str) -> Sequence[RegionLike]: ...


@dataclass(frozen=True)
class Part:
    """One piece of the firmware in a region; bytes as planned."""

    name: str
    region: str
    bytes: int


@dataclass(frozen=True)
class MemoryPlan:
    """Placement of a firmware on a board. `placement` maps part ("code", "image", "arena", "data", "stack") to region."""

    board: str
    kernels: KernelSet
    layout: Layout
    placement: Mapping[str, str]
    parts: tuple[Part, ...]
    image_bytes: int
    stack_bytes: int


def plan_memory(program: Program, bits: int, image_bytes: int, board: BoardLike,
                kernels: Optional[KernelSet] = None, layout: Optional[Layout] = None) -> MemoryPlan:
    """Place a model on a board: each part goes to its first region with room, arenas get the largest tiles that fit.

    Args:
        layout: take this arena instead of laying one out (an emulated twin runs the very code of its board).

    Raises:
        DoesNotFitError: says how many bytes more which region would need.
    """
    kernels = kernels or choose_kernels(board.features)
    free = {r.name: r.size for part in ("code", "image", "arena", "data", "stack") for r in board.candidates(part)}
    placement: dict[str, str] = {}
    parts: list[Part] = []

    def place(name: str, size: int) -> None:
        candidates = board.candidates(name)
        for region in candidates:
            if free[region.name] >= size:
                free[region.name] -= size
                placement[name] = region.name
                parts.append(Part(name, region.name, size))
                return
        best = max(candidates, key=lambda r: free[r.name])
        raise DoesNotFitError(
            f"does not fit {board.name}: {size - free[best.name]:,} bytes more in {best.name}", where=name,
            why=f"{name} takes {size:,} bytes and {best.name} has {free[best.name]:,} contiguous bytes left",
            next=_advice(name, bits),
        )

    place("code", CODE_RESERVE)
    place("data", DATA_RESERVE)
    place("stack", board.stack_bytes)
    place("image", image_bytes)
    if layout is None:
        smallest = make_layout(program, bits, kernels, 0)
        fitting = [free[r.name] for r in board.candidates("arena") if free[r.name] >= smallest.arena_bytes]
        # The first such region, however much larger a later one is: regions are in order of speed.
        room = fitting[0] if fitting else 0
        budget = min(comfortable_scratch(program, bits, kernels), room - (smallest.arena_bytes - smallest.scratch_bytes))
        layout = make_layout(program, bits, kernels, budget) if budget > 0 else smallest
    place("arena", layout.arena_bytes)
    return MemoryPlan(board.name, kernels, layout, placement, tuple(parts), image_bytes, board.stack_bytes)


def _advice(part: str, bits: int) -> str:
    if part == "image" and bits > 4:
        return "use --precision int4, or a board with more flash (`recurc boards`)"
    if part == "image":
        return "use a board with more flash or with external flash (`recurc boards`)"
    return "use a board with a larger contiguous RAM region (`recurc boards`)"
