"""SwiGLU over the features of each token: z = norm(z + down(silu(gate z) * up z)), z [S, D]."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from recurc.ops.swiglu.shape import SwiGlu


@dataclass(frozen=True)
class ChannelMix(SwiGlu):
    """See the top of this module."""

    kind: ClassVar[str] = "channel_mix"

    @property
    def told(self) -> str:
        return f"SwiGLU width {self.down.k}"


OP = ChannelMix
