"""`recurc build`: from a checkpoint to firmware."""

from __future__ import annotations

import time
from pathlib import Path

import click

from recurc.cli.options import (
    checkpoint_argument,
    data_option,
    depth_options,
    pass_console,
    precision_option,
    resolve_model,
    seed_option,
    storage_options,
)
from recurc.cli.output import Console, bytes_text
from recurc.cli.quantizing import calibration_options, quantize_with_progress

_MEANING = {
    "emulated": "runs in the emulator; what is verified there is this board's own firmware",
    "compiled": "compiled and linked within the real memory map; never run on the part itself by recurc's tests",
    "described": "described only",
    "host": "the firmware as a process of this computer",
}


@click.command()
@checkpoint_argument()
@click.option("--target", default="stm32h7", metavar="BOARD", help="Board (see `recurc boards`). Default: stm32h7.")
@precision_option()
@data_option
@click.option("--out", "-o", type=click.Path(path_type=Path), default=None, metavar="DIR",
              help="Build folder. Default: build/MODEL-BOARD-PRECISION.")
@seed_option
@depth_options
@storage_options
@calibration_options
@click.option("--min-fidelity", type=click.FloatRange(-1, 1), default=0.85, metavar="PHI",
              help="Refuse below this fidelity after one step. Default: 0.85.")
@click.option("--allow-lossy", is_flag=True, help="Build in spite of low fidelity or a precision for comparison.")
@click.option("--accuracy-puzzles", type=click.IntRange(min=0), default=32, metavar="N",
              help="Test puzzles that accuracy is shown for, when there is data. Default: 32; 0 for none.")
@pass_console
def command(console: Console, checkpoint: str | None, target: str, precision: str, data: str | None, out: Path | None,
            seed: int, steps: int | None, h_cycles: int | None, l_cycles: int | None, carry: str, puzzle_table: str,
            calibration: str | None, puzzles: int, min_fidelity: float, allow_lossy: bool, accuracy_puzzles: int) -> None:
    """Quantize CHECKPOINT, check that it still reasons, fit it into a board's memory and compile its firmware."""
    from recurc.targets.boards import load_board
    from recurc.targets.toolchain import find_compiler

    started = time.monotonic()
    board = load_board(target)
    for family in dict.fromkeys((board.family, "host")):
        find_compiler(family)  # before the long work, not after it
    chosen = resolve_model(console, checkpoint, data)
    from recurc.api import Model as LoadedModel
    from recurc.codegen.project import check_output

    reasoner = chosen.load()
    name = Path(chosen.checkpoint).name or "model"
    model = LoadedModel(reasoner, name)
    folder = out or Path("build") / f"{name}-{board.name}-{precision}"
    check_output(folder)
    for text in reasoner.notes:
        console.note(f"note: {text}")
    quantized = quantize_with_progress(
        console, model, chosen, precision, calibration=calibration, puzzles=puzzles, seed=seed, steps=steps,
        h_cycles=h_cycles, l_cycles=l_cycles, carry=carry, puzzle_table=puzzle_table)
    quantized.check_target(board, allow_lossy=allow_lossy)
    gate = quantized.gate()
    accuracy = _accuracy(console, chosen, quantized, accuracy_puzzles)
    build = quantized.build(
        board, folder, min_fidelity=min_fidelity, allow_lossy=allow_lossy, gate=gate,
        details={"accuracy": accuracy, "data": None if chosen.data is None else str(chosen.data.resolve())},
        note=lambda text: console.note(text + " ..."),
    )
    main = build.boards[build.target]
    entry = build.details["boards"][build.target]
    console.emit_json({
        "target": build.target, "twin": build.twin, "precision": precision, "calibration": quantized.model.method,
        "carry": carry, "puzzle_table": quantized.model.puzzle_storage,
        "image_bytes": build.details["image_bytes"], "elf": main.elf, "out": build.path, "fits": True,
        "fidelity": gate.fidelity, "fidelity_puzzles": gate.puzzles, "accuracy": accuracy,
        "regions": entry.get("regions", []), "model_sha256": main.model_sha256, "build_id": main.build_id,
        "verified": board.verified, "seconds": time.monotonic() - started,
        "elves": {n: artifact.elf for n, artifact in build.boards.items()},
    })
    if not console.json:
        _show(console, build, board, gate, accuracy, time.monotonic() - started)


def _accuracy(console: Console, chosen, quantized, count: int) -> dict | None:
    """Accuracy on the first test puzzles, where there is a test split and the work is small."""
    from recurc.api import GATE_MACS

    program = quantized.model.program
    affordable = int(GATE_MACS * 4 // max(program.macs_per_step * program.steps, 1))
    if chosen.data is None or min(count, affordable) < 1:
        return None
    test = chosen.dataset("test").take(min(count, affordable))
    with console.progress("checking accuracy", len(test)) as advance:
        scores = quantized.accuracy(test, progress=advance)
    return {"n": len(test), "cell": scores.cell, "exact": scores.exact}


def _show(console: Console, build, board, gate, accuracy: dict | None, seconds: float) -> None:
    d = build.details
    regions = d["boards"][build.target].get("regions", [])
    rows = []
    for region in regions:
        parts = " + ".join(f"{part} {size:,}" for part, size in sorted(region["parts"].items(), key=lambda p: -p[1]))
        rows.append((region["name"], region["kind"], f"{region['used']:,}", f"{region['size']:,}",
                     f"{100 * region['used'] / region['size']:.1f} %", f"= {parts}"))
    if rows:
        console.table(("region", "kind", "used bytes", "of", "", "sum"), rows, title=f"Memory of {board.name}",
                      text_columns=("kind", "sum"))
    console.pairs([
        ("fits", f"{board.title}"),
        ("image", f"{bytes_text(d['image_bytes'])}, {d['label']}, kernels "
                  f"{d['boards'][build.target].get('kernels', d['boards']['host']['kernels'])}"),
        ("carry + scratch", f"{bytes_text(d['arena_bytes'])} (z_H and z_L in place, X never stored)"),
        ("fidelity", f"{gate.fidelity:.4f} after one step, {gate.puzzles} {gate.inputs}"
                     + ("" if "calibration" in gate.inputs else ": told, not judged; pass --data DIR for a verdict")),
        *([("accuracy", f"{100 * accuracy['exact']:.1f} % puzzles exact, {100 * accuracy['cell']:.1f} % cells, "
                        f"first {accuracy['n']} test puzzles, after step {build.steps}")] if accuracy else []),
        *((f"needs {r['name']}", f"{r['note']}") for r in regions if r["optional"]),
        (build.target, _MEANING["host" if board.family == "host" else board.verified]),
        *([(build.twin, "its emulated twin: same objects but the port; `recurc verify` runs it")] if build.twin else []),
        ("firmware", ", ".join(str(a.elf) for n, a in build.boards.items() if n != "host" or n == board.name)),
        ("build", f"{build.path} in {seconds:.1f} s"),
    ])
