"""What `recurc tune` found, for people: tables, the plot of what each variant keeps at which cost, sentences, one page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recurc.arguments import argument
from recurc.evaluate.halting import stayed_text
from recurc.report import plots
from recurc.report.numbers import IMAGE_BYTES, count_text
from recurc.report.results import Results, Table
from recurc.report.sweep_page import percent, phi_text
from recurc.report.timing import seconds_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = (
    "recipe",
    "H",
    "L",
    "steps",
    "on average",
    "exact",
    "lost to fp32",
    "phi",
    "MACs",
    "time (est.)",
    "image bytes",
    "puzzles",
)
TEXT_COLUMNS = ("steps",)
LEAST = ("puzzles", "MACs", "phi", "on average", "image bytes", "time (est.)", "exact", "L", "H")  # to leave out first
TRIED = ("variant", "H", "L", "puzzles", "cheapest that may keep enough", "time (est.)", "MACs", "went")
NOTES = (
    "*: chosen, the cheapest whose loss plus two standard errors is within the tolerance, on the search's puzzles and on "
    "held-out ones (or what is said above). "
    "exact: whole puzzles right at the step where each one ends. lost to fp32: points of it against fp32 at the trained depth, "
    "with the standard error of the difference on the same puzzles, as though one more had differed. phi: cosine of z_H there "
    "to that of fp32 after all steps of the trained depth. MACs, time: of a puzzle, mean over puzzles. "
    f"Image bytes: {IMAGE_BYTES}.",
    "The front leaves out what solves nothing, and what is better than the line before it by less than its standard error. "
    "Variants that were dropped early were scored on fewer puzzles. With the same depth, fewer bits in weights or carry are "
    "taken never to gain accuracy: a variant that costs no less than such a better one was not run.",
)
_SHOWN_BELOW = 40  # points below the tolerance that the plot shows
_UNITS = {
    "time": ("seconds", "estimated seconds a puzzle"),
    "instructions": ("instructions", "instructions a puzzle"),
    "macs": ("macs", "multiply-adds a puzzle"),
    "bytes": ("image_bytes", "bytes of the weights image"),
}

Line = Mapping[str, Any]  # a setting of a variant: Measured.as_dict, its variant and what it costs a puzzle


def reasons(line: Line) -> str:
    """When it stops, in words."""
    steps = line["max_steps"]
    if line["halt_threshold"] is None:
        return f"{steps} step{'s' * (steps > 1)}"
    return f"{line['min_steps']} to {steps}, halts above {line['halt_threshold']:g}{stayed_text(line.get('patience', 0))}"


def spelled(line: Line) -> str:
    """The same in a sentence."""
    if line["halt_threshold"] is None:
        return reasons(line)
    return (
        f"{line['min_steps']} to {line['max_steps']} steps, {line['mean_steps']:.2f} on average, halting above "
        f"{line['halt_threshold']:g}{stayed_text(line.get('patience', 0))}"
    )


def _time(line: Line) -> str:
    return "-" if line["seconds"] is None else seconds_text(line["seconds"])


def _lost(line: Line) -> str:
    if line["lost"] != line["lost"]:
        return "-"  # without labels
    error = "" if line["lost_se"] is None else f" ± {100 * line['lost_se']:.1f}"  # known of what was aimed at only
    return f"{100 * line['lost']:.1f}{error}"


def cells(line: Line) -> tuple[str, ...]:
    """A line as text, in COLUMNS."""
    return (
        ("* " if line["chosen"] else "") + line["stored"],
        str(line["h_cycles"]),
        str(line["l_cycles"]),
        reasons(line),
        f"{line['mean_steps']:.2f}",
        percent(line["exact"]),
        _lost(line),
        phi_text(line["phi"]),
        count_text(line["macs"]),
        _time(line),
        f"{line['image_bytes']:,}",
        str(line["n"]),
    )


def tried_cells(arm: Line) -> tuple[str, ...]:
    """A variant as far as it went, in TRIED."""
    line = arm["cheapest"]
    found = ("-", "-", "-") if line is None else (f"{reasons(line)}: {_lost(line)}", _time(line), count_text(line["macs"]))
    return (arm["stored"], str(arm["h_cycles"]), str(arm["l_cycles"]), str(arm["n"]), *found, arm["out"] or "to the end")


def factor(before: float | None, after: float | None) -> float | None:
    """How many times less; None where one is not known."""
    return before / after if before and after else None


def verdicts(document: Mapping[str, Any]) -> list[str]:
    """The result in sentences, from its numbers."""
    choice, held, full, aim = document["choice"], document["held_out"], document["full"], document["aim"]
    wanted = (
        f"at most {100 * aim['limit']:g} points of puzzles exact may be lost"
        if aim["kind"] == "exact"
        else f"fidelity is to stay at {1 - aim['limit']:g} or above"
    )
    line = (
        f"{document['target']}, {wanted}: {choice['stored']}, H {choice['h_cycles']}, "
        f"L {choice['l_cycles']}, {spelled(choice)}."
    )
    saves = document["saves"]
    parts = [f"{saves['macs']:.3g} times fewer MACs ({count_text(full['macs'])} to {count_text(choice['macs'])} a puzzle)"]
    if saves["seconds"]:
        parts.append(
            f"{saves['seconds']:.3g} times less estimated time ({seconds_text(full['seconds'])} to "
            f"{seconds_text(choice['seconds'])})"
        )
    parts.append(f"{saves['image_bytes']:.3g} times fewer bytes ({full['image_bytes']:,} to {choice['image_bytes']:,})")
    fits = "" if full["fits"] else ", which does not fit"
    depth = f"H {full['h_cycles']}, L {full['l_cycles']}, {full['steps']} steps"
    kept = (
        f"{percent(choice['exact'])} exact on {choice['n']} puzzles of the search, fp32 {percent(full['exact'])}; "
        f"{percent(held['exact'])} on {held['n']} that it had not seen, fp32 {percent(held['exact_fp32'])} "
        f"({_lost(held)} points lost)"
    )
    if aim["kind"] == "phi":
        kept = (
            f"phi {phi_text(choice['phi'])} on {choice['n']} puzzles of the search, {phi_text(held['phi'])} on {held['n']} "
            f"that it had not seen; {percent(held['kept'])} of those answered as fp32 answers them"
        )
    return [line, f"Against fp32 at its trained depth ({depth}{fits}): {', '.join(parts)}.", f"It keeps {kept}."]


def confirmation(document: Mapping[str, Any]) -> str:
    """What the held-out puzzles say of the tolerance, by the rule of the search."""
    held, aim = document["held_out"], document["aim"]
    found = f"{held['n']} puzzles that the search has not seen"
    if aim["kind"] == "phi":
        rule = f"fidelity less two standard errors is at least {1 - aim['limit']:g}"
        there = f"{phi_text(held['phi'])} ± {held['deficit_se']:.4f}"
    else:
        rule = f"the loss plus two standard errors is within {100 * aim['limit']:g} points"
        there = f"{100 * held['deficit']:.1f} ± {100 * held['deficit_se']:.1f} points"
    if held["confirmed"]:
        return f"Confirmed on {found}, by the rule of the search: {rule} there too ({there})."
    if held["deficit"] <= aim["limit"]:
        return (
            f"Not confirmed by the rule of the search ({rule}): on {found} it is within the tolerance, but its error is "
            f"too large to be sure ({there}); more puzzles ({argument('limit')}) would tell."
        )
    return (
        f"Not confirmed: on {found} it is over the tolerance, by less than a standard error ({there}); more puzzles "
        f"({argument('limit')}) would tell."
    )


def front_plot(arms: Sequence[Line], front: Sequence[Line], full: Line, document: Mapping[str, Any]) -> plots.Drawing:
    """What each variant keeps against its cost; the front, the choice, fp32 at full depth and the tolerance."""
    key, label = _UNITS[document["minimize"]]
    quality, text = ("exact", "puzzles exact, %") if document["aim"]["kind"] == "exact" else ("phi", "fidelity, %")
    names = list(dict.fromkeys(arm["stored"] for arm in arms))
    shapes = list(dict.fromkeys((arm["h_cycles"], arm["l_cycles"]) for arm in arms))

    def draw(figure: Figure) -> None:
        from matplotlib.lines import Line2D

        axis = figure.subplots()
        for arm in arms:
            colour = plots.SERIES[names.index(arm["stored"]) % len(plots.SERIES)]
            mark = plots.MARKERS[shapes.index((arm["h_cycles"], arm["l_cycles"])) % len(plots.MARKERS)]
            shown = [p for p in arm["front"] if quality != "exact" or p["exact"] > 0]
            axis.plot(
                [p[key] for p in shown],
                [100 * p[quality] for p in shown],
                color=colour,
                marker=mark,
                ms=3.5,
                lw=0.9,
                alpha=0.35 if arm["out"] else 0.9,
            )
        axis.step([p[key] for p in front], [100 * p[quality] for p in front], where="post", color=plots.FG, ls=":", lw=1.5)
        chosen = document["choice"]
        axis.plot(
            chosen[key], 100 * chosen[quality], marker="o", ms=13, markerfacecolor="none", markeredgecolor=plots.FG, mew=1.6
        )
        if full[key]:
            axis.plot(full[key], 100 * (full["exact"] if quality == "exact" else 1.0), marker="*", ms=12, color=plots.FG)
        limit = full["exact"] - document["aim"]["limit"] if quality == "exact" else 1 - document["aim"]["limit"]
        axis.axhline(100 * limit, color=plots.FG, lw=0.8, ls="--")
        lowest = min(100 * p[quality] for arm in arms for p in arm["front"])
        axis.set_ylim(bottom=max(lowest - 1, 100 * limit - _SHOWN_BELOW))
        costs = [p[key] for arm in arms for p in arm["front"] if quality != "exact" or p["exact"] > 0]
        plots.cost_axis(
            axis, [*costs, chosen[key], *([full[key]] if full[key] else [])], seconds_text if key == "seconds" else count_text
        )
        axis.set_xlabel(label)
        axis.set_ylabel(text)
        handles = [
            Line2D([], [], color=plots.SERIES[i % len(plots.SERIES)], marker="o", ls="-", label=n) for i, n in enumerate(names)
        ]
        handles += [
            Line2D(
                [],
                [],
                color=plots.FG,
                marker=plots.MARKERS[i % len(plots.MARKERS)],
                ls="",
                markerfacecolor="none",
                label=f"H {h}, L {low}",
            )
            for i, (h, low) in enumerate(shapes)
        ]
        handles += [
            Line2D([], [], color=plots.FG, marker="o", ms=9, ls="", markerfacecolor="none", label="chosen"),
            Line2D([], [], color=plots.FG, marker="*", ms=9, ls="", label="fp32, full depth"),
            Line2D([], [], color=plots.FG, ls=":", label="front"),
            Line2D([], [], color=plots.FG, ls="--", lw=0.8, label="tolerance"),
        ]
        figure.legend(handles=handles, loc="outside right upper", handletextpad=0.4)

    return draw


def results(document: Mapping[str, Any], recipe: str, folder: Path | None, command: str) -> Results:
    """The page; tune-front.png goes to `folder` where plots can be drawn."""
    drawn = []
    if plots.have_matplotlib():
        drawing = front_plot(document["tried"], document["frontier"], document["full"], document)
        drawn.append(
            plots.plot(
                "tune-front",
                "What is kept at which cost",
                "Lines join the settings of one variant, number of "
                "steps and halting rule, that none of its others beats; pale ones were dropped during the "
                "search, on fewer puzzles.",
                drawing,
                folder,
            )
        )
    return Results(
        f"{document['name']} on {document['target']}: the cheapest that keeps enough",
        document["subtitle"],
        plots=drawn,
        verdicts=[*verdicts(document), confirmation(document), *document["remarks"]],
        tables=[
            Table("The front", COLUMNS, [cells(line) for line in document["frontier"]]),
            Table("What was tried", TRIED, [tried_cells(arm) for arm in document["tried"]]),
            Table("recurc.toml", ("recurc build takes it",), [(line,) for line in recipe.splitlines()]),
        ],
        notes=NOTES,
        command=command,
    )
