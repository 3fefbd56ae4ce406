"""Geometry of the drawn memory map, in percent of a bar's width; the templates turn it into SVG.

Bars are to scale, with two exceptions that are visible: free memory that would push everything else into a corner is cut
(a break mark stands on it), and what is smaller than a line still gets one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from recurc.report.numbers import size_text
from recurc.report.regions import kind_rank

_CUT_BELOW = 0.4  # a region used less than this has its free memory cut ...
_CUT_FREE = 0.25  # ... to this share of the bar
_LEAST = 0.5  # percent of the bar that anything gets at least
_MANY = 1000  # sizes further apart than this are not drawn to one scale
_SHARED = ("carry", "kv", "io", "scratch")  # shared memory is drawn as the first of these that uses it
_BREAK = 32  # pixels that a break mark takes from a label
_CHARACTER = 6.4  # pixels of a label's character, generously
# Width in pixels of a bar in windows up to 480, 760 and 1080 pixels and beyond; classes that hide a label in the former.
_BAR_WIDTHS = ((270, ""), (405, "w1"), (680, "w2"), (1000, "w3"))


@dataclass(frozen=True)
class Span:
    """A stretch of a bar: x and width in percent; `kind` None is free memory. `hide` is the class of its label ("" always
    shown, "never" does not fit anywhere); `cut` when it is not to scale."""

    x: float
    width: float
    kind: str | None
    label: str = ""
    detail: str = ""
    title: str = ""
    hide: str = "never"
    cut: bool = False


@dataclass(frozen=True)
class Tick:
    """An address under a bar; `anchor` is SVG's text-anchor, `hide` as for spans."""

    x: float
    text: str
    anchor: str = "middle"
    hide: str = ""


@dataclass(frozen=True)
class Bar:
    """One region: spans from left to right, address ticks below."""

    spans: tuple[Span, ...]
    ticks: tuple[Tick, ...]
    limit: float | None = None  # where the region ends, when more is planned than it has

    @property
    def cut(self) -> bool:
        return any(span.cut for span in self.spans)


@dataclass(frozen=True)
class Block:
    """Memory of one kind: one piece, or several that take it in turn (scratch of operations)."""

    start: int
    end: int
    kind: str
    pieces: tuple[Mapping[str, Any], ...]

    @property
    def name(self) -> str:
        return str(self.pieces[0]["name"]) if len(self.pieces) == 1 else self.kind


def blocks_of(region: Mapping[str, Any]) -> list[Block]:
    """Pieces grouped where they share memory, by address; parts one after the other where no piece is known."""
    pieces = region["pieces"]
    if not pieces:
        at, made = region["base"] or 0, []
        for kind, size in sorted(region["parts"].items(), key=lambda p: kind_rank(p[0])):
            made.append(Block(at, at + size, kind, ({"name": kind, "kind": kind, "bytes": size, "lifetime": ""},)))
            at += size
        return [b for b in made if b.end > b.start]
    groups: list[list[Mapping[str, Any]]] = []
    end = -1
    for piece in sorted(pieces, key=lambda p: (p["address"], -p["bytes"])):
        if not piece["bytes"]:
            continue
        if piece["address"] < end:
            groups[-1].append(piece)
        else:
            groups.append([piece])
        end = max(end, piece["address"] + piece["bytes"])
    return [block for group in groups for block in _by_kind(group)]


def _by_kind(group: Sequence[Mapping[str, Any]]) -> list[Block]:
    """Blocks of pieces that share memory: what is of several kinds in turn is drawn as the kind that the sums count it as."""
    edges = sorted({p["address"] for p in group} | {p["address"] + p["bytes"] for p in group})
    runs: list[list[Any]] = []
    for low, high in zip(edges, edges[1:]):
        kind = min((p["kind"] for p in group if p["address"] <= low and high <= p["address"] + p["bytes"]), key=_share_rank)
        if runs and runs[-1][2] == kind:
            runs[-1][1] = high
        else:
            runs.append([low, high, kind])
    return [
        Block(low, high, kind, tuple(p for p in group if p["address"] < high and low < p["address"] + p["bytes"]))
        for low, high, kind in runs
    ]


def _share_rank(kind: str) -> int:
    """Place of a kind where memory is shared, as in `recurc.plan.pieces.bytes_by_kind`."""
    return _SHARED.index(kind) if kind in _SHARED else -1


def widths(sizes: Sequence[int], total: float = 100.0, least: float = _LEAST) -> list[float]:
    """Shares of `total` in proportion to sizes, none below `least` (less where there are very many)."""
    if not any(sizes):
        return [total / max(len(sizes), 1)] * len(sizes)
    least = min(least, total / (2 * len(sizes)))
    raised: set[int] = set()
    while True:
        rest = sum(s for i, s in enumerate(sizes) if i not in raised)
        room = total - least * len(raised)
        small = {i for i, s in enumerate(sizes) if i not in raised and (not rest or room * s / rest < least)}
        if not small:
            return [least if i in raised else room * s / rest for i, s in enumerate(sizes)]
        raised |= small


def short_name(name: str) -> str:
    """What tells a piece from its neighbours: "gate_up_proj" of "L_level.layers.0.mlp.gate_up_proj.weight:weights"."""
    tensor = name.partition(":")[0].removesuffix(".weight")
    return tensor.rsplit(".", 1)[-1] or name


def hide_class(label: str, detail: str, width: float, beside: float = 8) -> str:
    """The class of a label: in which windows its span is too narrow for it and `beside` pixels."""
    need = max(len(label), len(detail)) * _CHARACTER + beside
    return next((name for pixels, name in _BAR_WIDTHS if pixels * width / 100 >= need), "never")


def region_bar(region: Mapping[str, Any]) -> Bar:
    """The bar of one region: its blocks in address order, free memory between and after them."""
    base = region["base"] or 0
    end = base + max(region["size"], region["used"])
    runs: list[tuple[int, int, Block | None]] = []
    at = base
    for block in blocks_of(region):
        if block.start - at >= 256:  # what alignment leaves is no free memory to speak of
            runs.append((at, block.start, None))
        runs.append((block.start, block.end, block))
        at = max(at, block.end)
    at = max(at, base + region["used"])  # what alignment leaves at the end counts as used
    if end > at:
        runs.append((at, end, None))
    free = [i for i, run in enumerate(runs) if run[2] is None]
    cut = bool(free) and len(free) < len(runs) and region["used"] < _CUT_BELOW * region["size"]
    sizes = [run[1] - run[0] for run in runs]
    if cut:
        inner = iter(widths([s for i, s in enumerate(sizes) if i not in free], 100 * (1 - _CUT_FREE)))
        outer = iter(widths([sizes[i] for i in free], 100 * _CUT_FREE, least=4))
        shares = [next(outer) if i in free else next(inner) for i in range(len(runs))]
    else:
        shares = widths(sizes)
    spans, x = [], 0.0
    for (start, stop, held), share in zip(runs, shares):
        spans.append(_span(x, share, start, stop, held, cut, region["base"] is not None))
        x += share
    limit = _position(base + region["size"], runs, spans) if region["used"] > region["size"] else None
    return Bar(tuple(spans), _ticks(runs, spans, end) if region["base"] is not None else (), limit)


def _position(address: int, runs: Sequence[tuple[int, int, Block | None]], spans: Sequence[Span]) -> float:
    """Where an address is in the bar."""
    for (start, stop, _), span in zip(runs, spans):
        if address < stop:
            return span.x + span.width * max(address - start, 0) / (stop - start)
    return 100.0


def _span(x: float, width: float, start: int, stop: int, block: Block | None, cut: bool, placed: bool) -> Span:
    size = stop - start
    where = f"\n0x{start:08x} to 0x{stop - 1:08x}" if placed else ""
    if block is None:
        return Span(
            x,
            width,
            None,
            "free",
            f"{size:,}",
            f"free: {size:,} bytes{where}",
            hide_class("free", f"{size:,}", width, _BREAK if cut else 8),
            cut,
        )
    lines = [f"{block.name} ({block.kind}): {size:,} bytes{where}"]
    if len(block.pieces) == 1:
        lines += [str(block.pieces[0]["lifetime"])] if block.pieces[0].get("lifetime") else []
    else:
        lines.append(f"{len(block.pieces)} buffers, not all live at once")
    label = short_name(block.name)
    return Span(x, width, block.kind, label, f"{size:,}", "\n".join(lines), hide_class(label, f"{size:,}", width))


def _ticks(runs: Sequence[tuple[int, int, Block | None]], spans: Sequence[Span], end: int) -> tuple[Tick, ...]:
    """Addresses of both ends, then of the borders of large runs, as far as they do not touch."""
    ticks = [Tick(0, f"0x{runs[0][0]:08x}", "start"), Tick(100, f"0x{end:08x}", "end")]
    by_size = sorted(range(1, len(runs)), key=lambda i: -(spans[i].width + spans[i - 1].width))
    for hide, apart in (("", 34.0), ("w1", 21.0), ("w2", 14.0), ("w3", 10.0)):
        for i in by_size:
            x = spans[i].x
            # The end ticks are anchored at the border, so they reach in by a whole text.
            clear = all(abs(x - t.x) >= (apart if t.anchor == "middle" else 1.5 * apart) for t in ticks)
            if clear:
                ticks.append(Tick(x, f"0x{runs[i][0]:08x}", hide=hide))
    return tuple(ticks)


@dataclass(frozen=True)
class Overview:
    """A region's line in the chart of all regions: `width` of its box in percent, spans inside the box in percent of it."""

    name: str
    text: str
    width: float
    cut: bool
    spans: tuple[Span, ...]
    over: bool = False  # more is planned than the region has


def overview(regions: Sequence[Mapping[str, Any]]) -> list[Overview]:
    """All regions to one scale; those more than 1000 times the smallest are cut and marked."""
    if not regions:
        return []
    smallest = min(r["size"] for r in regions)
    scale = max(r["size"] for r in regions if r["size"] <= _MANY * smallest)
    lines = []
    anything_cut = any(r["size"] > scale for r in regions)
    for r in regions:
        cut = r["size"] > scale
        width = 100.0 if cut else max((80.0 if anything_cut else 100.0) * r["size"] / scale, 1.0)
        spans, x = [], 0.0
        for kind in sorted(r["parts"], key=kind_rank):
            share = 100 * r["parts"][kind] / max(r["size"], r["used"])
            spans.append(Span(x, share, kind, title=f"{kind}: {r['parts'][kind]:,} bytes"))
            x += share
        if r["free"] > 0:
            spans.append(Span(x, max(100 - x, 0.0), None, title=f"free: {r['free']:,} bytes"))
        lines.append(Overview(r["name"], size_text(r["size"]), width, cut, tuple(spans), r["free"] < 0))
    return lines
