"""Attention as ONNX nodes."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from recurc.exchange.onnx_graph import Graph, OpOnnx
from recurc.ops.attention.op import Attention


def apply(graph: Graph, op: Attention, z: str) -> str:
    return graph.stored(graph.rms_norm(graph.add("Add", z, _attended(graph, op, z)), op.norm.eps))


def _rope(graph: Graph, x: str, half: int) -> str:
    """Rotary embedding of x [heads, S, 2 * half]."""
    constants = graph.model.constants()
    cos, sin = (graph.constant(constants[name]) for name in ("rope.cos", "rope.sin"))
    low, high = graph.split(x, 2, half, half)
    turned = (graph.add("Sub", graph.add("Mul", low, cos), graph.add("Mul", high, sin)),
              graph.add("Add", graph.add("Mul", high, cos), graph.add("Mul", low, sin)))  # fmt: skip
    return graph.add("Concat", *turned, axis=2)


def _attended(graph: Graph, op: Attention, z: str) -> str:
    heads, s, width = op.heads, graph.model.config.rows, op.head_dim
    quantized = graph.model.weights[op.qkv.name].form.integer
    split = graph.add("Transpose", graph.reshape(graph.linear(z, op.qkv), s, 3, heads, width), perm=[1, 2, 0, 3])
    q, k, v = (graph.reshape(part, heads, s, width) for part in graph.split(split, 0, 1, 1, 1))
    if op.rope:
        q, k = _rope(graph, q, width // 2), _rope(graph, k, width // 2)

    def rounded(x: str, n: int) -> str:
        return graph.reshape(graph.rounded(graph.reshape(x, heads * s, n)), heads, s, n) if quantized else x

    k = graph.add("Transpose", rounded(k, width), perm=[0, 2, 1])
    scores = graph.add("MatMul", rounded(q, width), k)
    scores = graph.add("Mul", scores, graph.number(1.0 / np.sqrt(np.float32(width))))
    p = graph.add("Softmax", scores, axis=-1)
    if quantized:  # a value's scale goes into its probability, which is then rounded as a row
        v, scale = graph.rows(graph.reshape(v, heads * s, width))
        v = graph.reshape(graph.add("Cast", v, to=TensorProto.FLOAT), heads, s, width)
        p = rounded(graph.add("Mul", p, graph.reshape(scale, heads, 1, s)), s)
    out = rounded(graph.add("MatMul", p, v), width)
    return graph.linear(graph.reshape(graph.add("Transpose", out, perm=[1, 0, 2]), s, heads * width), op.o)


PART = OpOnnx(apply)
