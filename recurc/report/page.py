"""The report as one HTML page that needs nothing else: no scripts, no fonts or images from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment

from recurc.quoting import environment
from recurc.report.drawing import overview, region_bar
from recurc.report.lifetimes import lifetime_chart
from recurc.report.numbers import bytes_text, count_text, percent_text, size_text
from recurc.report.regions import KIND_MEANING, KINDS, kind_rank, sum_text
from recurc.report.timing import op_columns, op_rows, time_bars, time_columns, time_facts, time_rows
from recurc.report.wording import change_rows, fact_rows, schedule_text, verdict_text
from recurc.words import said


def _environment() -> Environment:
    """The templates with the report's filters."""
    env = environment("report")
    env.filters |= {
        "bytes": bytes_text,
        "count": count_text,
        "size": size_text,
        "n": lambda n: f"{n:,}",
        "hex": lambda n: f"0x{n:08x}",
        "pc": lambda x: f"{x:.3f}%",
        "kind_class": _kind_class,
    }
    return env


def _kind_class(kind: str) -> str:
    """The kind as the name of a CSS class and colour; kinds that the page does not know share one."""
    return kind if kind in KINDS else "other"


def render_page(document: Mapping[str, Any]) -> str:
    """The HTML page of a report document; well-formed XML too."""
    regions = [r for r in document["regions"] if r["used"]]
    kinds = sorted({k for r in regions for k, size in r["parts"].items() if size}, key=kind_rank)
    estimated = (document.get("time") or {}).get("estimate")
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            d=document,
            regions=regions,
            unused=[r for r in document["regions"] if not r["used"]],
            overview=overview([r for r in document["regions"] if r["used"] or not r["optional"]]),
            bars={r["name"]: region_bar(r) for r in regions},
            charts=[chart for r in regions if (chart := lifetime_chart(r))],
            kinds=kinds,
            colours=sorted({_kind_class(k) for k in kinds}),
            meaning=KIND_MEANING,
            verdict=said(verdict_text(document)),
            facts=[(said(name), said(text)) for name, text in fact_rows(document)],
            time_bars=time_bars(document),
            time_facts=[(name, said(text)) for name, text in time_facts(document)],
            time_table=(time_columns(estimated), time_rows(estimated)) if estimated else None,
            op_table=(op_columns(document["time"]), op_rows(document["time"])) if estimated else ((), ()),
            changes=change_rows(document),
            schedule=schedule_text(document),
            percent=percent_text,
            sum_text=sum_text,
        )
    )
