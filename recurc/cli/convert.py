"""`recurc convert`: a checkpoint of any accepted form as `config.json` + `model.safetensors`."""

from __future__ import annotations

from pathlib import Path

import click

from recurc.cli.common.groups import takes
from recurc.cli.common.options import checkpoint_argument, data_option, pass_console, resolve_model
from recurc.cli.common.output import Console, bytes_text
from recurc.cli.common.told import Told, told_options


@click.command()
@checkpoint_argument(required=True)
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--dtype", type=click.Choice(["f32", "bf16"]), default="f32", help="Stored precision. Default: f32 (lossless).")
@data_option
@told_options
@takes(told=Told)
@pass_console
def command(console: Console, checkpoint: str, out: Path, dtype: str, data: str | None, told: Told) -> None:
    """Write CHECKPOINT to the folder OUT as config.json and model.safetensors."""
    from recurc.models.checkpoint import save

    reasoner = resolve_model(console, checkpoint, data).load(told.fields)
    save(reasoner, out, dtype)
    size = (out / "model.safetensors").stat().st_size
    console.emit_json({"source": reasoner.source, "out": out, "dtype": dtype, "bytes": size, "tensors": len(reasoner.tensors)})
    console.print(f"wrote {out}/config.json and {out}/model.safetensors ({dtype}, {bytes_text(size)})")
