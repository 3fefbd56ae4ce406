"""Token mixing in torch as the original computes it."""

from __future__ import annotations

from recurc.models.reference import OpReference
from recurc.ops.swiglu.reference import mixed

PART = OpReference(lambda reference, op, h: mixed(reference, op, h.transpose(1, 2)).transpose(1, 2))
