"""Memory in the report: regions in one shape, with their pieces and what their sums are made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from recurc.targets.boards import Board

# Kinds in the order in which sums, legends and tables have them where sizes do not decide.
KINDS = (
    "weights",
    "scales",
    "tables",
    "vectors",
    "headers",
    "image",
    "code",
    "constants",
    "data",
    "carry",
    "kv",
    "scratch",
    "io",
    "arena",
    "stack",
    "padding",
)
KIND_MEANING = {
    "weights": "quantized weights",
    "scales": "scales and zero points",
    "tables": "embeddings, positions",
    "vectors": "initial states, biases",
    "headers": "header and section table of the image",
    "image": "weights image",
    "code": "instructions",
    "constants": "read-only constants of the code",
    "data": "variables of runtime and port",
    "carry": "z_H and z_L, live for the whole run",
    "kv": "keys and values of attention",
    "scratch": "working memory of one operation at a time",
    "io": "puzzle in, tokens out",
    "arena": "carry, scratch, in- and outputs",
    "stack": "reserved stack",
    "padding": "left by alignment",
}


def kind_rank(kind: str) -> int:
    """Place of a kind in KINDS; unknown ones last."""
    return KINDS.index(kind) if kind in KINDS else len(KINDS)


def region_rows(
    regions: Iterable[Mapping[str, Any]], notes: Mapping[str, Mapping[str, Any]] | None = None
) -> list[dict[str, Any]]:
    """Regions in one shape, whether they come from a plan or from a linked ELF.

    Each: name, kind, base (None when unknown), size, used, free, share (0..1), parts {kind: bytes}, largest first, pieces
    [{name, kind, address, offset, bytes, lifetime}] by address, optional, note.

    Args:
        notes: further entries a region by name, for what the plan does not say (optional, note).
    """
    rows = []
    for region in regions:
        base, size = region.get("base"), int(region["size"])
        parts = dict(sorted(region["parts"].items(), key=lambda p: (-p[1], kind_rank(p[0]))))
        used = int(region.get("used", sum(parts.values())))
        more = {**(notes or {}).get(region["name"], {}), **region}
        pieces = [
            {
                "name": p["name"],
                "kind": p["kind"],
                "address": p["address"],
                "offset": None if base is None else p["address"] - base,
                "bytes": p["bytes"],
                "lifetime": p.get("lifetime", ""),
            }
            for p in sorted(region.get("pieces", ()), key=lambda p: p["address"])
        ]
        rows.append(
            {
                "name": region["name"],
                "kind": region["kind"],
                "base": base,
                "size": size,
                "used": used,
                "free": int(region.get("free", size - used)),
                "share": used / size if size else 0.0,
                "parts": parts,
                "pieces": pieces,
                "optional": bool(more.get("optional", False)),
                "note": more.get("note", "") or "",
            }
        )
    return rows


def unused(board: Board | None, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The board's regions that nothing was placed in."""
    names = {r["name"] for r in rows}
    return region_rows(
        {"name": r.name, "kind": r.kind, "base": r.base, "size": r.size, "parts": {}, "optional": r.optional, "note": r.note}
        for r in (board.regions if board else ())
        if r.name not in names
    )


def sum_text(region: Mapping[str, Any]) -> str:
    """The region's sum spelled out: "weights 2,511,616 + scales 47,115 = 2,558,731"."""
    parts = [f"{kind} {size:,}" for kind, size in region["parts"].items() if size]
    if not parts:
        return "nothing"
    return " + ".join(parts) + (f" = {sum(region['parts'].values()):,}" if len(parts) > 1 else "")
