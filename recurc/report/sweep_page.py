"""A sweep for people: the table's cells, the plots, and the HTML page that holds both."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Mapping, Optional, Sequence

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from recurc import __version__
from recurc.report import plots
from recurc.report.numbers import count_text
from recurc.resources import resource_dir

GATE_COLUMNS = ("model", "puzzles", "steps", "fp32 exact", "variants", "harmful", "rank correlation: phi 1 step", "phi last",
                "same answer", "threshold", "missed", "false alarms", "nothing harmful above")
POINT_COLUMNS = ("variant", "by", "phi 1 step", "phi last", "same answer", "exact", "lost to fp32", "harmful")
GATE_NOTES = (
    "harmful: loses more than the tolerance, and more than two standard errors. Rank correlation: Spearman's, of the number "
    "with the loss of exact; -1 is perfect. same answer: share of puzzles answered exactly as fp32 answers them; needs no "
    "labels either. threshold: the phi after one step that parts harmful from harmless variants with the fewest mistakes, "
    "as shares of both; missed are harmful ones above it, false alarms harmless ones below.",
    "noise: Gaussian, in percent of each weight row's root mean square. outliers: 3 % of the SwiGLU channels scaled by 8 and "
    "back, the same function in fp32.",
)
COLUMNS = ("weights x activations", "by", "H", "L", "steps", "cells", "exact", "lost to fp32", "phi 1 step", "phi last",
           "halting: exact", "steps", "MACs", "bytes")
NOTES = (
    "exact: whole puzzles right; lost to fp32: points of it against fp32 at the same depth, with the standard error of the "
    "difference on the same puzzles. phi: cosine of z_H to the fp32 model's at the same depth, mean over positions. MACs: of a "
    "puzzle. *: on the Pareto front of exact against MACs, of equals the one of fewest bytes.",
    "by: device, the generated C on this computer, the firmware's bits; fake, torch with rounded weights and activations; "
    "reference, the fp32 model.",
)


def sweep_verdicts(lines: Sequence[Mapping[str, Any]]) -> list[str]:
    """What must be said before anyone reads the column of exact accuracy: nothing, or that it is empty."""
    if any(line["exact"] for line in lines if line["engine"] == "reference"):
        return []
    return ["fp32 solves none of these puzzles completely, so exact tells no variant from another; cells and phi do."]


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


def _number(value: Optional[float], digits: int = 3) -> str:
    return "-" if value is None or value != value else f"{value:.{digits}f}"


def gate_cells(document: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Lines of the gate's table as text, in GATE_COLUMNS: each model, then all together."""
    found = []
    for m in [*document["models"], *([{"model": "all", **document["all"]}] if len(document["models"]) > 1 else [])]:
        t, rho = m["threshold"], m["spearman"]
        found.append((
            m["model"], str(m.get("n", "")), str(m.get("steps", "")), percent(m["fp32_exact"]) if "fp32_exact" in m else "",
            str(m["points"]), str(t["harmful"]), _number(rho["phi_first"], 2), _number(rho["phi_last"], 2),
            _number(rho["kept"], 2), _number(t["phi"]), f"{t['missed']} of {t['harmful']}", f"{t['alarms']} of {t['harmless']}",
            _number(t["safe"]),
        ))
    return found


def point_cells(point: Mapping[str, Any]) -> tuple[str, ...]:
    """One variant of the gate's ladder as text, in POINT_COLUMNS."""
    return (point["label"], point["engine"], phi_text(point["phi_first"]), phi_text(point["phi_last"]), percent(point["kept"]),
            percent(point["exact"]), f"{100 * point['loss']:.1f} ± {100 * point['loss_se']:.1f}",
            "yes" if point["harmful"] else "no")


def gate_verdicts(document: Mapping[str, Any]) -> list[str]:
    """What follows, in sentences: a threshold for each checkpoint, and for all."""
    found = []
    tolerance = 100 * document["tolerance"]
    for m in document["models"]:
        t = m["threshold"]
        if m["fp32_exact"] <= document["tolerance"]:
            found.append(f"{m['model']}: fp32 solves {percent(m['fp32_exact'])} of {m['n']} puzzles, so nothing can cost more "
                         f"than {tolerance:g} points of exact: no threshold follows. A checkpoint that solves more, or easier "
                         "puzzles, would tell.")
        elif not t["harmful"]:
            found.append(f"{m['model']}: nothing on the ladder costs more than {tolerance:g} points of exact, down to a "
                         f"fidelity of {t['lowest']:.3f}.")
        elif t["phi"] is None:
            found.append(f"{m['model']}: everything on the ladder costs more than {tolerance:g} points of exact; no threshold.")
        else:
            found.append(f"{m['model']}: --min-fidelity {t['suggestion']:g} parts {t['harmful']} harmful from {t['harmless']} "
                         f"harmless variants, {t['missed']} missed, {t['alarms']} false alarms.")
    t = document["all"]["threshold"]
    if len(document["models"]) > 1 and t["phi"] is not None:
        found.append(f"One threshold for all: {t['suggestion']:g}, {t['missed']} of {t['harmful']} harmful variants missed, "
                     f"{t['alarms']} of {t['harmless']} false alarms.")
    return found


def _markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    rule = ["---", *["---:"] * (len(columns) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in (columns, rule, *rows))


def gate_markdown(document: Mapping[str, Any], command: str, image: Optional[str]) -> str:
    """The gate as a page of Markdown, all of it from the document."""
    tolerance = 100 * document["tolerance"]
    parts = [
        "# Fidelity as a gate",
        "How well does phi, the cosine of the quantized carry z_H to the fp32 one, predict the loss of whole puzzles? A ladder "
        "of variants, from harmless to ruinous, was evaluated on each model; each gives phi, which needs no labels, and the "
        f"loss of puzzles exact against fp32. A variant is harmful when it loses more than {tolerance:g} points and more than "
        "two standard errors. The threshold is the phi after one supervision step that parts harmful from harmless variants "
        f"with the fewest mistakes.\n\nThis page is written by `{command}`; the same with a CHECKPOINT finds the threshold of "
        "that checkpoint, for `recurc build --min-fidelity`.",
        _markdown(GATE_COLUMNS, gate_cells(document)),
        "\n".join(f"* {text}" for text in gate_verdicts(document)),
        *([f"![loss against fidelity]({image})"] if image else []),
        *GATE_NOTES,
    ]
    for m in document["models"]:
        points = [point_cells(p) for p in document["points"] if p["model"] == m["model"]]
        parts += [f"## {m['model']}", _markdown(POINT_COLUMNS, points)]
    return "\n\n".join(parts) + "\n"


def draw(lines: Sequence[Mapping[str, Any]], depth: tuple[int, int], folder: Optional[Path]) -> list[tuple[str, str, str]]:
    """(heading, explanation, SVG) of the three plots; PNGs go to `folder`. phi along the steps: of one depth (H, L)."""
    deepest: dict[tuple[str, int, int], Mapping[str, Any]] = {}
    for line in lines:
        key = (line["label"], line["h_cycles"], line["l_cycles"])
        if key not in deepest or line["steps"] > deepest[key]["steps"]:
            deepest[key] = line
    quantized = [line for line in deepest.values() if line["engine"] != "reference"]
    here = [line for line in quantized if (line["h_cycles"], line["l_cycles"]) == depth]
    found, looks = [], plots.Looks(lines)
    if quantized:
        found.append(("Accuracy against fidelity", "One point a variant at its largest number of steps. The axis of fidelity "
                      "spreads what is close to 1.",
                      plots.render("accuracy-fidelity", plots.accuracy_against_phi(quantized, looks), folder)))
    found.append(("Accuracy against work", "Lines join the step counts of one variant. The dotted line is the Pareto front.",
                  plots.render("accuracy-macs", plots.accuracy_against_macs(lines, looks), folder)))
    if here:
        found.append(("Fidelity along the steps", f"H = {depth[0]}, L = {depth[1]}: cosine of z_H to the fp32 model's after "
                      "each supervision step.", plots.render("fidelity-steps", plots.phi_along_steps(here, looks), folder)))
    return found


def render_page(title: str, subtitle: str, *, plots: Sequence[tuple[str, str, str]], verdicts: Sequence[str] = (),
                tables: Sequence[tuple[str, Sequence[str], Sequence[Sequence[str]]]] = (), notes: Sequence[str] = NOTES,
                definitions: Sequence[tuple[str, str]] = (), command: str = "") -> str:
    """The page: plots first, then tables (heading, columns, rows of text), then what the names mean."""
    env = Environment(loader=FileSystemLoader(resource_dir("templates") / "report"), undefined=StrictUndefined,
                      autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return env.get_template("sweep.html.j2").render(
        title=title, subtitle=subtitle, plots=plots, verdicts=verdicts, tables=tables, notes=notes, definitions=definitions,
        command=command, version=__version__, colours=[])
