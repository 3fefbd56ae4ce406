"""A SwiGLU as ONNX nodes."""

from __future__ import annotations

from recurc.exchange.onnx_graph import Graph
from recurc.ops.swiglu.shape import SwiGlu


def mixed(graph: Graph, op: SwiGlu, x: str) -> str:
    """norm(x + SwiGLU of x) of rows x [rows, k], as the carry stores them."""
    gate, up = graph.split(graph.linear(x, op.gate_up), 1, op.gate_up.part_n, op.gate_up.part_n)
    silu = graph.add("Mul", gate, graph.add("Sigmoid", gate))
    added = graph.linear(graph.add("Mul", silu, up), op.down)
    return graph.stored(graph.rms_norm(graph.add("Add", x, added), op.norm.eps))
