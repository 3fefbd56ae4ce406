"""Full self-attention: z = norm(z + o(softmax(q k^T / sqrt(head_dim)) v)), z [S, D]."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from recurc.ops.base import LATER, Constant, LinearRef, Op, RmsNorm, Shape


@dataclass(frozen=True)
class Attention(Op):
    """qkv [3 * D, D], o [D, D]; `rope`: q and k are turned by a rotary embedding with base `theta`.

    grid: 0, and a row turns by its position; or the side of a square of cells, the last rows of S, each of which turns by its
    row and its column in the square (the rows before them by their position).
    """

    kind: ClassVar[str] = "attention"
    mixes: ClassVar[bool] = True
    qkv: LinearRef
    o: LinearRef
    heads: int
    head_dim: int
    norm: RmsNorm
    rope: bool = False
    theta: float = 10000.0
    grid: int = field(default=0, metadata=LATER)

    @property
    def linears(self) -> tuple[LinearRef, ...]:
        return (self.qkv, self.o)

    @property
    def told(self) -> str:
        return f"attention, {self.heads} heads"

    def macs(self, shape: Shape) -> int:
        return super().macs(shape) + 2 * self.heads * self.head_dim * shape.rows * shape.rows

    def constants(self, shape: Shape) -> tuple[Constant, ...]:
        """The rotation's cos and sin for each position and half a head."""
        if not self.rope:
            return ()
        return tuple(Constant(name, shape.rows, self.head_dim // 2) for name in ("rope.cos", "rope.sin"))


OP = Attention
