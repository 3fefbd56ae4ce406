"""Programs of any shape, for tests of memory."""

from __future__ import annotations

from recurc.ir.lower import lower
from recurc.ir.program import Program
from recurc.models.reasoner import ReasonerConfig


def program(mixer="mlp_t", seq=81, hidden=512, plen=16, ndim=512, heads=8, layers=2, **depth) -> Program:
    pos = "none" if mixer == "mlp_t" else "rope"
    return lower(ReasonerConfig("trm", mixer, seq, 11, 1, hidden, 4, heads, layers, 3, 6, 16, pos, ndim, plen), **depth)
