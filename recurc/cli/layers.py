"""`recurc layers`: which layers deserve more bits, and the best mixed precision for a number of bytes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from recurc.cli.common.groups import takes
from recurc.cli.common.kinds import Precision
from recurc.cli.common.options import (
    DEFAULT_PRECISION,
    Source,
    checkpoint_argument,
    data_option,
    depth_options,
    pass_console,
    seed_option,
    storage_options,
)
from recurc.cli.common.output import Console
from recurc.cli.common.project import PROJECT_FILE, Project, project_text
from recurc.cli.common.quantizing import Learning, calibration_options
from recurc.cli.common.research import Computing, compute_options
from recurc.errors import DoesNotFitError, UsageError
from recurc.files import check_file, write_whole
from recurc.ir.lowering import Lowering
from recurc.report.numbers import IMAGE_BYTES, fidelity_text

if TYPE_CHECKING:
    from recurc.evaluate.sensitivity import Sensitivity
    from recurc.study.layer_study import LayerStudy

_PUZZLES = 32
_PROJECT = ("the project file", "Name a file that you may write with --write FILE")


@dataclass(frozen=True)
class Raising:
    """From which precision to which, for how many bytes of image at most, and on how many puzzles that is measured."""

    precision: str
    higher: str
    budget: int | None
    count: int


@click.command()
@checkpoint_argument()
@data_option
@click.option(
    "--precision",
    type=Precision(),
    default=DEFAULT_PRECISION,
    metavar="P",
    help=f"Precision of the layers that are not raised. Default: {DEFAULT_PRECISION}.",
)
@click.option("--to", "higher", type=Precision(), default="int8", metavar="P", help="Precision to raise to. Default: int8.")
@click.option("--target", default="stm32h7", metavar="BOARD", help="Board whose kernels decide sizes. Default: stm32h7.")
@click.option(
    "--budget",
    type=click.IntRange(min=1),
    default=None,
    metavar="BYTES",
    help="Choose layers so that the weights image has at most so many bytes, and measure the choice.",
)
@click.option(
    "--write",
    "toml",
    type=click.Path(path_type=Path, dir_okay=False),
    default=None,
    metavar="FILE",
    help=f"Write the choice as a project file; {PROJECT_FILE} in the current folder is what build and eval read.",
)
@click.option(
    "--fidelity-puzzles",
    "count",
    type=click.IntRange(min=1),
    default=_PUZZLES,
    metavar="N",
    help=f"Calibration puzzles that fidelity is measured on. Default: {_PUZZLES}.",
)
@seed_option
@depth_options
@storage_options
@calibration_options
@compute_options
@takes(source=Source, raising=Raising, lowering=Lowering, learning=Learning, computing=Computing)
@pass_console
def command(
    console: Console,
    target: str,
    toml: Path | None,
    source: Source,
    raising: Raising,
    lowering: Lowering,
    learning: Learning,
    computing: Computing,
) -> None:
    """Raise each layer of CHECKPOINT alone to a higher precision and show what that buys in fidelity, and costs in bytes.

    Fidelity is that after one supervision step on calibration puzzles, in the device's arithmetic. Interrupted or repeated, it
    goes on where it was: results are kept by the content of checkpoint, puzzles and code.
    """
    from recurc.evaluate.sensitivity import choose_layers
    from recurc.study.layer_study import LayerStudy
    from recurc.study.pricing import Prices
    from recurc.study.variants import Variant
    from recurc.study.workbench import Workbench
    from recurc.targets.boards import load_board

    precision, higher, budget = raising.precision, raising.higher, raising.budget
    _check(precision, higher, budget, toml)
    board = load_board(target)
    chosen = source.model(console)
    reasoner, train = chosen.load(), chosen.dataset("train")
    bench = Workbench(reasoner, train, train, puzzles=learning.puzzles, seed=learning.seed, store=computing.store(console))
    low = Variant(precision, method=learning.calibration, engine="device", **vars(lowering))
    study = LayerStudy(bench, low, higher, Prices(reasoner.config, board), raising.count)
    if budget is not None:
        _check_budget(study.image_bytes(()), precision, budget)
    with (
        computing.executor() as where,
        console.progress(f"layers in {higher} among {precision}", study.work, "puzzles") as advance,
    ):
        result = study.sensitivity(where, advance)
        raised = () if budget is None else choose_layers(result, budget)
        document = _document(study, result, reasoner.source)
        if budget is not None:
            phi, error = study.fidelity(raised, where)
            document["choice"] = {
                "layers": study.layers(raised),
                "budget": budget,
                "image_bytes": study.image_bytes(raised),
                "fidelity": phi,
                "fidelity_error": error,
            }
    if toml is not None:
        text = project_text(
            Project(chosen.checkpoint, str(chosen.data) if chosen.named else None, precision, study.layers(raised))
        )
        write_whole(toml, text, *_PROJECT)
    console.emit_json({**document, "written": toml})
    if not console.json:
        _show(console, document, toml)


def _document(study: LayerStudy, result: Sensitivity, checkpoint: str) -> dict[str, Any]:
    """What was measured, as data."""
    return {
        "checkpoint": checkpoint,
        "precision": study.low.precision,
        "to": study.high,
        "n": len(study.puzzles),
        "fidelity": result.low,
        "fidelity_all": result.high,
        "image_bytes": result.low_bytes,
        "image_bytes_all": result.high_bytes,
        "fidelity_error": study.fidelity(())[1],
        "fidelity_all_error": study.fidelity(study.names)[1],
        "layers": [{"name": g.name, "fidelity": g.fidelity, "gain": result.gain(g), "bytes": g.bytes} for g in result.layers],
    }


def _check_budget(least: int, precision: str, budget: int) -> None:
    """Raises DoesNotFitError: the lower precision is over the budget already; shapes alone tell that."""
    if least > budget:
        raise DoesNotFitError(
            f"{precision} takes {least:,} bytes already",
            where=f"--budget {budget:,}",
            why="more bits for some layers only add to that",
            next="Begin with a lower --precision, or raise the budget",
        )


def _check(precision: str, higher: str, budget: int | None, toml: Path | None) -> None:
    from recurc.quant.weights import precision_named

    low, high = precision_named(precision), precision_named(higher)
    if high.bits <= low.bits:
        raise UsageError(
            f"{higher} is not a higher precision than {precision}",
            where="--to",
            why=f"they take {high.bits} and {low.bits} bits a weight",
            next="Choose one with more bits",
        )
    if toml is not None and budget is None:
        raise UsageError(
            "there is no choice to write",
            where="--write",
            why="without --budget nothing is chosen",
            next="Say how many bytes the image may have with --budget BYTES",
        )
    if toml is not None:
        check_file(toml, *_PROJECT)


def _show(console: Console, document: dict[str, Any], toml: Path | None) -> None:
    low, high = document["precision"], document["to"]
    console.print(f"one layer in {high}, the others in {low}; fidelity after one step, {document['n']} calibration puzzles")
    chosen = document.get("choice", {})
    rows = [
        (
            g["name"],
            f"{g['fidelity']:.5f}",
            f"{g['gain']:+.5f}",
            f"{g['bytes']:,}",
            *(["yes" if g["name"] in chosen["layers"] else ""] if chosen else []),
        )
        for g in document["layers"]
    ]
    for name, suffix in ((f"none: all in {low}; bytes in all", ""), (f"all in {high}; bytes in all", "_all")):
        phi = fidelity_text(document["fidelity" + suffix], document[f"fidelity{suffix}_error"], 5)
        rows.append((name, phi, "", f"{document['image_bytes' + suffix]:,}", *[""] * bool(chosen)))
    console.table(
        ("layer", "fidelity", "gain", "bytes more", *(["chosen"] if chosen else [])), rows, least=("fidelity", "gain")
    )
    console.print(f"bytes: of {IMAGE_BYTES}")
    if chosen:
        n = len(chosen["layers"])
        console.print(
            f"within {chosen['budget']:,} bytes: {n} layer{'s' * (n != 1)} in {high}, image "
            f"{chosen['image_bytes']:,} bytes, fidelity " + fidelity_text(chosen["fidelity"], chosen["fidelity_error"], 5)
        )
    if toml is not None:
        console.print(f"written to {toml}")
