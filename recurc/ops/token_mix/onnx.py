"""Token mixing as ONNX nodes."""

from __future__ import annotations

from recurc.exchange.onnx_graph import Graph, OpOnnx
from recurc.ops.swiglu.onnx import mixed
from recurc.ops.token_mix.op import TokenMix


def apply(graph: Graph, op: TokenMix, z: str) -> str:
    t = mixed(graph, op, graph.add("Transpose", z, perm=[1, 0]))
    return graph.add("Transpose", t, perm=[1, 0])


PART = OpOnnx(apply)
