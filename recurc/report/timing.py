"""Where a supervision step's time goes: the plan's work with the cost model's constants, beside what `verify` measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from recurc.documents.report import MeasuredTime, Time
from recurc.plan.cost import estimate
from recurc.plan.hook import macs_between, op_times
from recurc.plan.work import class_meaning
from recurc.report.numbers import bytes_text, count_text, percent_text
from recurc.targets.boards import Board

_WAITS = "waits for flash"
_LEAST_BAR = 0.3  # percent of a bar that anything gets at least


@dataclass(frozen=True)
class TimeBar:
    """A line of the chart: class, width in percent of the widest, text at its end, and what it says on hovering."""

    name: str
    width: float
    text: str
    title: str


def time_entry(
    plan: Mapping[str, Any], board: Board | None, verified: Mapping[str, Any] | None, macs: int | None = None
) -> Time | None:
    """The document's "time": {"estimate": see `recurc.plan.cost.estimate` or None, "why": text or None, "measured": {"board",
    "instructions", "seconds"} a step or None, "ops", "hook": see `recurc.plan.hook.op_times`, if there is an estimate}; None
    where nothing was planned.

    Args:
        macs: between two calls of the hook, as the code was generated with; None: as it would be.
        verified: what `verify` kept of a firmware of this build, and the board that it ran on.
    """
    work = plan.get("work")
    found, why, more = None, None, None
    if work and board is not None:
        region = next((r["name"] for r in plan.get("regions", ()) if "weights" in r["parts"]), None)
        found = estimate(work, board, region)
        more = op_times(work, board, region, macs or macs_between(found))
        why = None if found else f"no instruction counts of the {work['kernels']} kernels on a {board.core}"
    measured: MeasuredTime | None = None
    if verified and (verified.get("instructions_per_step") or verified.get("seconds_per_step")):
        measured = {
            "board": verified["board"],
            "instructions": verified.get("instructions_per_step"),
            "seconds": verified.get("seconds_per_step"),
        }
    entry: Time = {"estimate": found, "why": why, "measured": measured}
    if more is not None:
        entry["ops"], entry["hook"] = more
    return entry if work or measured else None


def seconds_text(seconds: float) -> str:
    """A duration with three digits: 1.23 s, 45.6 ms, 7.89 us."""
    for limit, factor, unit in ((1.0, 1.0, "s"), (1e-3, 1e3, "ms")):
        if seconds >= limit:
            value = seconds * factor
            return f"{value:,.0f} {unit}" if value >= 99.5 else f"{value:.3g} {unit}"
    return f"{seconds * 1e6:.3g} us"


def time_columns(estimated: Mapping[str, Any]) -> tuple[str, ...]:
    """Heads of the table."""
    share = "share of time" if estimated["seconds"] else "share of cycles"
    return ("a step", "MACs", "from flash", "from RAM", "instructions", share, *(("time",) if estimated["seconds"] else ()))


def op_columns(time: Mapping[str, Any]) -> tuple[str, ...]:
    """Heads of the table of ops."""
    clocked = bool(time.get("ops")) and time["ops"][0]["seconds"] is not None
    return ("an op", "times a step", "MACs", "instructions", "at most", *(("time",) if clocked else ()))


def op_rows(time: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """A line for each op of a step, what one time takes, in `op_columns`; none without an estimate."""
    return [
        (
            op["name"],
            f"{op['times']:,}",
            count_text(op["macs"]),
            count_text(op["instructions"]),
            count_text(op["most"]),
            *((seconds_text(op["seconds"]),) if op["seconds"] is not None else ()),
        )
        for op in time.get("ops", ())
    ]


TIME_LEAST = ("from RAM", "from flash", "MACs")  # columns that a narrow page leaves out first


def time_rows(estimated: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """A line a class of work in `time_columns`, then their sums."""
    clocked = estimated["seconds"] is not None
    rows = [
        (
            c["name"],
            count_text(c["macs"]) if c["macs"] else "",
            bytes_text(c["flash_bytes"]) if c["flash_bytes"] else "",
            bytes_text(c["ram_bytes"]),
            count_text(c["instructions"]),
            _share(c["share"]),
            *((seconds_text(c["seconds"]),) if clocked else ()),
        )
        for c in estimated["classes"]
    ]
    waits = estimated["flash_waits"]["cycles"]
    if waits and clocked:
        rows.append((_WAITS, "", "", "", "", _share(waits / estimated["cycles"]), seconds_text(waits / estimated["clock_hz"])))
    flash, ram = (sum(c[key] for c in estimated["classes"]) for key in ("flash_bytes", "ram_bytes"))
    rows.append(
        (
            "all",
            count_text(estimated["macs"]),
            bytes_text(flash),
            bytes_text(ram),
            count_text(estimated["instructions"]),
            "100 %",
            *((seconds_text(estimated["seconds"]),) if clocked else ()),
        )
    )
    return rows


def _share(share: float) -> str:
    return percent_text(round(share * 1e6), 1_000_000)


def time_facts(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The estimate, what it rests on, and what was measured, each named."""
    time = document.get("time")
    if not time:
        return []
    rows: list[tuple[str, str]] = []
    e, measured = time["estimate"], time["measured"]
    if e is None and time["why"]:
        rows.append(("estimate", f"none: {time['why']}"))
    if e is not None:
        per_mac = f"{e['instructions']:,} instructions a step, {e['instructions_per_mac']:.3g} a MAC"
        rows.append(("estimate", per_mac))
        if e["seconds"]:
            steps = document["model"]["steps"]
            rows.append(
                (
                    "estimated time",
                    f"{seconds_text(e['seconds'])} a step at {e['clock_hz'] / 1e6:g} MHz, "
                    f"{seconds_text(e['seconds'] * steps)} a puzzle of {steps} steps; not measured",
                )
            )
        rows.extend(_hook_facts(time))
        rows.append(("its model", e["model"]))
        rows.append(("its constants", f"{e['instructions_from']}; their counts within {100 * e['worst_error']:.1f} %"))
    if measured and measured["instructions"]:
        beside = f", the estimate is {100 * (e['instructions'] / measured['instructions'] - 1):+.1f} % off" if e else ""
        rows.append(("counted", f"{measured['instructions']:,} instructions a step by `verify` on {measured['board']}{beside}"))
    if measured and measured["seconds"]:
        rows.append(("measured", f"{seconds_text(measured['seconds'])} a step by `verify` on {measured['board']}"))
    return rows


def _hook_facts(time: Mapping[str, Any]) -> list[tuple[str, str]]:
    """How long the hook of a program of one's own waits at most."""
    hook = time.get("hook")
    if not hook:
        return []
    longest = f"{count_text(hook['instructions'])} instructions"
    if hook["seconds"]:
        longest = f"{seconds_text(hook['seconds'])}, {longest}"
    return [
        (
            "between calls of the hook",
            f"at most {longest}: it comes after {hook['macs']:,} MACs and the tile under way; an estimate",
        )
    ]


def time_bars(document: Mapping[str, Any]) -> list[TimeBar]:
    """The chart's lines, in the order of the table; empty without an estimate."""
    e = (document.get("time") or {}).get("estimate")
    if not e:
        return []
    waits = e["flash_waits"]["cycles"] / e["cycles"] if e["cycles"] else 0.0
    widest = max(waits, *(c["share"] for c in e["classes"])) or 1.0
    bars = [
        TimeBar(
            c["name"],
            max(100 * c["share"] / widest, _LEAST_BAR),
            (f"{seconds_text(c['seconds'])}, " if c["seconds"] is not None else "") + _share(c["share"]),
            f"{c['name']}: {class_meaning(c['name'])}\n{c['instructions']:,} instructions, {c['macs']:,} MACs, "
            f"{c['flash_bytes']:,} bytes from flash, {c['ram_bytes']:,} from RAM",
        )
        for c in e["classes"]
    ]
    if waits:
        bars.append(
            TimeBar(
                _WAITS,
                max(100 * waits / widest, _LEAST_BAR),
                f"{seconds_text(waits * e['seconds'])}, {_share(waits)}",
                e["flash_waits"]["note"],
            )
        )
    return bars
