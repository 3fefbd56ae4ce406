"""`recurc report`: what a build takes of its board's memory, or what it would take."""

from __future__ import annotations

import os
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from recurc.cli.common.groups import given_options, takes
from recurc.cli.common.memory import show_changes, show_memory, show_pieces
from recurc.cli.common.options import (
    Source,
    Stored,
    data_option,
    depth_options,
    pass_console,
    scratch_option,
    storage_options,
    stored_options,
)
from recurc.cli.common.output import Console
from recurc.errors import DoesNotFitError, InputError, UsageError
from recurc.files import write_whole
from recurc.ir.lowering import Lowering
from recurc.reading import is_file
from recurc.words import speak_of

_BESIDE = ""  # --html without a value
_DEFAULT_TARGET = "stm32h7"


@click.command()
@click.argument("source", required=False, metavar="[BUILD | CHECKPOINT]")
@click.option(
    "--target",
    default=None,
    metavar="BOARD",
    help="Of a build: one of its boards. Else the board to plan for. Default: stm32h7.",
)
@stored_options
@storage_options
@depth_options
@click.option("--pieces", is_flag=True, help="List every piece with address, offset, size and lifetime.")
@click.option(
    "--html",
    is_flag=False,
    flag_value=_BESIDE,
    default=None,
    metavar="[FILE]",
    help="Write one self-contained HTML page with the drawn memory map. Default FILE: report.html in the build "
    "folder; of a plan MODEL-BOARD-PRECISION.html here.",
)
@scratch_option
@data_option
@takes(stored=Stored, lowering=Lowering)
@pass_console
def command(
    console: Console,
    source: str | None,
    target: str | None,
    pieces: bool,
    html: str | None,
    data: str | None,
    stored: Stored,
    lowering: Lowering,
) -> None:
    """Show a build's memory map, or whether a model would fit.

    BUILD is a folder that `recurc build` made. Anything else is a CHECKPOINT as in `recurc build`: it is planned for
    --target without building anything, so the sizes of code are then estimates.

    Exits with 4 when the plan does not fit.
    """
    if source is None and html and _is_build(Path(html)):  # `recurc report --html BUILD`
        source, html = html, _BESIDE
    error: DoesNotFitError | None = None
    if source is not None and _is_build(Path(source)):
        names = (field.name for group in (Stored, Lowering) for field in fields(group))
        document, page = _of_build(Path(source), target, list(given_options(*names, "data")))
    else:
        document, page, error = _of_plan(console, Source(source, data), target, stored, lowering)
    console.assumed(document["notes"])
    written = None
    if html is not None:
        written = _write_page(document, page, False) if html == _BESIDE else _write_page(document, Path(html), True)
    console.emit_json({**document, "html": written, **({"error": _plain_error(error)} if error else {})})
    if not console.json:
        _show(console, document, pieces, written)
    if error is not None:
        raise error


def _plain_error(error: DoesNotFitError) -> dict[str, Any]:
    """The error without its plan: the document is that plan."""
    return {key: value for key, value in error.as_dict().items() if key != "plan"}


def _is_build(path: Path) -> bool:
    from recurc.build.listing import MANIFEST

    return is_file(path / MANIFEST)


def _of_build(folder: Path, target: str | None, not_for_builds: list[str]) -> tuple[dict[str, Any], Path]:
    from recurc.build.manifest import load_build
    from recurc.report.document import report_build

    if not_for_builds:
        raise UsageError(
            f"{not_for_builds[0]} does not apply to a build",
            where=str(folder),
            why="it was chosen when the build was made",
            next="leave it out, or name a checkpoint to plan another build",
        )
    build = load_build(folder, to_run=False)
    speak_of(build.config.seq_len)
    if target is not None and target not in build.boards:
        from recurc.targets.boards import load_board

        target = load_board(target).name  # an alias
    return report_build(build, target), folder / "report.html"


def _of_plan(
    console: Console, source: Source, target: str | None, stored: Stored, lowering: Lowering
) -> tuple[dict[str, Any], Path, DoesNotFitError | None]:
    from recurc.report.document import report_plan
    from recurc.report.planning import plan_checkpoint
    from recurc.targets.boards import load_board

    try:
        chosen = source.model(console)
        board = load_board(chosen.either("target", target) or _DEFAULT_TARGET)
        reasoner = chosen.load()
    except InputError as e:
        if source.checkpoint is not None and os.path.isdir(source.checkpoint) and e.what.startswith("no checkpoint"):
            raise InputError(
                "neither a build nor a checkpoint",
                where=source.checkpoint,
                why=f"{e.what}: {e.why}",
                next="pass a folder that `recurc build` made, or a checkpoint",
            ) from e
        raise
    name = Path(chosen.checkpoint).name or "model"
    precision, layers = stored.of(chosen)
    lowering = chosen.settled(lowering)
    planned = plan_checkpoint(reasoner.config, board, precision, layers, lowering)
    document = report_plan(
        planned.summary,
        board,
        {"name": name, "checkpoint": reasoner.source, "sha256": reasoner.sha256},
        precision=precision,
        carry=lowering.carry,
        depth=planned.depth,
    )
    document["notes"] = list(reasoner.notes)
    return document, Path(f"{name}-{board.name}-{precision}.html"), planned.error


def _write_page(document: dict[str, Any], path: Path, follow: bool) -> Path:
    from recurc.report.page import render_page

    if os.path.isdir(path):
        raise UsageError(
            "--html names a folder",
            where=str(path),
            why="the page is one file",
            next=f"name the file, for example {path / 'report.html'}",
        )
    return write_whole(
        path, render_page(document), "the page", "name a file that you may write with --html FILE", follow=follow
    )


def _show_time(console: Console, document: dict[str, Any]) -> None:
    """Where the time of a step goes, with what the estimate rests on."""
    from recurc.report.timing import TIME_LEAST, op_columns, op_rows, time_columns, time_facts, time_rows

    estimated = (document["time"] or {}).get("estimate")
    if estimated:
        console.table(
            time_columns(estimated),
            time_rows(estimated),
            least=TIME_LEAST,
            title="Where the time goes (an estimate, not measured)",
        )
    if ops := op_rows(document["time"] or {}):
        console.table(
            op_columns(document["time"]), ops, least=("at most",), title="Each op of a step (an estimate, not measured)"
        )
    facts = time_facts(document)
    if facts:
        console.pairs(facts)
        console.print()


def _show(console: Console, document: dict[str, Any], pieces: bool, written: Path | None) -> None:
    from recurc.report.wording import fact_rows, verdict_text

    name, label = document["source"]["name"], document["label"]
    state = "written, not compiled here" if document["source"]["kind"] == "build" else "planned only"
    console.print(f"{name} on {document['target']}, {label}" + (f", {state}" if document["estimated"] else ""), style="bold")
    console.print()
    show_memory(console, document["regions"], f"Memory of {document['target']}")
    if not document["regions"]:
        console.print("no memory map: the firmware is a process of this computer")
    if pieces:
        show_pieces(console, document["regions"])
    show_changes(console, document)
    _show_time(console, document)
    console.pairs(fact_rows(document))
    console.print()
    console.print(verdict_text(document), style="bold green" if document["fits"] else "bold red")
    if document["estimated"]:
        console.print("estimates: code, constants and data; exact: weights, tables and buffers", style="dim")
    if written is not None:
        console.print(f"page: {written}")
