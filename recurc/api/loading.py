"""A checkpoint from its path."""

from __future__ import annotations

from pathlib import Path

from recurc.api.model import Model
from recurc.errors import warn_assumed
from recurc.models.checkpoint import load as load_reasoner
from recurc.models.shards import as_one_file


def load(
    path: Path | str, data: Path | str | None = None, *,
    seq_len: int | None = None, num_heads: int | None = None, pos_encodings: str | None = None,
) -> Model:  # fmt: skip
    """Load a checkpoint: a file or folder of the original code, config.json + model.safetensors, or a bundled example.

    Args:
        data: dataset directory, where the checkpoint's configuration needs it.
        seq_len, num_heads, pos_encodings: what no file beside the checkpoint says of it: cells, attention heads, and "rope",
            "rope2d-nano", "learned" or "none". Where a file says otherwise that is refused.

    Raises:
        InputError: not a supported checkpoint; says why.

    Warns:
        RecurcWarning: for each thing that was assumed, as in `Model.reasoner.notes`.
    """
    told = {"seq_len": seq_len, "num_heads": num_heads, "pos_encodings": pos_encodings}
    reasoner = load_reasoner(path, data, told)
    warn_assumed(reasoner.source, reasoner.notes, 1)
    source = as_one_file(Path(reasoner.source))
    name = source.parent.name if source.name in ("model.safetensors", "checkpoint") else source.stem
    return Model(reasoner, name or "model")
