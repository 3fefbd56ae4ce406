"""Channel mixing in NumPy with the device's arithmetic."""

from __future__ import annotations

from recurc.ops.swiglu.twin import mixed
from recurc.quant.twin import OpTwin

PART = OpTwin(mixed)
