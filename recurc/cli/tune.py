"""`recurc tune`: the cheapest schedule and precision that keep what fp32 has, and fit."""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from recurc.cli.common.groups import takes
from recurc.cli.common.kinds import Carries, Names, Numbers
from recurc.cli.common.options import Model, Source, checkpoint_argument, data_option, pass_console, seed_option, train_split
from recurc.cli.common.output import Console, json_text
from recurc.cli.common.project import PROJECT_FILE, Project, project_text
from recurc.cli.common.quantizing import Learning, calibration_options
from recurc.cli.common.research import Computing, check_results, compute_options, results_option, write, write_results
from recurc.cli.common.tuning import (
    DEFAULT_TOLERANCE,
    Files,
    Goal,
    SearchedAmong,
    Wanted,
    check_solving,
    device_names,
    measured_by,
    tune_solving,
    tuned_solving_options,
)
from recurc.errors import UsageError
from recurc.files import check_file, write_whole
from recurc.words import said

if TYPE_CHECKING:
    from recurc.models.reasoner import Reasoner
    from recurc.study.arms import Arm
    from recurc.study.pricing import Prices
    from recurc.study.settings import Aim, Measured, Scored
    from recurc.study.tune import Tuned
    from recurc.study.variants import Variant

DEFAULT_LIMIT = 512


_RECIPE = ("the recipe", "Name a file that you may write with --write FILE")


@dataclass(frozen=True)
class Space:
    """What is tried; empty or None: whatever there is."""

    precisions: tuple[str, ...] | None
    carries: tuple[str, ...]
    h_cycles: tuple[int, ...]
    l_cycles: tuple[int, ...]


@click.command()
@checkpoint_argument()
@data_option
@click.option("--target", default="stm32h7", metavar="BOARD", help="Board (see `recurc boards`). Default: stm32h7.")
@click.option(
    "--tolerance",
    type=click.FloatRange(0, 100),
    default=None,
    metavar="POINTS",
    help=f"Points of puzzles exact that may be lost to fp32 at the trained depth. Default: {DEFAULT_TOLERANCE:g}.",
)
@click.option(
    "--min-fidelity",
    type=click.FloatRange(-1, 1),
    default=None,
    metavar="PHI",
    help="In its place, without labels: cosine of z_H to that of fp32 at the trained depth.",
)
@click.option(
    "--limit",
    type=click.IntRange(min=2),
    default=DEFAULT_LIMIT,
    show_default=True,
    metavar="N",
    help="Test puzzles, drawn by the seed: half to search on, half to confirm with.",
)
@click.option(
    "--minimize",
    type=click.Choice(("auto", "time", "instructions", "macs", "bytes")),
    default="auto",
    help="What is cheap: estimated time (auto, where the board is known so well), else instructions or MACs of a "
    "puzzle; or bytes of the weights image.",
)
@click.option("--precisions", type=Names("precision"), default=None, metavar="P,...", help="Among these only (default: all).")
@click.option("--carries", type=Carries(), default=(), metavar="KIND,...", help="Among these only: fp32, fp16, int8.")
@click.option("--h-cycles", type=Numbers(), default=(), metavar="N,...", help="Among these only (default: up to the trained).")
@click.option("--l-cycles", type=Numbers(), default=(), metavar="N,...", help="Among these only (default: up to the trained).")
@seed_option
@calibration_options
@tuned_solving_options
@compute_options
@click.option(
    "--write",
    "toml",
    type=click.Path(path_type=Path, dir_okay=False),
    default=None,
    metavar="FILE",
    help=f"Also write the recipe here; {PROJECT_FILE} in the current folder is what build, eval and report read.",
)
@results_option("NAME-tune-BOARD")
@takes(source=Source, goal=Goal, space=Space, learning=Learning, computing=Computing, files=Files)
@pass_console
def command(
    console: Console,
    target: str,
    source: Source,
    goal: Goal,
    space: Space,
    learning: Learning,
    computing: Computing,
    files: Files,
) -> None:
    """The cheapest cycles, steps, halting rule, precision and carry of CHECKPOINT that keep its accuracy and fit a board.

    It is chosen on one half of the puzzles and confirmed on the other by the same rule: what is lost, and two standard errors
    more, is within the tolerance. The result is a recurc.toml for `recurc build`.
    """
    from recurc.study.pricing import Prices
    from recurc.study.tune import FP32, Search, variants_of
    from recurc.study.workbench import Workbench
    from recurc.targets.boards import load_board

    check_solving(goal)
    if goal.tolerance is not None and goal.min_fidelity is not None:
        raise UsageError(
            "--tolerance and --min-fidelity exclude each other",
            why="one is measured with labels, one without",
            next="Leave one of them out",
        )
    board = load_board(target)
    chosen = source.model(console)
    name = Path(chosen.checkpoint).name or "model"
    folder = files.out or Path("build") / f"{name}-tune-{board.name}"
    check_results(folder)
    if files.toml is not None:
        check_file(files.toml, *_RECIPE)
    reasoner = chosen.load()
    some = chosen.dataset("test", labels=goal.min_fidelity is None).sample(goal.limit, learning.seed)
    searched, held = some.take(len(some) - len(some) // 2), some.take(None, len(some) - len(some) // 2)
    bench = Workbench(
        reasoner,
        searched,
        train_split(console, chosen),
        puzzles=learning.puzzles,
        seed=learning.seed,
        store=computing.store(console),
        full=True,
    )
    aim = goal.aim()
    prices = Prices(reasoner.config, board)
    measure = measured_by(goal.minimize, prices.known(bench.resolve(FP32)), board.name)
    variants = variants_of(
        reasoner.config,
        names=device_names(space.precisions),
        carries=space.carries,
        h_cycles=space.h_cycles,
        l_cycles=space.l_cycles,
        method=learning.calibration,
    )
    if goal.solve:
        among = SearchedAmong(bench, prices, aim, measure, searched, held, variants)
        return tune_solving(console, chosen, among, Wanted(goal, learning, computing, files), folder)
    with computing.executor() as where:
        found = Search(bench, prices, aim, measure, searched, held, where, console.progress).run(variants)
    document = _document(found, aim, measure, prices, name, reasoner, chosen)
    recipe = _recipe(document, chosen, board.name, learning)
    _write(console, folder, document, recipe, files.toml)


def _described(v: Variant) -> dict[str, Any]:
    """A variant as data."""
    return {
        "stored": v.stored_as,
        "precision": v.precision,
        "layers": dict(v.layers),
        "carry": v.carry,
        "h_cycles": v.h_cycles,
        "l_cycles": v.l_cycles,
    }


def _lost(line: dict[str, Any], kind: str) -> str:
    if kind == "phi":
        return f"phi {line['phi']:.4f} ± {line['deficit_se']:.4f}"
    return f"{100 * line['deficit']:.1f} ± {100 * line['deficit_se']:.1f} points lost"


def _document(
    found: Tuned, aim: Aim, measure: str, prices: Prices, name: str, reasoner: Reasoner, chosen: Model
) -> dict[str, Any]:
    """The result as data; see recurc.report.tune_page."""
    from recurc.report.results import near
    from recurc.report.tune_page import factor

    def line(arm: Arm, m: Measured, scored: Scored | None = None) -> dict[str, Any]:
        v, p = arm.variant, arm.price
        times = {"instructions": p.instructions, "seconds": p.seconds}
        full_exact = found.full.exact if scored is None else scored.full.exact
        lost = m.deficit if aim.kind == "exact" else full_exact - m.exact
        return {
            **_described(v),
            **m.as_dict(),
            "lost": lost,
            "lost_se": m.error if aim.kind == "exact" else None,
            "macs": p.macs * m.mean_steps,
            **{key: None if value is None else value * m.mean_steps for key, value in times.items()},
            "image_bytes": p.image_bytes,
            "ram_bytes": p.ram_bytes,
            "chosen": False,
        }

    assert chosen.data is not None  # it has given the puzzles
    choice, full_price = found.choice, found.full_price
    trained = reasoner.config
    best = {**line(choice.arm, choice.search), "chosen": True}
    held = line(choice.arm, choice.held)
    steps = trained.halt_max_steps
    full = {
        "h_cycles": trained.H_cycles,
        "l_cycles": trained.L_cycles,
        "steps": steps,
        "exact": found.full.exact,
        "n": found.full.n,
        "fits": full_price.fits,
        "image_bytes": full_price.image_bytes,
        "macs": full_price.macs * steps,
        "instructions": full_price.instructions and full_price.instructions * steps,
        "seconds": full_price.seconds and full_price.seconds * steps,
    }
    tried = []
    for t in found.tried:
        cheapest = t.scored.fewest_steps(0)
        tried.append(
            {
                **_described(t.arm.variant),
                "n": t.scored.outcome.n,
                "out": t.out,
                "cheapest": cheapest and line(t.arm, cheapest, t.scored),
                "front": [line(t.arm, m, t.scored) for m in t.scored.front()],
            }
        )
    remarks = [
        f"{found.considered} combinations priced; {found.too_large} do not fit, {found.dominated} cost no less than one "
        f"with more bits, {found.reserve} cost over twice as much as another and were not needed, {len(found.tried)} "
        "were run."
    ]
    if prices.basis:
        remarks.append(f"Times are estimates: {prices.basis}.")
    for p in found.passed_over:
        m = line(p.arm, p.held)
        why = "held-out puzzles do not confirm it" if p.holds else "held-out puzzles contradict the search"
        remarks.append(
            f"Passed over, because {why}: {m['stored']}, H {m['h_cycles']}, L {m['l_cycles']}, {p.search.setting}: "
            f"{_lost(m, aim.kind)} there."
        )
    return {
        "name": name,
        "target": prices.board.name,
        "checkpoint": reasoner.source,
        "checkpoint_sha256": reasoner.sha256,
        "data": str(chosen.data),
        "subtitle": f"{found.full.n} puzzles of {near(chosen.data)} to search on, {choice.held.n} others to confirm with",
        "aim": {"kind": aim.kind, "limit": aim.limit},
        "minimize": measure,
        "full": full,
        "choice": best,
        "held_out": {**held, "exact_fp32": choice.held_full, "confirmed": choice.confirmed},
        "saves": {key: factor(full[key], best[key]) for key in ("macs", "instructions", "seconds", "image_bytes")},
        "considered": found.considered,
        "too_large": found.too_large,
        "dominated": found.dominated,
        "reserve": found.reserve,
        "frontier": _frontier([p for t in tried for p in t["front"]], best, measure, aim.kind),
        "tried": tried,
        "remarks": remarks,
    }


def _frontier(lines: list[dict[str, Any]], best: dict[str, Any], measure: str, kind: str) -> list[dict[str, Any]]:
    """The lines that none beats in cost and deficit, cheapest first; what is better than the one before by less than its
    standard error is left out, the choice and the lowest deficit never."""
    key = {"time": "seconds", "instructions": "instructions", "macs": "macs", "bytes": "image_bytes"}[measure]
    front: list[dict[str, Any]] = []
    lines = [p for p in lines if kind != "exact" or p["exact"] > 0]  # what solves nothing is no recipe, however cheap
    for line in sorted((*lines, best), key=lambda p: (p[key], p["image_bytes"], p["deficit"], not p["chosen"])):
        if not front or line["deficit"] < front[-1]["deficit"] or line["chosen"]:
            front.append(line)
    shown = [p for i, p in enumerate(front) if not i or p["chosen"] or i == len(front) - 1]
    kept: list[dict[str, Any]] = []
    for p in front:
        if p in shown or kept[-1]["deficit"] - p["deficit"] >= p["deficit_se"]:
            same = p is not best and all(p[k] == best[k] for k in best if k != "chosen")
            kept += [] if same else [p]
    return kept


def _recipe(document: dict[str, Any], chosen: Model, target: str, learning: Learning) -> str:
    """The project file's text."""
    from recurc.report.tune_page import confirmation, verdicts
    from recurc.resources import bundled_models

    c = document["choice"]
    bundled = chosen.checkpoint in bundled_models()
    project = Project(
        checkpoint=chosen.checkpoint if bundled else os.path.realpath(Path(chosen.checkpoint).expanduser()),
        data=os.path.realpath(chosen.data) if chosen.named and chosen.data else None,
        precision=c["precision"],
        layers=c["layers"],
        calibration=learning.calibration,
        calibration_puzzles=learning.puzzles if learning.puzzles != Learning.puzzles else None,
        seed=learning.seed or None,
        halt_threshold=c["halt_threshold"],
        min_steps=c["min_steps"],
        patience=c["patience"],
        target=target,
        lowering={"steps": c["max_steps"], **{name: c[name] for name in ("h_cycles", "l_cycles", "carry")}},
    )
    return project_text(project, said("\n".join(["recurc tune", *verdicts(document), confirmation(document)])))


def _write(console: Console, folder: Path, document: dict[str, Any], recipe: str, toml: Path | None) -> None:
    """Files, the JSON document, and text for people."""
    from recurc.report import tune_page

    files = [write(folder, PROJECT_FILE, recipe), write(folder, "tune.json", json_text(document))]
    files += write_results(folder, "tune", tune_page.results(document, recipe, folder, shlex.join(["recurc", *sys.argv[1:]])))
    if toml is not None:
        write_whole(toml, recipe, *_RECIPE)
        files.append(toml)
    console.emit_json({**document, "files": files, "recipe": recipe})
    if console.json:
        return
    for text in (*tune_page.verdicts(document), tune_page.confirmation(document)):
        console.print(text)
    console.table(
        tune_page.COLUMNS,
        [tune_page.cells(line) for line in document["frontier"]],
        title="The front",
        text_columns=tune_page.TEXT_COLUMNS,
        least=tune_page.LEAST,
    )
    for text in (*document["remarks"], tune_page.NOTES[0]):
        console.print(text, style="dim")
    console.print(f"recipe: {toml or folder / PROJECT_FILE}; all that was tried, and the plot: {folder / 'tune.html'}")
