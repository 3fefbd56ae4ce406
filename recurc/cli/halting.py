"""`recurc halting`: when a checkpoint's runs should halt and what is to be believed, found and kept beside it."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from recurc.arguments import argument
from recurc.cli.common.groups import takes
from recurc.cli.common.options import (
    Model,
    Source,
    Stored,
    checkpoint_argument,
    data_option,
    limit_option,
    measured_models,
    pass_console,
    seed_option,
    stored_options,
)
from recurc.cli.common.output import Console, json_text
from recurc.cli.common.quantizing import Learning, calibration_options, quantize_with_progress
from recurc.cli.common.research import can_plot, check_results, results_option, write, write_results
from recurc.cli.common.solving import Asking, asking_options
from recurc.errors import UsageError
from recurc.ir.lowering import Lowering

if TYPE_CHECKING:
    from recurc.evaluate.own_halting import OwnHalting
    from recurc.models.reasoner import Reasoner

DEFAULT_LIMIT = 256


@dataclass(frozen=True)
class Finding:
    """On how many puzzles, whether by their labels, by how many threads, and whether the rule is kept."""

    limit: int
    labels: bool
    jobs: int
    keep: bool


@click.command()
@checkpoint_argument()
@data_option
@stored_options
@limit_option(DEFAULT_LIMIT)
@seed_option
@calibration_options
@asking_options("Of a run that does not halt: ")
@click.option(
    "--labels/--no-labels",
    default=True,
    help="Choose by labels, or as though there were none, by clusters of the margins. Default: by labels.",
)
@click.option(
    "--keep", is_flag=True, help="Keep the rule beside the checkpoint (halting.json), where build and eval take it from."
)
@click.option("--jobs", type=click.IntRange(1, 1024), default=2, metavar="N", help="Threads. Default: 2.")
@results_option("NAME-halting")
@takes(source=Source, stored=Stored, learning=Learning, asking=Asking, finding=Finding)
@pass_console
def command(
    console: Console, out: Path | None, source: Source, stored: Stored, learning: Learning, asking: Asking, finding: Finding
) -> None:
    """When a run of CHECKPOINT should halt and what is to be believed: for it, or for all bundled examples.

    The margin of the halting head that is enough (theta) belongs to the checkpoint. It is found on half of the test puzzles: by
    labels, or without them where the margins form two clusters, of puzzles that are solved and that are not. On the other half
    it is shown what stopping early and asking again give, and how far "solved" can be trusted.
    """
    if finding.keep and asking.noise:
        raise UsageError("a rule that is found with noise is not kept", where=argument("keep", True),
                         why="build and eval would take it for runs without", next="Leave out --keep, or --noise")  # fmt: skip
    models, named = measured_models(console, source, "recurc halting")
    from recurc.evaluate import own_halting
    from recurc.report import halting_page

    folder = out or Path("build") / f"{named}-halting"
    for chosen in models if finding.keep else ():  # before a measurement of minutes, not after it
        own_halting.check_keep(chosen.file())
    check_results(folder)
    found, kept = [], {}
    for chosen in models:
        own, reasoner, document = _measured(console, chosen, stored, learning, asking, finding)
        found.append(document)
        if finding.keep and own is not None:
            kept[own_halting.keep(own, reasoner)] = own
        elif finding.keep:
            console.note(f"{document['model']}: nothing is kept: {document['why']}")
    whole = {"models": found}
    drawn = halting_page.draw(whole, folder) if can_plot(console) else []
    files = [write(folder, "halting-study.json", json_text(whole))]
    files += write_results(folder, "halting", halting_page.results(whole, drawn, shlex.join(["recurc", *sys.argv[1:]])))
    console.emit_json({**whole, "files": files, "kept": list(kept)})
    if not console.json:
        _show(console, whole, folder)
        for path, own in kept.items():
            console.print(f"kept for `recurc build` and `recurc eval --solve`: {path}, {own.rule_text}")


def _measured(
    console: Console, chosen: Model, stored: Stored, learning: Learning, asking: Asking, finding: Finding
) -> tuple[OwnHalting | None, Reasoner, dict[str, Any]]:
    """The rule of a model, and all that was measured of it."""
    from recurc.api import Model as LoadedModel
    from recurc.cli.common.solving import labelled
    from recurc.dataset import check_compatible
    from recurc.evaluate.halting import Halt
    from recurc.evaluate.stepping import EngineStepper
    from recurc.study.halting_study import Forms, Subject, halting_study

    learning = chosen.settled(learning)
    precision, layers = stored.of(chosen)
    test = chosen.dataset("test", labels=finding.labels).take(finding.limit)
    if len(test) < 2:
        raise UsageError("one puzzle is too few", where="--limit", why="half of them are to choose on, half to try the choice",
                         next="Take at least two")  # fmt: skip
    name = Path(chosen.checkpoint).name or "model"
    model = LoadedModel(chosen.load(), chosen.checkpoint)
    check_compatible(test, model.config, model.reasoner.source)
    steps = model.config.halt_max_steps
    policy = asking.policy(steps, Halt(), seed=learning.seed)
    symmetry, forms = asking.forms(console, labelled(chosen, asking.symmetry), model.config, learning.seed)
    quantized = quantize_with_progress(console, model, chosen, (precision, layers), learning, Lowering())
    subject = Subject(name, model.reasoner.sha256, quantized.model.stored_as, EngineStepper(quantized.engine), steps)
    with console.progress(f"{name}: halting", len(test), "puzzles") as advance:
        found = halting_study(
            subject, test, Forms(symmetry, forms), policy, labels=finding.labels, threads=finding.jobs, progress=advance
        )
    return found.own, model.reasoner, dict(found.document)


def _show(console: Console, document: dict[str, Any], folder: Path) -> None:
    from recurc.report import halting_page as page

    models = document["models"]
    console.table(page.STOPPING, [row for m in models for row in page.stopping_cells(m)], title="Stopping early",
                  text_columns=page.TEXT_COLUMNS, least=page.STOPPING_LEAST)  # fmt: skip
    console.table(page.SOLVING, [row for m in models for row in page.solving_cells(m)], title="Asking again",
                  text_columns=page.TEXT_COLUMNS, least=page.SOLVING_LEAST)  # fmt: skip
    for text in page.verdicts(document):
        console.print(text)
    for note in page.NOTES:
        console.print(note, style="dim")
    console.print(f"tables, picture and page: {folder / 'halting.html'}")
