"""The rotation's tables, computed as the original does: in torch, whose cos and sin the trained model has seen."""

from __future__ import annotations

import numpy as np
import torch

from recurc.ops.attention.op import Attention
from recurc.ops.base import Shape


def rotation(op: Attention, shape: Shape, dtype: torch.dtype = torch.float32) -> tuple[np.ndarray, np.ndarray]:
    """cos and sin tables [S, head_dim / 2], computed in `dtype` (the original repeats each for both halves of a head).

    On a grid the first half of the columns are a cell's row, the second half its column, both times the first half of the
    frequencies (nano-trm, `RotaryEmbedding2D`).
    """
    half = torch.arange(0, op.head_dim, 2, dtype=dtype)
    inv_freq = 1.0 / (op.theta ** (half / op.head_dim))
    freqs = torch.outer(torch.arange(shape.rows, dtype=dtype), inv_freq)
    if op.grid:
        cells = torch.arange(op.grid**2)
        turns = [torch.outer(place.to(dtype), inv_freq[: len(inv_freq) // 2]) for place in (cells // op.grid, cells % op.grid)]
        freqs[-len(cells) :] = torch.cat(turns, dim=1)
    return freqs.cos().numpy(), freqs.sin().numpy()
