"""A study for people: the table's cells, the plots, and the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recurc.report import plots
from recurc.report.numbers import READ_BYTES, loss_text
from recurc.report.results import Plot, Results, Table, near
from recurc.report.sweep_page import asked_cells, percent, phi_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = (
    "method",
    "by",
    "cells",
    "exact",
    "lost to fp32",
    "with restarts",
    "wrong solved",
    "phi 1 step",
    "phi last",
    "bytes",
    "4 MB",
    "8 MB",
)
LEAST = ("by", "wrong solved", "phi last", "8 MB", "4 MB", "phi 1 step", "cells", "bytes")  # to leave out first
NOTES = (
    "exact: whole puzzles right; lost to fp32: points of it, with the standard error of the difference on the same puzzles. "
    "phi: cosine of z_H to the fp32 checkpoint's, mean over positions; none where the carries differ in shape. "
    f"bytes: {READ_BYTES} (onnxruntime: its graph files); "
    "4 MB, 8 MB: whether they fit beside 32 KB of code.",
    "with restarts: puzzles exact, @ steps of all runs on average, where a puzzle whose run does not halt is asked again in "
    "another form, or with noise (runtime_c/SPEC.md, Solving); wrong solved: of those called solved.",
    "by: device, the generated C on this computer, the firmware's bits; fake, torch with rounded weights and activations; "
    "reference, the fp32 model; onnxruntime, its own kernels.",
)
Line = Mapping[str, Any]


def cells(line: Line) -> tuple[str, ...]:
    """A row of a study as text, in COLUMNS."""
    return (
        line["name"],
        line["engine"],
        percent(line["cell"]),
        percent(line["exact"]),
        "" if line["group"] == "reference" else loss_text(line["loss"], line["loss_se"], line["n"]),
        *asked_cells(line["asked"]),
        _phi(line["phi_first"]),
        _phi(line["phi_last"]),
        f"{line['bytes']:,}",
        _yes(line["fits_4mb"]),
        _yes(line["fits_8mb"]),
    )


def _phi(value: float | None) -> str:
    return "-" if value is None else phi_text(value)


def _yes(fits: bool) -> str:
    return "fits" if fits else "no"


def definitions(lines: Sequence[Line]) -> list[tuple[str, str]]:
    """(method, what exactly it is) of each row; the training and what it was trained to, where there is one."""
    found = []
    for line in lines:
        text = line["definition"]
        if line["updates"] and line["loss_first"] is not None:
            text += f"; training loss {line['loss_first']:.3g} at first, {line['loss_last']:.3g} at last"
            if line["exact_seen"] is not None:
                text += (
                    f"; {percent(line['exact_seen'])} exact on puzzles it learned from, where fp32 has "
                    f"{percent(lines[0]['exact_seen'])}"
                )
        if line["name"] == "distilled":
            share = percent(line["parameters"] / lines[0]["parameters"])
            text += f"; {line['parameters']:,} parameters, {share} of the model's"
        found.append((line["name"], text))
    return found


def draw(subjects: Sequence[Mapping[str, Any]], folder: Path | None) -> list[Plot]:
    """The plots; PNGs go to `folder`."""
    found = []
    for i, subject in enumerate(subjects):
        name = "survival" if not i else f"survival-{i + 1}"
        found.append(
            plots.plot(
                name,
                f"Cells and puzzles: {subject['name']}",
                "What each method leaves: bars are whole puzzles with their standard error, rings are cells.",
                survival(subject["rows"]),
                folder,
                height=1.2 + 0.24 * len(subject["rows"]),
            )
        )
    found.append(
        plots.plot(
            "fidelity",
            "Puzzles against fidelity",
            "One point a method. The axis of fidelity spreads what is close to 1.",
            against_fidelity(subjects),
            folder,
        )
    )
    return found


def survival(lines: Sequence[Line]) -> plots.Drawing:
    """A bar a method: puzzles exact; a ring: cells. The dotted line is fp32."""
    groups = list(dict.fromkeys(line["group"] for line in lines))

    def paint(figure: Figure) -> None:
        axis = figure.subplots()
        at = range(len(lines))[::-1]
        for y, line in zip(at, lines):
            colour = plots.SERIES[groups.index(line["group"]) % len(plots.SERIES)]
            exact = 100 * line["exact"]
            error = 100 * (line["exact"] * (1 - line["exact"]) / line["n"]) ** 0.5
            axis.barh(y, exact, height=0.62, color=colour, alpha=0.85)
            # The error lies below the number, not through it.
            axis.errorbar(exact, y - 0.24, xerr=error, ls="", elinewidth=0.8, ecolor=plots.FG)
            axis.plot(100 * line["cell"], y, marker="o", ms=6, markerfacecolor="none", markeredgecolor=plots.FG, ls="")
            axis.annotate(f"{exact:.1f}", (0, y), xytext=(4, 0), textcoords="offset points", va="center", fontsize=7.5)
        axis.axvline(100 * lines[0]["exact"], color=plots.FG, lw=1, ls=":")
        axis.set_yticks(list(at), [line["name"] for line in lines])
        axis.grid(axis="y", visible=False)
        axis.set_xlim(0, 102)
        axis.set_ylim(-0.7, len(lines) - 0.3)
        axis.set_xlabel("puzzles exact, %; rings: cells right, %")

    return paint


def against_fidelity(subjects: Sequence[Mapping[str, Any]]) -> plots.Drawing:
    """Exact against phi after one and after the last step; a colour a group, a marker a subject."""
    groups = list(dict.fromkeys(line["group"] for s in subjects for line in s["rows"] if line["group"] != "reference"))

    def paint(figure: Figure) -> None:
        from matplotlib.lines import Line2D

        panels = figure.subplots(1, 2, sharey=True)
        for axis, key, text in zip(panels, ("phi_first", "phi_last"), ("after 1 step", "after the last step")):
            known = []
            for s, marker in zip(subjects, plots.MARKERS):
                for line in s["rows"]:
                    if line["group"] == "reference" or line[key] is None:
                        continue
                    known.append(plots.nines(line[key]))
                    axis.plot(
                        known[-1],
                        100 * line["exact"],
                        ls="",
                        marker=marker,
                        ms=6,
                        alpha=0.85,
                        color=plots.SERIES[1 + groups.index(line["group"])],
                    )
            plots.nines_axis(axis, known, f"fidelity {text}", "x", ticks=6)
        panels[0].set_ylabel("puzzles exact, %")
        panels[0].set_ylim(-3, 103)
        handles = [Line2D([], [], color=plots.SERIES[1 + i], marker="s", ls="", label=g) for i, g in enumerate(groups)]
        if len(subjects) > 1:
            handles += [
                Line2D([], [], color=plots.FG, marker=k, ls="", markerfacecolor="none", label=s["name"])
                for s, k in zip(subjects, plots.MARKERS)
            ]
        figure.legend(handles=handles, loc="outside right upper", handletextpad=0.4)

    return paint


def results(title: str, document: Mapping[str, Any], drawn: Sequence[Plot], command: str) -> Results:
    """The page: verdicts, plots, a table a subject, definitions."""
    subjects = document["subjects"]
    verdicts = [f"{s['name']}: {finding}" if len(subjects) > 1 else finding for s in subjects for finding in s["verdict"]]
    return Results(
        title,
        f"{document['n']} test puzzles of {near(document['data'])}, {document['steps']} supervision steps.",
        plots=drawn,
        verdicts=[*verdicts, *document["beside"]],
        tables=[Table(s["name"], COLUMNS, [cells(line) for line in s["rows"]]) for s in subjects],
        definitions=definitions(subjects[0]["rows"]),
        notes=[*NOTES, *document["remarks"]],
        command=command,
    )
