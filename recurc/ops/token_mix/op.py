"""SwiGLU over the sequence axis, one row per channel: t = norm(t + down(silu(gate t) * up t)), t = z^T [D, S]."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from recurc.ops.swiglu.shape import SwiGlu


@dataclass(frozen=True)
class TokenMix(SwiGlu):
    """See the top of this module."""

    kind: ClassVar[str] = "token_mix"
    by_channel: ClassVar[bool] = True
    mixes: ClassVar[bool] = True

    @property
    def told(self) -> str:
        return f"MLP over the sequence (width {self.down.k})"


OP = TokenMix
