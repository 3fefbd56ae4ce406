"""Attention in torch as the original computes it."""

from __future__ import annotations

import torch

from recurc.models.reference import OpReference, Reference, rms_norm
from recurc.ops.attention.op import Attention
from recurc.ops.attention.rotation import rotation


def apply(reference: Reference, op: Attention, h: torch.Tensor) -> torch.Tensor:
    return reference.stored(rms_norm(h + attended(reference, op, h), op.norm.eps))


def attended(reference: Reference, op: Attention, h: torch.Tensor) -> torch.Tensor:
    """What attention adds to h [N, S, D]."""
    n, s, _ = h.shape
    qkv = reference.linear(op.qkv.name, h).view(n, s, 3 * op.heads, op.head_dim)
    q, k, v = torch.split(qkv, op.heads, dim=2)
    if op.rope:
        q, k = (reference.rotate(x, *tables(reference, op)) for x in (q, k))
    q, k, v = (t.transpose(1, 2) for t in (q, k, v))
    out = reference.mix(q, k, v)
    return reference.linear(op.o.name, out.transpose(1, 2).reshape(n, s, -1))


def tables(reference: Reference, op: Attention) -> tuple[torch.Tensor, ...]:
    """cos and sin [S, 1, head_dim]."""
    key = ("rotation", op.head_dim, op.theta)
    if key not in reference.kept:
        tables = (torch.from_numpy(t) for t in rotation(op, reference.config, reference.dtype))
        reference.kept[key] = tuple(torch.cat((t, t), dim=-1)[:, None, :] for t in tables)
    return reference.kept[key]


PART = OpReference(apply)
