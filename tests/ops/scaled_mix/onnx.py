"""As ONNX nodes."""

from __future__ import annotations

from recurc.exchange.onnx_graph import Graph, OpOnnx
from tests.ops.scaled_mix.op import ScaledMix


def apply(graph: Graph, op: ScaledMix, z: str) -> str:
    scale = graph.constant(graph.model.constants()["scaled_mix.scale"])
    added = graph.add("Mul", graph.linear(z, op.mix), scale)
    return graph.stored(graph.rms_norm(graph.add("Add", z, added), op.norm.eps))


PART = OpOnnx(apply)
