"""A SwiGLU in torch as the original computes it."""

from __future__ import annotations

import torch

from recurc.models.reference import Reference, rms_norm
from recurc.ops.swiglu.shape import SwiGlu


def mixed(reference: Reference, op: SwiGlu, x: torch.Tensor) -> torch.Tensor:
    """norm(x + SwiGLU of x) of rows x [..., k], as the carry stores it."""
    gate, up = reference.linear(op.gate_up.name, x).chunk(2, dim=-1)
    return reference.stored(rms_norm(x + reference.linear(op.down.name, reference.silu_mul(gate, up)), op.norm.eps))
