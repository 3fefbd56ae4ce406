"""A sweep and a gate for people: the tables' cells and the plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recurc.arguments import argument
from recurc.report import plots
from recurc.report.costs import cost_of
from recurc.report.numbers import READ_BYTES, count_text, loss_text
from recurc.report.results import Plot, Results, Table

GATE_COLUMNS = (
    "model",
    "puzzles",
    "steps",
    "fp32 exact",
    "variants",
    "harmful",
    "rank correlation: phi 1 step",
    "phi last",
    "same answer",
    "threshold",
    "missed",
    "false alarms",
    "nothing harmful above",
)
POINT_COLUMNS = ("variant", "by", "phi 1 step", "phi last", "same answer", "exact", "lost to fp32", "harmful")
# Columns that a narrow page leaves out, the least important first.
GATE_LEAST = (
    "nothing harmful above",
    "phi last",
    "same answer",
    "rank correlation: phi 1 step",
    "steps",
    "variants",
    "false alarms",
    "missed",
    "puzzles",
    "harmful",
)
POINT_LEAST = ("by", "phi last", "same answer", "exact")
GATE_NOTES = (
    "harmful: loses more than the tolerance, and more than two standard errors. Rank correlation: Spearman's, of the number "
    "with the loss of exact; -1 is perfect. same answer: share of puzzles answered exactly as fp32 answers them; needs no "
    "labels either. threshold: the phi after one step that parts harmful from harmless variants with the fewest mistakes, "
    "as shares of both; missed are harmful ones above it, false alarms harmless ones below.",
    "noise: Gaussian, in percent of each weight row's root mean square. outliers: 3 % of the SwiGLU channels scaled by 8 and "
    "back, the same function in fp32.",
)
COLUMNS = (
    "weights x activations",
    "by",
    "H",
    "L",
    "steps",
    "cells",
    "exact",
    "lost to fp32",
    "phi 1 step",
    "phi last",
    "halting: exact",
    "steps",
    "MACs",
    "bytes",
)
ASKED = ("with restarts", "wrong of solved")
LEAST = (11, "halting: exact", "by", "phi last", "MACs", "phi 1 step", "cells", 4, "L", "H", "bytes")
NOTES = (
    "exact: whole puzzles right; lost to fp32: points of it against fp32 at the same depth, with the standard error of the "
    "difference on the same puzzles. phi: cosine of z_H to the fp32 model's at the same depth, mean over positions. MACs: of "
    "a puzzle. *: on the Pareto front of exact against MACs (against bytes where all take the same MACs): it solves more than "
    "all that cost less, beyond a standard error of the difference on the same puzzles; of equals the one of fewest bytes. ~: "
    "not told from it, nothing of no more cost solves more beyond that error. "
    f"bytes: {READ_BYTES}.",
    "by: device, the generated C on this computer, the firmware's bits; fake, torch with rounded weights and activations; "
    "reference, the fp32 model.",
)

ASKED_NOTE = (
    "with restarts: puzzles exact, @ steps of all runs on average, where a puzzle whose run does not halt is asked again in "
    "another form, or with noise; of the largest number of steps."
)


def notes(lines: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """What the columns of `table` mean."""
    return (NOTES[0], ASKED_NOTE, *NOTES[1:]) if _asked(lines) else NOTES


def _asked(lines: Sequence[Mapping[str, Any]]) -> bool:
    return any(line["asked"] for line in lines)


def sweep_verdicts(lines: Sequence[Mapping[str, Any]]) -> list[str]:
    """What must be said before anyone reads the column of exact accuracy: nothing, or that it is empty."""
    if any(line["exact"] for line in lines if line["engine"] == "reference"):
        return []
    return ["fp32 solves none of these puzzles completely, so exact tells no variant from another; cells and phi do."]


def percent(share: float, digits: int = 1) -> str:
    """A share in percent; a dash where it is not known."""
    return "-" if share != share else f"{100 * share:.{digits}f} %"


def phi_text(phi: float) -> str:
    """A cosine, four places; a dash where there is none."""
    return f"{phi:.4f}" if phi == phi else "-"


def _mark(line: Mapping[str, Any]) -> str:
    return "*" if line["pareto"] else "~" if line["tied"] else ""


def cells(line: Mapping[str, Any]) -> tuple[str, ...]:
    """A row of a sweep as text, in COLUMNS."""
    plain = line["engine"] == "reference"
    return (
        _mark(line) + line["label"],
        line["engine"],
        str(line["h_cycles"]),
        str(line["l_cycles"]),
        str(line["steps"]),
        percent(line["cell"]),
        percent(line["exact"]),
        "" if plain else loss_text(line["loss"], line["loss_se"], line["n"]),
        phi_text(line["phi_first"]),
        phi_text(line["phi_last"]),
        percent(line["halted_exact"]),
        f"{line['mean_steps']:.1f}",
        count_text(line["macs"]),
        f"{line['bytes']:,}",
    )


def asked_cells(asked: Mapping[str, Any] | None) -> tuple[str, str]:
    """Exact with restarts @ mean steps; how many of the puzzles called solved are wrong."""
    if asked is None:
        return "-", "-"
    return f"{percent(asked['exact'])} @ {asked['mean_steps']:.2f}", f"{asked['wrong_solved']} of {asked['solved']}"


def table(lines: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """(columns, cells as text) of a sweep; those of ASKED too where puzzles were asked again."""
    if not _asked(lines):
        return COLUMNS, [cells(line) for line in lines]
    return (*COLUMNS, *ASKED), [(*cells(line), *asked_cells(line["asked"])) for line in lines]


def _number(value: float | None, digits: int = 3) -> str:
    return "-" if value is None or value != value else f"{value:.{digits}f}"


def gate_cells(document: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Lines of the gate's table as text, in GATE_COLUMNS: each model, then all together."""
    found: list[tuple[str, ...]] = []
    for m in [*document["models"], *([{"model": "all", **document["all"]}] if len(document["models"]) > 1 else [])]:
        t, rho = m["threshold"], m["spearman"]
        found.append(
            (
                m["model"],
                str(m.get("n", "")),
                str(m.get("steps", "")),
                percent(m["fp32_exact"]) if "fp32_exact" in m else "",
                str(m["points"]),
                str(t["harmful"]),
                _number(rho["phi_first"], 2),
                _number(rho["phi_last"], 2),
                _number(rho["kept"], 2),
                _number(t["phi"]),
                f"{t['missed']} of {t['harmful']}",
                f"{t['alarms']} of {t['harmless']}",
                _number(t["safe"]),
            )
        )
    return found


def point_cells(point: Mapping[str, Any]) -> tuple[str, ...]:
    """One variant of the gate's ladder as text, in POINT_COLUMNS."""
    return (
        point["label"],
        point["engine"],
        phi_text(point["phi_first"]),
        phi_text(point["phi_last"]),
        percent(point["kept"]),
        percent(point["exact"]),
        f"{100 * point['loss']:.1f} ± {100 * point['loss_se']:.1f}",
        "yes" if point["harmful"] else "no",
    )


def gate_verdicts(document: Mapping[str, Any]) -> list[str]:
    """What follows, in sentences: a threshold for each checkpoint, and for all."""
    found = []
    tolerance = 100 * document["tolerance"]
    for m in document["models"]:
        t = m["threshold"]
        if m["fp32_exact"] <= document["tolerance"]:
            found.append(
                f"{m['model']}: fp32 solves {percent(m['fp32_exact'])} of {m['n']} puzzles, so nothing can cost more "
                f"than {tolerance:g} points of exact: no threshold follows. A checkpoint that solves more, or easier "
                "puzzles, would tell."
            )
        elif not t["harmful"]:
            found.append(
                f"{m['model']}: nothing on the ladder costs more than {tolerance:g} points of exact, down to a "
                f"fidelity of {t['lowest']:.3f}."
            )
        elif t["phi"] is None:
            found.append(f"{m['model']}: everything on the ladder costs more than {tolerance:g} points of exact; no threshold.")
        else:
            found.append(
                f"{m['model']}: {argument('min_fidelity', t['suggestion'])} parts {t['harmful']} harmful from "
                f"{t['harmless']} harmless variants, {t['missed']} missed, {t['alarms']} false alarms."
            )
        if m["careful"] is not None and m["careful"] != t["suggestion"] and m["fp32_exact"] > document["tolerance"]:
            found.append(
                f"{m['model']}: {m['careful']:g} is what {argument('keep', True)} keeps. There a variant is harmful "
                f"that loses more than {tolerance:g} points on average, sure or not: else fewer puzzles would make "
                "the gate laxer."
            )
        if t["unclear"] and m["fp32_exact"] > document["tolerance"]:
            above = "" if t["phi"] is None else " above it"
            found.append(
                f"{m['model']}: {t['unclear']} of the harmless variants{above} lost more than {tolerance:g} points, "
                f"though not more than chance explains with {m['n']} puzzles: with more of them "
                f"({argument('limit')}) the threshold may turn out higher."
            )
    t = document["all"]["threshold"]
    if len(document["models"]) > 1 and t["phi"] is not None:
        found.append(
            f"One threshold for all: {t['suggestion']:g}, {t['missed']} of {t['harmful']} harmful variants missed, "
            f"{t['alarms']} of {t['harmless']} false alarms."
        )
    return found


def gate_results(document: Mapping[str, Any], drawn: Sequence[Plot], command: str) -> Results:
    """The gate as a page, all of it from the document."""
    names = [m["model"] for m in document["models"]]
    tolerance = 100 * document["tolerance"]
    subtitle = (
        "How well does phi, the cosine of the quantized carry z_H to the fp32 one, predict the loss of whole puzzles? A ladder "
        f"of variants, from harmless to ruinous, was evaluated on {', '.join(names)}; each gives phi, which needs no labels, "
        f"and the loss of puzzles exact against fp32. A variant is harmful when it loses more than {tolerance:g} points and "
        "more than two standard errors. The threshold is the phi after one supervision step that parts harmful from harmless "
        "variants with the fewest mistakes. `recurc gate CHECKPOINT --keep` finds the threshold of one checkpoint and "
        "keeps it beside it, where `recurc build` takes it from."
    )
    points = [Table(name, POINT_COLUMNS, [point_cells(p) for p in document["points"] if p["model"] == name]) for name in names]
    return Results(
        "Fidelity as a gate",
        subtitle,
        plots=drawn,
        verdicts=gate_verdicts(document),
        notes=GATE_NOTES,
        tables=[Table("Models", GATE_COLUMNS, gate_cells(document)), *points],
        command=command,
    )


def draw(lines: Sequence[Mapping[str, Any]], depth: tuple[int, int], folder: Path | None) -> list[Plot]:
    """The three plots; PNGs go to `folder`. phi along the steps: of one depth (H, L)."""
    deepest: dict[tuple[str, int, int], Mapping[str, Any]] = {}
    for line in lines:
        key = (line["label"], line["h_cycles"], line["l_cycles"])
        if key not in deepest or line["steps"] > deepest[key]["steps"]:
            deepest[key] = line
    quantized = [line for line in deepest.values() if line["engine"] != "reference"]
    here = [line for line in quantized if (line["h_cycles"], line["l_cycles"]) == depth]
    found, looks = [], plots.Looks(lines)
    if quantized:
        found.append(
            plots.plot(
                "accuracy-fidelity",
                "Accuracy against fidelity",
                "One point a variant at its largest number of steps. The axis of fidelity spreads what is close to 1.",
                plots.accuracy_against_phi(quantized, looks),
                folder,
            )
        )
    what, text = (
        ("work", "Lines join the step counts of one variant. ")
        if cost_of(lines) == "macs"
        else ("size", "All variants take the same work, so what they differ in is their bytes. ")
    )
    found.append(
        plots.plot(
            f"accuracy-{cost_of(lines)}",
            f"Accuracy against {what}",
            f"{text}Bars are a standard error of "
            "a share. Rings and the dotted line: the Pareto front, by differences beyond their standard error; "
            "pale rings are not told from it.",
            plots.accuracy_against_cost(lines, looks),
            folder,
        )
    )
    if here:
        found.append(
            plots.plot(
                "fidelity-steps",
                "Fidelity along the steps",
                f"H = {depth[0]}, L = {depth[1]}: cosine of z_H to the fp32 model's after each supervision step.",
                plots.phi_along_steps(here, looks),
                folder,
            )
        )
    return found
