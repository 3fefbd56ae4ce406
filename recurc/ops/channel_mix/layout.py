"""Scratch of channel mixing: an fp32 carry is mixed in its own memory."""

from __future__ import annotations

from recurc.ops.swiglu.layout import buffers
from recurc.plan.layout import OpLayout

PART = OpLayout(lambda z, op, rows, tile: buffers(z, op, tile, copied=z.program.carry != "fp32"))
