"""A linear layer whose result counts less from row to row: z = norm(z + scale[s] * (W z)), z [S, D]."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from recurc.ops import Constant, LinearRef, Op, RmsNorm, Shape


@dataclass(frozen=True)
class ScaledMix(Op):
    """mix [D, D]; scale is a constant of the image."""

    kind: ClassVar[str] = "scaled_mix"
    mix: LinearRef
    norm: RmsNorm

    @property
    def linears(self) -> tuple[LinearRef, ...]:
        return (self.mix,)

    def constants(self, shape: Shape) -> tuple[Constant, ...]:
        return (Constant("scaled_mix.scale", shape.rows, 1),)


OP = ScaledMix
