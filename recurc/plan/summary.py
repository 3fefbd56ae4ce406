"""A plan as plain data for reports and JSON: regions with their sums, the verdict, and what the model costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from recurc.documents.plan import (
    Carry,
    Piece,
    PlacedTable,
    Plan,
    PlannedModel,
    PlannedRegion,
    PlannedStack,
    RegionKind,
    Verdict,
)
from recurc.plan.advice import Change
from recurc.plan.budget import parameter_count
from recurc.plan.cost import work_summary
from recurc.plan.pieces import RegionLike, bytes_by_kind
from recurc.plan.planner import MemoryPlan
from recurc.storage.form import Form, Forms


def region_parts(plan: MemoryPlan, region: str) -> dict[str, int]:
    """Bytes by kind in a region. They add up to what is used: shared memory counts once, alignment is "padding"."""
    base = next(r.base for r in plan.regions if r.name == region)
    parts = bytes_by_kind(p for p in plan.pieces if p.region == region)
    if plan.table is not None and plan.table.region == region:
        parts["tables"] += plan.table.bytes
    parts["padding"] = plan.end(region) - base - sum(parts.values())
    return {kind: size for kind, size in parts.items() if size}


def _pieces(plan: MemoryPlan, region: RegionLike) -> list[Piece]:
    found: list[Piece] = [
        {
            "name": p.name,
            "kind": p.kind,
            "address": p.address,
            "offset": p.address - region.base,
            "bytes": p.bytes,
            "lifetime": p.lifetime,
        }
        for p in plan.pieces
        if p.region == region.name
    ]
    if plan.table is not None and plan.table.region == region.name:
        found.append(
            {
                "name": "puzzle table file",
                "kind": "tables",
                "address": plan.table.address,
                "offset": plan.table.address - region.base,
                "bytes": plan.table.bytes,
                "lifetime": "always, read only; flashed beside the firmware",
            }
        )
    return sorted(found, key=lambda p: (p["address"], -p["bytes"]))


def _region(plan: MemoryPlan, region: RegionLike) -> PlannedRegion:
    parts = region_parts(plan, region.name)
    used = plan.end(region.name) - region.base
    return {
        "name": region.name,
        "kind": cast(RegionKind, region.kind),  # a board file is held to them
        "base": region.base,
        "size": region.size,
        "used": used,
        "free": region.size - used,
        "sum": " + ".join(f"{kind} {size:,}" for kind, size in parts.items()) + f" = {used:,}",
        "optional": getattr(region, "optional", False),
        "note": getattr(region, "note", ""),
        "parts": parts,
        "pieces": _pieces(plan, region),
    }


def _verdict(plan: MemoryPlan, changes: Sequence[Change]) -> Verdict:
    first = plan.missing[0] if plan.missing else None
    text = "may fit" if plan.least else "fits"
    if first is not None:
        text = f"does not fit: {first.bytes:,} bytes more in {first.region}"
    return {
        "fits": plan.fits,
        "text": text,
        "estimated": plan.estimated,
        "open": plan.fits and plan.least,
        "missing_bytes": first.bytes if first else 0,
        "region": first.region if first else None,
        "missing": [{"region": m.region, "bytes": m.bytes, "parts": list(m.parts)} for m in plan.missing],
        "changes": [c.as_dict() for c in changes],
    }


def _bits(forms: Forms) -> float | dict[str, float]:
    """Bits a weight, of all layers or of each."""
    return forms.bits if isinstance(forms, Form) else {name: form.bits for name, form in forms.items()}


def _model(plan: MemoryPlan) -> PlannedModel:
    program = plan.program
    calls = program.macs_per_call
    return {
        "parameters": parameter_count(program),
        "bits": _bits(plan.forms),
        "carry": cast(Carry, program.carry),  # `lower` is held to them
        "kernels": plan.kernels.name,
        "steps": program.depth.steps,
        "h_cycles": program.depth.h_cycles,
        "l_cycles": program.depth.l_cycles,
        "calls_per_step": program.calls_per_step,
        "macs_per_call": next(iter(calls.values())),
        "macs_by_block": calls,
        "macs_per_step": program.macs_per_step,
        "macs_per_puzzle": program.macs_per_step * program.steps,
    }


def _stack(plan: MemoryPlan) -> PlannedStack:
    use = plan.stack
    return {
        "reserved": plan.stack_bytes,
        "worst": use.worst_bytes if use else None,
        "path": [{"function": name, "bytes": size} for name, size in use.path] if use else [],
        "interrupt_bytes": use.interrupt_bytes if use else None,
        "assumed": [{"function": name, "bytes": size} for name, size in use.assumed] if use else [],
    }


def plan_summary(plan: MemoryPlan, changes: Sequence[Change] = ()) -> Plan:
    """The plan as JSON-able data.

    Regions without anything in them are left out. In each, `used` = the sum of `parts` = the extent from the region's base
    to the last byte; buffers of the arena that share memory in turn count once in `parts`.
    """
    used = [r for r in plan.regions if plan.end(r.name) > r.base]
    table: PlacedTable | None = None
    if plan.table_bytes:
        table = {
            "bytes": plan.table_bytes,
            "region": plan.table.region if plan.table else None,
            "address": plan.table.address if plan.table else None,
            "mode": "memory-mapped" if plan.table else "wire",
        }
    return {
        "board": plan.board,
        "estimated": plan.estimated,
        "regions": [_region(plan, r) for r in used],
        "verdict": _verdict(plan, changes),
        "model": _model(plan),
        "stack": _stack(plan),
        "table": table,
        "image": {"bytes": plan.image.total, "parts": dict(plan.image.by_kind)},
        "arena_bytes": plan.layout.arena_bytes,
        "scratch_bytes": plan.layout.scratch_bytes,
        "ram_bytes": plan.ram_bytes,
        "work": work_summary(plan.program, plan.layout, plan.forms, plan.kernels),
    }
