"""The rotation's tables as the image has them."""

from __future__ import annotations

from recurc.ops.attention.rotation import rotation
from recurc.quant.model import OpConstants

PART = OpConstants(lambda op, config: dict(zip(("rope.cos", "rope.sin"), rotation(op, config))))
