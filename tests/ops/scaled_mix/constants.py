"""scale[s] = 1 / (1 + s)."""

from __future__ import annotations

import numpy as np

from recurc.quant.model import OpConstants

PART = OpConstants(
    lambda op, config: {"scaled_mix.scale": np.float32(1) / np.arange(1, config.rows + 1, dtype=np.float32)[:, None]}
)
