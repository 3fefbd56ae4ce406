"""In torch."""

from __future__ import annotations

import torch

from recurc.models.reference import OpReference, Reference, rms_norm
from tests.ops.scaled_mix.op import ScaledMix


def apply(reference: Reference, op: ScaledMix, h: torch.Tensor) -> torch.Tensor:
    scale = 1 / torch.arange(1, h.shape[-2] + 1, dtype=h.dtype)[:, None]
    return reference.stored(rms_norm(h + scale * reference.linear(op.mix.name, h), op.norm.eps))


PART = OpReference(apply)
