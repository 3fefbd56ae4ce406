"""The layers of a SwiGLU."""

from __future__ import annotations

from dataclasses import dataclass

from recurc.ops.base import LinearRef, Op, RmsNorm


@dataclass(frozen=True)
class SwiGlu(Op):
    """x = norm(x + down(silu(gate x) * up x)) on rows x of length k. gate_up [2 * inner, k], down [k, inner]."""

    gate_up: LinearRef
    down: LinearRef
    norm: RmsNorm

    @property
    def linears(self) -> tuple[LinearRef, ...]:
        return (self.gate_up, self.down)
