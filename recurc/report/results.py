"""A page of results, for a browser and for a repository: verdicts, plots and tables, as HTML and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from recurc import __version__
from recurc.quoting import environment, markdown_code, markdown_prose
from recurc.words import said


def near(path: Path | str) -> str:
    """A path as a page says it: from the current folder where it lies in there, so that the page may be given away."""
    path = Path(path)
    try:
        here = Path.cwd()
    except OSError:  # it was removed
        return str(path)
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


class Plot(NamedTuple):
    """A drawn figure: what it shows, its SVG, and the PNG of the same in the folder of the results."""

    heading: str
    text: str
    svg: str
    image: str


class Table(NamedTuple):
    """Rows of text under a heading; all columns but the first hold numbers."""

    heading: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Results:
    """What a command found, ready to be read; definitions: (name, meaning). command: what wrote it."""

    title: str
    subtitle: str
    tables: Sequence[Table]
    notes: Sequence[str]
    command: str
    plots: Sequence[Plot] = ()
    verdicts: Sequence[str] = ()
    definitions: Sequence[tuple[str, str]] = ()

    def html(self) -> str:
        """One self-contained page, in the words of the task."""
        return (
            environment("report").get_template("results.html.j2").render(**vars(self._said()), version=__version__, colours=[])
        )

    def _said(self) -> Results:
        """The same in the words of the task."""
        tables = [Table(said(t.heading), [*map(said, t.columns)], [[*map(said, row)] for row in t.rows]) for t in self.tables]
        return replace(
            self,
            title=said(self.title),
            subtitle=said(self.subtitle),
            tables=tables,
            notes=[*map(said, self.notes)],
            plots=[p._replace(heading=said(p.heading), text=said(p.text)) for p in self.plots],
            verdicts=[*map(said, self.verdicts)],
            definitions=[(said(name), said(text)) for name, text in self.definitions],
        )

    def markdown(self) -> str:
        """The same as Markdown; plots are the PNGs beside it."""
        return self._said()._markdown()

    def _markdown(self) -> str:
        p = markdown_prose
        written = f"Written by {markdown_code(self.command)}." if self.command else ""
        parts = [f"# {p(self.title)}", f"{p(self.subtitle)} {written}".strip(), "\n".join(f"* {p(v)}" for v in self.verdicts)]
        parts += [f"## {p(t.heading)}\n\n{_table(t)}" for t in self.tables[:1]]
        parts += [f"## {p(d.heading)}\n\n{p(d.text)}\n\n![{p(d.heading)}]({d.image})" for d in self.plots]
        parts += [f"## {p(t.heading)}\n\n{_table(t)}" for t in self.tables[1:]]
        if self.definitions:
            parts += ["## What the names mean", "\n".join(f"* **{p(name)}**: {p(text)}" for name, text in self.definitions)]
        return "\n\n".join(part for part in (*parts, *map(p, self.notes)) if part) + "\n"


def _table(table: Table) -> str:
    rule = ["---", *["---:"] * (len(table.columns) - 1)]
    return "\n".join(
        "| " + " | ".join(markdown_prose(cell).replace("|", "\\|") for cell in row) + " |"
        for row in (table.columns, rule, *table.rows)
    )
