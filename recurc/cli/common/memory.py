"""A board's memory on the terminal: the table that `build` and `report` share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from recurc.cli.common.output import Console
from recurc.report.numbers import percent_text, size_text
from recurc.report.regions import sum_text
from recurc.report.wording import change_rows

_WIDE = 140  # columns from which the sums stand in the table itself


def show_memory(console: Console, regions: Sequence[Mapping[str, Any]], title: str) -> None:
    """A line a region (see `recurc.report.regions.region_rows`), each region's sum spelled out, what is unused."""
    used = [r for r in regions if r["used"]]
    if not used:
        return
    wide = console.wide or console.width >= _WIDE
    rows = [
        (
            r["name"],
            r["kind"],
            f"{r['used']:,}",
            f"{r['size']:,}",
            percent_text(r["used"], r["size"]),
            f"{r['free']:,}",
            *([f"= {sum_text(r)}"] if wide else []),
        )
        for r in used
    ]
    columns = ("region", "kind", "used bytes", "of", "used", "free bytes", *(["sum"] if wide else []))
    console.table(columns, rows, title=title, text_columns=("kind", "sum"), least=("kind", "free bytes"))
    if not wide:
        _sums(console, used)
    unused = ", ".join(
        f"{r['name']} ({size_text(r['size'])}{', optional' if r['optional'] else ''})" for r in regions if not r["used"]
    )
    if unused:
        console.print(f"unused: {unused}", style="dim")
        console.print()


def _sums(console: Console, regions: Sequence[Mapping[str, Any]]) -> None:
    """Sums below the table, wrapped between their terms."""
    rows = []
    for region in regions:
        # A term must not be torn from its number: the space inside it does not break.
        text = sum_text(region).replace(" + ", "\n").replace(" = ", "\r")
        text = text.replace(" ", "\N{NO-BREAK SPACE}").replace("\n", " + ").replace("\r", " = ")
        rows.append((region["name"], "= " + text))
    console.pairs(rows, bold=False)
    console.print()


def show_pieces(console: Console, regions: Sequence[Mapping[str, Any]]) -> None:
    """Every piece with offset in its region (and address, where there is room), size and lifetime."""
    for region in regions:
        if region["pieces"]:
            rows = [
                (p["name"], p["kind"], f"{p['bytes']:,}", f"{p['offset']:,}", f"0x{p['address']:08x}", p["lifetime"])
                for p in region["pieces"]
            ]
            console.table(
                ("piece", "kind", "bytes", "offset", "address", "lifetime"),
                rows,
                text_columns=("kind", "lifetime"),
                least=("address", "lifetime", "kind"),
                title=f"{region['name']}: {region['kind']} at 0x{region['base']:08x}",
            )


def show_changes(console: Console, document: Mapping[str, Any]) -> None:
    """What would make it fit, where it does not."""
    changes = change_rows(document)
    if changes:
        console.table(("change", "options", "outcome"), changes, title="Changes that would help", numeric=False)
