"""A checkpoint from its path."""

from __future__ import annotations

from pathlib import Path

from recurc.api.model import Model
from recurc.errors import warn_assumed
from recurc.models.checkpoint import load as load_reasoner
from recurc.models.shards import as_one_file


def load(path: Path | str, data: Path | str | None = None) -> Model:
    """Load a checkpoint: a file or folder of the original code, config.json + model.safetensors, or a bundled example.

    Args:
        data: dataset directory, where the checkpoint's configuration needs it.

    Raises:
        InputError: not a supported checkpoint; says why.

    Warns:
        RecurcWarning: for each thing that was assumed, as in `Model.reasoner.notes`.
    """
    reasoner = load_reasoner(path, data)
    warn_assumed(reasoner.source, reasoner.notes, 1)
    source = as_one_file(Path(reasoner.source))
    name = source.parent.name if source.name in ("model.safetensors", "checkpoint") else source.stem
    return Model(reasoner, name or "model")
