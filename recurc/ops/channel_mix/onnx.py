"""Channel mixing as ONNX nodes."""

from __future__ import annotations

from recurc.exchange.onnx_graph import OpOnnx
from recurc.ops.swiglu.onnx import mixed

PART = OpOnnx(mixed)
