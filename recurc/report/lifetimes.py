"""The chart of buffer lifetimes: which buffers the model's memory holds while each operation runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from recurc.report.drawing import Span, hide_class, short_name, widths

ARENA_KINDS = ("carry", "kv", "io", "scratch")
_NARROWER = 0.72  # the chart's bars against those of the memory map, whose labels' classes are used here too
_SCRATCH_SHARE = 0.6  # of the chart's width, where scratch is the smaller part of the memory


@dataclass(frozen=True)
class Phase:
    """A line of the chart: what runs, the buffers live then, their bytes in all."""

    name: str
    bytes: int
    spans: tuple[Span, ...]


@dataclass(frozen=True)
class Chart:
    """Lifetimes in one region: phases in schedule order. `cut` when the long-lived buffers are drawn narrower than to scale."""

    region: str
    start: int
    end: int
    cut: bool
    phases: tuple[Phase, ...]


def phase_of(piece: Mapping[str, Any]) -> str:
    """The operation that a buffer belongs to: buffers of the arena are named OPERATION.BUFFER; "" for long-lived ones."""
    operation, dot, _ = str(piece["name"]).partition(".")
    return operation if dot else ""


def _schedule_order(operation: str) -> tuple[bool, int, str]:
    """Operations are numbered in the order in which a block runs them; the heads come after all of them."""
    number = operation.rpartition("_")[2]
    return operation == "heads", int(number) if number.isdigit() else 0, operation


class _Scale:
    """Addresses to percent, linear between the marks."""

    def __init__(self, marks: Sequence[int], shares: Sequence[float]) -> None:
        self.marks, self.shares = list(marks), list(shares)

    def __call__(self, address: int) -> float:
        x = 0.0
        for low, high, share in zip(self.marks, self.marks[1:], self.shares):
            if address <= low:
                break
            x += share * min(1.0, (address - low) / (high - low))
        return x


def lifetime_chart(region: Mapping[str, Any]) -> Chart | None:
    """The chart of one region; None where nothing in it shares memory over time."""
    pieces = [p for p in region["pieces"] if p["kind"] in ARENA_KINDS and p["bytes"]]
    passing = [p for p in pieces if phase_of(p)]
    names = sorted({phase_of(p) for p in passing}, key=_schedule_order)
    if len(names) < 2:
        return None
    start, end = min(p["address"] for p in pieces), max(p["address"] + p["bytes"] for p in pieces)
    low, high = min(p["address"] for p in passing), max(p["address"] + p["bytes"] for p in passing)
    marks = sorted({start, low, high, end})
    stretch = high - low < _SCRATCH_SHARE * (end - start)
    if stretch:
        outside = [b - a for a, b in zip(marks, marks[1:]) if not low <= a < high]
        rest = iter(widths(outside, 100 * (1 - _SCRATCH_SHARE), least=4))
        shares = [100 * _SCRATCH_SHARE if low <= a < high else next(rest) for a in marks[:-1]]
    else:
        shares = [100 * (b - a) / (end - start) for a, b in zip(marks, marks[1:])]
    scale = _Scale(marks, shares)
    phases = []
    for name in names:
        live = [p for p in pieces if phase_of(p) in ("", name)]
        live.sort(key=lambda p: p["address"])
        phases.append(Phase(name, sum(p["bytes"] for p in live), tuple(_span(p, scale) for p in live)))
    return Chart(region["name"], start, end, stretch, tuple(phases))


def _span(piece: Mapping[str, Any], scale: _Scale) -> Span:
    x = scale(piece["address"])
    width = max(scale(piece["address"] + piece["bytes"]) - x, 0.25)
    label = short_name(str(piece["name"]))
    title = f"{piece['name']} ({piece['kind']}): {piece['bytes']:,} bytes at 0x{piece['address']:08x}\n{piece['lifetime']}"
    return Span(x, width, piece["kind"], label, "", title.strip(), hide_class(label, "", width * _NARROWER))
