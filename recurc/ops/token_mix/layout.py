"""Scratch of token mixing: its rows are channels, so they are always copied."""

from __future__ import annotations

from recurc.ops.swiglu.layout import buffers
from recurc.plan.layout import OpLayout

PART = OpLayout(lambda z, op, rows, tile: buffers(z, op, tile, copied=True))
