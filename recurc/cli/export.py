"""`recurc export`: a model in a precision as ONNX, for other runtimes and as an independent check."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from recurc.cli.common.groups import takes
from recurc.cli.common.options import (
    Source,
    Stored,
    checkpoint_argument,
    data_option,
    depth_options,
    open_build,
    pass_console,
    project_option,
    seed_option,
    storage_options,
    stored_options,
)
from recurc.cli.common.output import Console, bytes_text
from recurc.cli.common.quantizing import Learning, calibration_options, quantize_with_progress
from recurc.files import check_folder
from recurc.ir.lowering import Lowering
from recurc.reading import is_file

if TYPE_CHECKING:
    from recurc.quant.model import QuantizedModel


@click.command()
@checkpoint_argument()
@click.option("--onnx", "out", type=click.Path(path_type=Path), required=True, metavar="DIR", help="Folder to write to.")
@data_option
@stored_options
@seed_option
@depth_options
@storage_options
@calibration_options
@project_option
@takes(source=Source, stored=Stored, lowering=Lowering, learning=Learning)
@pass_console
def command(console: Console, out: Path, source: Source, stored: Stored, lowering: Lowering, learning: Learning) -> None:
    """Write CHECKPOINT as ONNX graphs: start, each block once, heads; loop.json says how they are called.

    CHECKPOINT may be a build folder too: what is written is then what its weights image stores, and options of
    quantization have no meaning. Quantized layers are in QDQ form, with weights as 4- or 8-bit constants and a scale
    for every row of activations, computed in the graph.
    """
    from recurc.build.listing import MANIFEST
    from recurc.exchange.onnx_export import export_onnx, require

    require("onnx")
    check_folder(out, "the graphs", "Name another folder with --onnx DIR")
    if source.checkpoint is not None and is_file(Path(source.checkpoint) / MANIFEST):
        model = _stored(console, Path(source.checkpoint))
    else:
        from recurc.api import Model

        chosen = source.model(console)
        lowering, learning = chosen.settled(lowering), chosen.settled(learning)
        name = Path(chosen.checkpoint).name or "model"
        model = quantize_with_progress(console, Model(chosen.load(), name), chosen, stored.of(chosen), learning, lowering).model
    document = export_onnx(model, out)
    entries = [document["start"], *document["blocks"].values(), document["heads"]]
    sizes = {e["file"]: (out / e["file"]).stat().st_size for e in entries}
    console.emit_json(
        {
            "source": source.checkpoint,
            "out": out,
            "precision": model.precision.name,
            "calibration": model.method,
            "carry": model.program.carry,
            "files": sizes,
            "loop": document,
        }
    )
    if console.json:
        return
    console.print(f"{model.name}, {model.label}, {model.program.carry} carry, as ONNX in {out}")
    rows = [(e["file"], ", ".join(e["inputs"]), ", ".join(e["outputs"]), bytes_text(sizes[e["file"]])) for e in entries]
    console.table(("file", "takes", "gives", "size"), rows)
    console.print("loop.json has the loop around them; `recurc verify BUILD --on onnxruntime` runs one")


def _stored(console: Console, folder: Path) -> QuantizedModel:
    """The model that a build's image stores."""
    from recurc.emit.readback import read_model

    return read_model(open_build(console, folder, to_run=False))
