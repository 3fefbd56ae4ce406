"""A sweep for people: the table's cells, the plots, and the HTML page that holds both."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Mapping, Optional, Sequence

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from recurc import __version__
from recurc.report import plots
from recurc.report.numbers import count_text
from recurc.resources import resource_dir

COLUMNS = ("weights x activations", "by", "H", "L", "steps", "cells", "exact", "lost to fp32", "phi 1 step", "phi last",
           "halting: exact", "steps", "MACs", "bytes")
NOTES = (
    "exact: whole puzzles right; lost to fp32: points of it against fp32 at the same depth, with the standard error of the "
    "difference on the same puzzles. phi: cosine of z_H to the fp32 model's at the same depth, mean over positions. MACs: of a "
    "puzzle. *: on the Pareto front of exact against MACs.",
    "by: device, the generated C on this computer, the firmware's bits; fake, torch with rounded weights and activations; "
    "reference, the fp32 model.",
)


def percent(share: float, digits: int = 1) -> str:
    """A share in percent."""
    return f"{100 * share:.{digits}f} %"


def phi_text(phi: float) -> str:
    """A cosine, four places; a dash where there is none."""
    return f"{phi:.4f}" if phi == phi else "-"


def cells(line: Mapping[str, Any]) -> tuple[str, ...]:
    """A row of a sweep as text, in COLUMNS."""
    plain = line["engine"] == "reference"
    return (
        ("*" if line["pareto"] else "") + line["label"], line["engine"], str(line["h_cycles"]), str(line["l_cycles"]),
        str(line["steps"]), percent(line["cell"]), percent(line["exact"]),
        "" if plain else f"{100 * line['loss']:.1f} ± {100 * line['loss_se']:.1f}",
        phi_text(line["phi_first"]), phi_text(line["phi_last"]), percent(line["halted_exact"]), f"{line['mean_steps']:.1f}",
        count_text(line["macs"]), f"{line['bytes']:,}",
    )


def draw(lines: Sequence[Mapping[str, Any]], depth: tuple[int, int], folder: Optional[Path]) -> list[tuple[str, str, str]]:
    """(heading, explanation, SVG) of the three plots; PNGs go to `folder`. phi along the steps: of one depth (H, L)."""
    deepest: dict[tuple[str, int, int], Mapping[str, Any]] = {}
    for line in lines:
        key = (line["label"], line["h_cycles"], line["l_cycles"])
        if key not in deepest or line["steps"] > deepest[key]["steps"]:
            deepest[key] = line
    quantized = [line for line in deepest.values() if line["engine"] != "reference"]
    here = [line for line in quantized if (line["h_cycles"], line["l_cycles"]) == depth]
    found = []
    if quantized:
        found.append(("Accuracy against fidelity", "One point a variant at its largest number of steps. The axis of fidelity "
                      "spreads what is close to 1.",
                      plots.render("accuracy-fidelity", plots.accuracy_against_phi(quantized), folder)))
    found.append(("Accuracy against work", "Lines join the step counts of one variant. The dotted line is the Pareto front.",
                  plots.render("accuracy-macs", plots.accuracy_against_macs(lines), folder)))
    if here:
        found.append(("Fidelity along the steps", f"H = {depth[0]}, L = {depth[1]}: cosine of z_H to the fp32 model's after "
                      "each supervision step.", plots.render("fidelity-steps", plots.phi_along_steps(here), folder)))
    return found


def render_page(title: str, subtitle: str, *, plots: Sequence[tuple[str, str, str]], verdicts: Sequence[str] = (),
                tables: Sequence[tuple[str, Sequence[str], Sequence[Sequence[str]]]] = (), notes: Sequence[str] = NOTES,
                command: str = "") -> str:
    """The page: plots first, then tables (heading, columns, rows of text)."""
    env = Environment(loader=FileSystemLoader(resource_dir("templates") / "report"), undefined=StrictUndefined,
                      autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return env.get_template("sweep.html.j2").render(
        title=title, subtitle=subtitle, plots=plots, verdicts=verdicts, tables=tables, notes=notes, command=command,
        version=__version__, colours=[])
