"""The rotation's tables, computed as the original does: in torch, whose cos and sin the trained model has seen."""

from __future__ import annotations

import numpy as np
import torch

from recurc.ops.attention.op import Attention
from recurc.ops.base import Shape


def rotation(op: Attention, shape: Shape, dtype: torch.dtype = torch.float32) -> tuple[np.ndarray, np.ndarray]:
    """cos and sin tables [S, head_dim / 2], computed in `dtype` (the original repeats each for both halves of a head)."""
    half = torch.arange(0, op.head_dim, 2, dtype=dtype)
    inv_freq = 1.0 / (op.theta ** (half / op.head_dim))
    freqs = torch.outer(torch.arange(shape.rows, dtype=dtype), inv_freq)
    return freqs.cos().numpy(), freqs.sin().numpy()
