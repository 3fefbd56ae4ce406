"""What `recurc halting` found, for people: tables, one picture, sentences, one page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recurc.evaluate.own_halting import OwnHalting
from recurc.report import plots
from recurc.report.results import Plot, Results, Table
from recurc.report.sweep_page import percent

Line = Mapping[str, Any]  # of `recurc.study.halting_study`

STOPPING = ("model", "rule", "theta", "patience", "exact, %", "lost to all steps", "mean steps", "same answer, %", "puzzles")
SOLVING = (
    "model",
    "rule",
    "theta",
    "patience",
    "believed",
    "exact, %",
    "mean steps",
    "at most",
    "solved",
    "wrong of them",
    "right if solved, %",
    "right if unsure, %",
    "puzzles",
)
FOUND = ("model", "theta", "patience", "believed", "found", "certificate", "clusters of margins", "symmetry")
STOPPING_LEAST = ("puzzles", "same answer, %", "patience", "theta")
SOLVING_LEAST = (
    "puzzles",
    "at most",
    "patience",
    "right if unsure, %",
    "theta",
    "solved",
    "right if solved, %",
    "wrong of them",
)
TEXT_COLUMNS = ("rule", "believed", "found", "certificate", "clusters of margins", "symmetry")
NOTES = (
    "Stopping early: one run of each puzzle. The head alone: a margin above 0 (TRM: q_halt, HRM: q_halt - q_continue), as "
    "the reference stops. The default: and the tokens have stayed since the step before. Lost: points of puzzles exact, with "
    "the standard error of the difference on the same puzzles. Same answer: puzzles whose answer is that of all steps. Its own "
    "rule was chosen on one half of the puzzles; its lines are of the other half.",
    "Asking again: a run that does not halt is followed by one of another form of the puzzle, or with noise "
    "(runtime_c/SPEC.md, Solving), on the half of the puzzles that nothing was chosen on. Mean steps: of all runs of a puzzle. "
    "At most: of one that is never solved. Right if solved, right if unsure: of the puzzles that are called so, in brackets "
    "Wilson's interval of 95 %.",
    "Certificate: whether at most 1 % of what the margin calls solved is wrong, on both halves; of 100 puzzles at least. "
    "Clusters: where the margins form two of them, theta can be found without labels, three quarters of the way up.",
)


def _interval(share: Line) -> str:
    if not share["n"]:
        return "-"
    return f"{100 * share['share']:.1f} ({100 * share['low']:.1f} to {100 * share['high']:.1f})"


def _exact(line: Line) -> str:
    return "-" if line["exact"] != line["exact"] else f"{100 * line['exact']:.1f} ± {100 * line['exact_error']:.1f}"


def stopping_cells(model: Line) -> list[tuple[str, ...]]:
    """Rows of a model's stopping rules, columns STOPPING."""
    return [
        (
            model["model"],
            line["rule"],
            *(("-", "-") if line["theta"] is None else (f"{line['theta']:g}", str(line["patience"]))),
            _exact(line),
            "-" if line["theta"] is None or line["lost"] != line["lost"]
            else f"{100 * line['lost']:+.1f} ± {100 * line['lost_error']:.1f}",
            f"{line['mean_steps']:.2f}",
            f"{100 * line['kept']:.1f}",
            str(line["n"]),
        )
        for line in model["stopping"]
    ]  # fmt: skip


def solving_cells(model: Line) -> list[tuple[str, ...]]:
    """Rows of a model's ways to ask again, columns SOLVING."""
    return [
        (
            model["model"],
            line["rule"],
            f"{line['theta']:g}",
            str(line["patience"]),
            line["accept"],
            _exact(line),
            f"{line['mean_steps']:.2f} ± {line['mean_steps_error']:.2f}",
            str(line["policy_worst"]),
            str(line["solved"]),
            str(line["wrong_solved"]) if line["right_if_solved"]["n"] else "-",
            _interval(line["right_if_solved"]),
            _interval(line["right_if_unsure"]),
            str(line["n"]),
        )
        for line in model["solving"]
    ]


def found_cells(model: Line) -> tuple[str, ...]:
    """What was found of a model, columns FOUND."""
    own, clusters = model["own"], model["clusters"]
    parted = "none"
    if clusters is not None:
        parted = f"{clusters['below']} below, {clusters['above']} above {clusters['theta']:g}"
    if own is None:
        return (model["model"], "-", "-", "-", "no", "-", parted, model["symmetry"])
    certificate = {True: "yes", False: "no", None: "not known"}[own["certificate"]]
    return (
        model["model"], f"{own['theta']:g}", str(own["patience"]), own["accept"], f"by {own['found']}", certificate, parted,
        model["symmetry"],
    )  # fmt: skip


def verdicts(document: Line) -> list[str]:
    """A sentence for each model: its own rule, or why there is none."""
    said = []
    for m in document["models"]:
        if m["own"] is None:
            said.append(f"{m['model']}: no rule of its own: {m['why']}")
            continue
        own, line = OwnHalting(**m["own"]), next(x for x in m["solving"] if x["rule"] == "its own rule")
        no = "" if own.certificate is not False else " The head is no certificate."
        plain = next(x for x in m["stopping"] if x["rule"] == "all steps")
        said.append(
            f"{m['model']}, {m['precision']}: {own.rule_text}. With restarts {percent(line['exact'])} of {line['n']} "
            f"held-out puzzles are right in {line['mean_steps']:.2f} steps on average ({percent(plain['exact'])} of all "
            f"{plain['n']} after {plain['worst_steps']} steps of one run); {line['solved']} are called solved, "
            f"{line['wrong_solved']} of them wrongly.{no}"
        )
    return said


def results(document: Line, drawn: Sequence[Plot], command: str) -> Results:
    """The page, all of it from the document."""
    models = document["models"]
    names = ", ".join(m["model"] for m in models)
    subtitle = (
        f"When a run stops, what is believed, and when a puzzle is asked again: {names}, in the device's arithmetic. "
        "`recurc halting CHECKPOINT --keep` finds the rule of one checkpoint and keeps it beside it (halting.json), where "
        "`recurc build` and `recurc eval --solve` take it from."
    )
    return Results(
        "Halting, restarts, and saying not sure",
        subtitle,
        plots=drawn,
        verdicts=verdicts(document),
        notes=NOTES,
        tables=[
            Table("Stopping early", STOPPING, [row for m in models for row in stopping_cells(m)]),
            Table("Asking again", SOLVING, [row for m in models for row in solving_cells(m)]),
            Table("The checkpoints' own rules", FOUND, [found_cells(m) for m in models]),
        ],
        command=command,
    )


def draw(document: Line, folder: Path | None) -> list[Plot]:
    """The picture: accuracy against steps, and the share of puzzles called solved over steps."""
    return [
        plots.plot(
            "halting",
            "Accuracy against steps, and puzzles solved over steps",
            "Left, a colour a model: the square is all steps of one run; the line is asking again with 0, 1, 2, ... restarts, "
            "at its mean steps, and pale at the most that a puzzle may take. Right: the share of held-out puzzles that are "
            "called solved within so many steps of all runs; dotted, right after so many steps of one run.",
            drawing(document["models"]),
            folder,
            4.2,
        )
    ]


def drawing(models: Sequence[Line]) -> plots.Drawing:
    """Of two panels, see `draw`."""

    def paint(figure: Any) -> None:
        left, right = figure.subplots(1, 2)
        colours = dict(zip((m["model"] for m in models), plots.SERIES * (1 + len(models) // len(plots.SERIES))))
        for m in models:
            colour, plain = colours[m["model"]], next(x for x in m["stopping"] if x["rule"] == "all steps")
            left.plot(plain["worst_steps"], 100 * plain["exact"], marker="s", ls="", color=colour, ms=6)
            exact = [100 * x["exact"] for x in m["fewer"]]
            for key, alpha in (("mean_steps", 1.0), ("worst_steps", 0.3)):
                left.plot([x[key] for x in m["fewer"]], exact, marker="o", ms=4, lw=1.2, color=colour, alpha=alpha)
            solved, once = ([100 * x for x in m["curve"][key]] for key in ("solved", "plain"))
            right.step(range(1, len(solved) + 1), solved, where="post", color=colour, lw=1.3, label=m["model"])
            right.plot(range(1, len(once) + 1), once, ls=":", lw=1.2, color=colour)
        steps = [x[key] for m in models for x in m["fewer"] for key in ("mean_steps", "worst_steps")]
        plots.cost_axis(left, [*steps, *(len(m["curve"]["plain"]) for m in models)], lambda steps: f"{steps:g}")
        left.set_xlabel("supervision steps: on average, at most (pale)")
        left.set_ylabel("puzzles exact, %")
        right.set_xlabel("supervision steps, all runs")
        right.set_ylabel("puzzles called solved, %")
        right.set_xlim(0, 40)
        right.set_ylim(0, 102)
        figure.legend(loc="outside right upper", handletextpad=0.4)

    return paint
