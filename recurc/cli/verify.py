"""`recurc verify`: a build's firmware runs puzzles and is compared with the host, bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.text import Text

from recurc.cli._grid import grid_lines, is_sudoku, side_by_side, side_of
from recurc.cli.options import Threshold, data_option, limit_option, pass_console
from recurc.cli.output import Console
from recurc.errors import MismatchError, UsageError

DEFAULT_LIMIT = 8
_KEPT = ("on", "n", "offset", "matched", "bit_exact", "cell", "exact", "mean_steps", "stack_used", "stack_bytes",
         "instructions_per_step", "seconds_per_step")


@click.command()
@click.argument("build", metavar="BUILD", type=click.Path(path_type=Path))
@click.option(
    "--on", default="qemu", metavar="WHERE", help="qemu (default), host, or a port: /dev/ttyACM0, tcp://HOST:PORT."
)
@data_option
@limit_option(DEFAULT_LIMIT)
@click.option(
    "--offset", type=click.IntRange(min=0), default=0, metavar="N", help="Skip the first N examples. Default: 0."
)
@click.option(
    "--steps", type=click.IntRange(min=1), default=None, metavar="N", help="Supervision steps (default: as compiled)."
)
@click.option("--halt", is_flag=True, help="Stop early on the halting head.")
@click.option("--halt-threshold", type=Threshold(), default=0.0, metavar="Q", help="Halting logit to exceed. Default: 0.")
@click.option(
    "--min-steps", type=click.IntRange(min=1), default=1, metavar="K", help="Steps before halting is asked. Default: 1."
)
@click.option("--show", is_flag=True, help="Draw the first puzzle after each step.")
@pass_console
def command(
    console: Console, build: Path, on: str, data: str | None, limit: int | None, offset: int, steps: int | None,
    halt: bool, halt_threshold: float, min_steps: int, show: bool,
) -> None:  # fmt: skip
    """Run puzzles on the firmware in BUILD and compare every step with the host.

    After each supervision step the checksums of carry, logits and predicted tokens and both halting logits are
    compared, after the last one all logits and tokens. A difference is named down to the element
    and ends with exit code 8.
    """
    from recurc.codegen.manifest import load_build
    from recurc.dataset import check_compatible, load_dataset
    from recurc.verify.run import Halt, StepView, resolve, verify

    made = load_build(build)
    folder = data or getattr(made, "details", {}).get("data")  # by default what the build was checked with
    if folder is None:
        raise UsageError(
            "no puzzles to run",
            where=str(build),
            why="no dataset is given",
            next="Pass the dataset directory with --data DIR",
        )
    everything = load_dataset(folder, "test")
    check_compatible(everything, made.config)
    dataset = everything.take(limit, offset)
    if not len(dataset):
        raise UsageError(
            "no puzzles to run",
            where=f"--offset {offset}",
            why=f"the split has {len(everything)} examples",
            next="Use a smaller offset",
        )
    board, _ = resolve(made, on)
    total = len(dataset) * (steps or made.steps)
    views: list[StepView] = []
    with console.progress(f"verify on {board.name}", total) as advance:
        result = verify(
            made, on, dataset, steps=steps, halt=Halt(halt_threshold, min_steps) if halt else None,
            progress=lambda puzzle, step: advance(1, note=f"puzzle {puzzle}, step {step}"),
            show=views.append if show else None, offset=offset,
        )  # fmt: skip
    _print(console, made, result, views)
    document = _document(result, offset, _worst_stack(made, result))
    made.record(result.info.build_id, {k: document[k] for k in _KEPT})
    console.emit_json(document)
    if result.first_difference is not None:
        raise MismatchError(
            "the device's results differ from the host's", where=board.name, why=f"{result.first_difference}",
            next="This is a bug in recurc, the compiler or the device: please report it with this line",
        )  # fmt: skip


def _worst_stack(build: Any, result: Any) -> int | None:
    """Bytes of the worst stack path that the build computed for the board it ran on; None on this computer."""
    plan = build.details["boards"].get(result.board.name, {}).get("plan")
    return plan["stack"]["worst"] if plan else None


def _document(result: Any, offset: int, worst: int | None) -> dict[str, object]:
    d = result.first_difference
    return {
        "on": result.on, "board": result.board.name, "n": result.n, "offset": offset, "bit_exact": result.bit_exact,
        "matched": result.matched, "cell": result.cell, "exact": result.exact,
        "mean_steps": result.steps / max(1, result.n), "ticks": result.ticks, "tick_hz": result.info.tick_hz,
        "instructions": result.instructions(result.ticks), "seconds": result.seconds(result.ticks),
        "instructions_per_step": result.instructions_per_step, "seconds_per_step": result.seconds_per_step,
        "stack_used": result.stack_used, "stack_bytes": result.info.stack_bytes,
        "stack_worst": worst, "retries": result.retries,
        "build_id": result.info.build_id, "model_sha256": result.info.model_sha256,
        "first_difference": None if d is None else {
            "puzzle": d.puzzle, "step": d.step, "tensor": d.tensor, "index": d.index,
            "host": d.host, "device": d.device,
        },
        "puzzles": [
            {"puzzle": p.puzzle, "steps": p.steps, "halted": p.halted, "matched": p.matched, "right": p.right,
             "cells": p.cells, "exact": p.exact, "ticks": p.ticks}
            for p in result.puzzles
        ],
    }  # fmt: skip


def _print(console: Console, build: Any, result: Any, views: list) -> None:
    if views:
        _show(console, views, build.config.vocab_size)
    counted = result.instructions(1) is not None
    rows = []
    for p in result.puzzles:
        cost = result.instructions(p.ticks) if counted else p.ticks
        equal = "all equal" if p.matched else "DIFFER"
        rows.append((p.puzzle, p.steps, f"{p.right}/{p.cells}", "yes" if p.exact else "no", equal, f"{cost:,}"))
    console.table(("puzzle", "steps", "cells", "exact", "bits", "instructions" if counted else "ticks"), rows)
    reach = {"emulated": "emulated", "compiled": "a real board", "described": "a real board"}[result.board.verified]
    where = "this computer" if result.on == "host" else f"{result.board.title} ({reach})"
    n = result.n
    console.print(f"on {where}: {result.matched} of {n} puzzles equal to the host in every bit after every step")
    console.print(f"accuracy there: {100 * result.cell:.1f} % of cells, {100 * result.exact:.1f} % of puzzles exact")
    if result.instructions_per_step is not None:
        console.print(f"{result.instructions_per_step:,} instructions a step (counted in the emulator; not a time)")
    elif result.seconds_per_step is not None:
        console.print(f"{1000 * result.seconds_per_step:.3f} ms a step, measured there")
    if result.info.stack_bytes:
        computed = f", {worst:,} by the worst path that the compiler knows" if (worst := _worst_stack(build, result)) else ""
        console.print(f"stack: {result.stack_used:,} of {result.info.stack_bytes:,} bytes used{computed}")
    if result.board.name != build.target and result.on == "qemu":
        console.print(f"{build.target} itself was compiled, not run: {result.board.name} is its emulated twin")


def _show(console: Console, views: list, vocab: int) -> None:
    """Draw the first puzzle's steps until nothing changes any more."""
    first = views[0]
    if side_of(len(first.input)) is None:
        console.note("--show draws square puzzles only")
        return
    out = console.people
    color = out.is_terminal
    # What a sudoku gives is what is not blank; other puzzles give everything and predict something else.
    given = np.asarray(first.input) > 1 if is_sudoku(len(first.input), vocab) else np.zeros(len(first.input), bool)
    last = max(
        (v.step for v, before in zip(views[1:], views, strict=False) if (v.tokens != before.tokens).any()), default=0
    )
    blocks: list[list[Text]] = []
    for before, view in zip([None, *views], views, strict=False):
        if view.step > last:
            break
        changed = 0 if before is None else int((view.tokens != before.tokens).sum())
        right = int((view.tokens == view.labels)[view.valid].sum())
        title = "input" if before is None else f"step {view.step}: {changed} changed, {right}/{int(view.valid.sum())}"
        lines = grid_lines(view.tokens, given, None if before is None else before.tokens, vocab, color)
        blocks.append([Text(title, style="bold"), *lines])
    for line in side_by_side(blocks, out.width):
        out.print(line, soft_wrap=True, highlight=False)
    settled = f"no change after step {last}" if last < views[-1].step else "still changing at the last step"
    console.print(f"the first puzzle on the device: {settled} of {views[-1].step}")
