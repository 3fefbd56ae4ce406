"""`recurc build --update-of`: a new weights image for a firmware that is there."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from recurc.arguments import argument
from recurc.cli.common.delivery import Delivery
from recurc.cli.common.groups import given_options
from recurc.cli.common.options import Model
from recurc.cli.common.output import Console
from recurc.cli.common.quantizing import Learning, quantize_with_progress
from recurc.errors import UsageError

if TYPE_CHECKING:
    from recurc.cli.build import Demands
    from recurc.quant.tables import PuzzleTable

# What the build has settled already.
_SETTLED = (
    "target", "as_", "name", "weights", "precision", "layers", "steps", "h_cycles", "l_cycles", "carry", "puzzle_table",
    "scratch", "solve", "symmetry", "restarts", "first_steps", "restart_steps", "accept", "accuracy_puzzles",
)  # fmt: skip


def update_asked(delivery: Delivery) -> bool:
    """Whether no build is to be made, but an image for one. Raises UsageError for options that go with the other."""
    if delivery.update_of is not None:
        for option in given_options(*_SETTLED):
            raise UsageError(
                f"{option} cannot be chosen here", where=argument("update_of", str(delivery.update_of)),
                why="the firmware is compiled, and takes what it was built for", next="Leave it out",
            )  # fmt: skip
    elif delivery.counter is not None:
        raise UsageError(
            "a build's own image has the counter 0", where=argument("counter", str(delivery.counter)),
            why="the counter tells updates apart", next="Give it with " + argument("update_of", "BUILD"),
        )  # fmt: skip
    return delivery.update_of is not None


def update(console: Console, chosen: Model, delivery: Delivery, learning: Learning, demands: Demands) -> None:
    """Write the image. Raises InputError: the build's firmware cannot run the model."""
    from recurc.api import Model as LoadedModel
    from recurc.build.manifest import load_build
    from recurc.files import check_file, write_whole
    from recurc.make.update import check_fits, pinned

    assert delivery.update_of is not None
    started, reasoner = time.monotonic(), chosen.load()
    found = pinned(load_build(delivery.update_of))
    check_fits(found, reasoner.config, reasoner.source)
    name = Path(chosen.checkpoint).name or "model"
    file, next = delivery.out or Path(f"{name}-for-{found.build.path.name}.rcm"), f"Name another file with {argument('out')}"
    check_file(file, "the weights image", next)
    stored = (found.precision.name, found.layers)
    quantized = quantize_with_progress(console, LoadedModel(reasoner, name), chosen, stored, learning, found.lowering)
    with console.progress("fidelity", 1):
        gate, least, whence = quantized.judged_fidelity(
            demands.min_fidelity, allow_lossy=demands.allow_lossy, note=console.note
        )
    counter = delivery.counter or 0
    image = quantized.image_for(found.build, counter)
    write_whole(file, image, "the weights image", next)
    table = _table(quantized.model.puzzles, file)
    sha256 = image[40:72].hex()
    console.emit_json(
        {
            "target": found.build.target, "update_of": found.build.path, "out": file, "table": table, "counter": counter,
            "image_bytes": len(image), "model_sha256": sha256, "precision": found.precision.name, "layers": found.layers,
            "calibration": quantized.model.method, **gate.as_dict(), "min_fidelity": least, "min_fidelity_from": whence,
            "seconds": time.monotonic() - started,
        }
    )  # fmt: skip
    if not console.json:
        told = f"{file}, {len(image):,} bytes, counter {counter}, sha256 {sha256[:16]}..."
        console.pairs([
            ("image", told), *([("puzzle table", f"{table}: the image takes no other one")] if table else []),
            ("for", f"the firmware in {found.build.path} ({found.build.target}), which stays as it is"),
            ("fidelity", f"{gate.fidelity:.4f} after one step, {gate.puzzles} {gate.inputs}"),
        ])  # fmt: skip


def _table(puzzles: PuzzleTable | None, image: Path) -> Path | None:
    """Write the streamed puzzle table beside the image, whose key is in it; None where the model streams none."""
    if puzzles is None:
        return None
    file = image.with_name(image.name + ".rct")  # beside it, whatever it is called
    puzzles.write(file)
    return file
