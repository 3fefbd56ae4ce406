"""One op of the IR as ONNX nodes: quantize-dequantize (QDQ) form, weights as constants, one puzzle at a time.

Activations are quantized with a scale a row, computed in the graph. All tensors of tokens or channels are [rows, n].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from recurc.arguments import argument
from recurc.files import write_whole
from recurc.ir.program import Block, LinearRef, Op
from recurc.ops import part
from recurc.quant.arith import ROW_TINY
from recurc.quant.model import QuantizedModel
from recurc.recursion import INPUT

OPSET = 21  # the first with 4-bit weights
IR_VERSION = 10
FLOAT16_MAX = 65504.0
Shape = Sequence[int]


@dataclass(frozen=True)
class OpOnnx:
    """An op's part `onnx`: apply(graph, op, z) -> name of the carry tensor [S, D] after the op, residual and norm included, as
    the carry stores it (`Graph.stored`)."""

    apply: Callable[[Graph, Any, str], str]


class Graph:
    """Nodes and constants in order; each method returns the name of its result."""

    def __init__(self, model: QuantizedModel) -> None:
        self.model = model
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        """A node; its result's name."""
        return self._node(op, (f"{op.lower()}_{len(self.nodes)}",), inputs, attributes)[0]

    def _node(self, op: str, names: tuple[str, ...], inputs: Sequence[str], attributes: Mapping[str, Any]) -> tuple[str, ...]:
        self.nodes.append(helper.make_node(op, list(inputs), list(names), name=names[0], **attributes))
        return names

    def constant(self, value: np.ndarray, name: str = "") -> str:
        name = name or f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def ints(self, *values: int) -> str:
        return self.constant(np.array(values, dtype=np.int64))

    def number(self, value: float) -> str:
        return self.constant(np.asarray(value, np.float32))

    def reshape(self, x: str, *shape: int) -> str:
        return self.add("Reshape", x, self.ints(*shape))

    def split(self, x: str, axis: int, *sizes: int) -> tuple[str, ...]:
        inputs = (x, self.ints(*sizes))
        names = tuple(f"split_{len(self.nodes)}_{i}" for i in range(len(sizes)))
        return self._node("Split", names, inputs, {"axis": axis})

    # -- arithmetic ----------------------------------------------------------------------------------------------

    def rows(self, x: str) -> tuple[str, str]:
        """(int8 rows, scale a row) of x [rows, n]."""
        peak = self.add("ReduceMax", self.add("Abs", x), self.ints(-1), keepdims=0)
        scale = self.add("Div", peak, self.number(127.0))
        scale = self.add("Max", scale, self.number(float(ROW_TINY) / 127.0))  # rows of zeros stay zeros
        return self.add("QuantizeLinear", x, scale, axis=0, output_dtype=TensorProto.INT8), scale

    def rounded(self, x: str) -> str:
        """x [rows, n] as it reads back after quantization."""
        q, scale = self.rows(x)
        return self.add("DequantizeLinear", q, scale, axis=0)

    def weight(self, ref: LinearRef) -> str:
        """The constant [K, N] of a layer."""
        w = self.model.weights[ref.name]
        if not w.form.integer:
            return self.constant(w.dequantized().T.astype(np.float32), ref.name)
        d = w.dequantization()
        scale = self.constant(d.scale.T.astype(np.float32), f"{ref.name}:scale")
        names = [self._integers(ref.name, d.q.T, d.dtype), scale]
        if d.zero is not None:
            names.append(self._integers(f"{ref.name}:zero", d.zero, d.dtype))
        return self.add("DequantizeLinear", *names, **({"axis": 0, "block_size": d.block} if d.block else {"axis": 1}))

    def _integers(self, name: str, values: np.ndarray, dtype: str) -> str:
        """A constant of "int8", "uint8", "int4" or "uint4"."""
        if dtype in ("int8", "uint8"):
            return self.constant(values.astype(dtype), name)
        kind = getattr(TensorProto, dtype.upper())
        self.constants.append(helper.make_tensor(name, kind, values.shape, values.reshape(-1).tolist()))
        return name

    def linear(self, x: str, ref: LinearRef) -> str:
        """x [rows, K] by a layer: [rows, N]."""
        quantized = self.model.weights[ref.name].form.integer
        return self.add("MatMul", self.rounded(x) if quantized else x, self.weight(ref))

    def rms_norm(self, x: str, eps: float) -> str:
        """RMS norm along the last axis."""
        mean = self.add("ReduceMean", self.add("Mul", x, x), self.ints(-1), keepdims=1)
        root = self.add("Sqrt", self.add("Add", mean, self.number(eps)))
        return self.add("Mul", x, self.add("Reciprocal", root))

    def stored(self, x: str) -> str:
        """Rows as they read back from the carry."""
        carry = self.model.program.carry
        if carry == "int8":
            return self.rounded(x)
        if carry == "fp16":
            clipped = self.add("Clip", x, self.number(-FLOAT16_MAX), self.number(FLOAT16_MAX))
            return self.add("Cast", self.add("Cast", clipped, to=TensorProto.FLOAT16), to=TensorProto.FLOAT)
        return x

    def op(self, op: Op, z: str) -> str:
        """An op applied to the carry tensor z [S, D]. Raises OpError where the op has no part `onnx`."""
        return part(op, "onnx", OpOnnx).apply(self, op, z)

    # -- file ----------------------------------------------------------------------------------------------------

    def save(self, path: Path, inputs: Mapping[str, tuple[int, Shape]], outputs: Mapping[str, tuple[str, Shape]]) -> None:
        """Write the graph. inputs: name -> (element type, shape); outputs: name -> (result, shape), all float."""
        for name, (source, _) in outputs.items():
            self.nodes.append(helper.make_node("Identity", [source], [name], name=f"to_{name}"))
        taken = [helper.make_tensor_value_info(n, kind, shape) for n, (kind, shape) in inputs.items()]
        given = [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n, (_, shape) in outputs.items()]
        graph = helper.make_graph(self.nodes, path.stem, taken, given, self.constants)
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="recurc"
        )
        onnx.checker.check_model(model)
        write_whole(
            path,
            model.SerializeToString(),
            "the ONNX graph",
            f"Name another folder with {argument('out', option='onnx')}",
            follow=False,
        )


def write_block(model: QuantizedModel, block: Block, path: Path) -> None:
    """next = block(z + added), z and added [S, D]."""
    shape, g = (model.config.rows, model.config.hidden_size), Graph(model)
    z = g.add("Add", "z", "added")
    for op in block.ops:
        z = g.op(op, z)
    g.save(path, {n: (TensorProto.FLOAT, shape) for n in ("z", "added")}, {"next": (z, shape)})


def write_heads(model: QuantizedModel, path: Path) -> None:
    """logits [seq_len, vocab] and q [2] (halt, continue) of z [S, D]."""
    c, g = model.config, Graph(model)
    first, rows = g.add("Slice", "z", g.ints(0), g.ints(1), g.ints(0)), "z"
    if c.puzzle_rows:
        rows = g.add("Slice", "z", g.ints(c.puzzle_rows), g.ints(c.rows), g.ints(0))
    q = g.reshape(g.linear(first, model.program.q_head), 2)
    q = g.add("Add", q, g.constant(model.vectors[model.program.heads.q_bias.name]))
    logits = g.linear(rows, model.program.lm_head)
    g.save(
        path,
        {"z": (TensorProto.FLOAT, (c.rows, c.hidden_size))},
        {"logits": (logits, (c.seq_len, c.vocab_size)), "q": (q, (2,))},
    )


def write_start(model: QuantizedModel, path: Path) -> None:
    """X and the states [S, D] of tokens [seq_len] and, where the model has puzzle embeddings, of `puzzle`: its number [1], or
    its row [ndim] where the table is streamed.
    """
    c, g = model.config, Graph(model)
    shape, inputs = (c.rows, c.hidden_size), {"tokens": (TensorProto.INT64, (c.seq_len,))}
    x = g.add("Gather", g.constant(model.tables["tokens"], "tokens_table"), "tokens", axis=0)
    if c.puzzle_rows:
        head = g.constant(np.zeros((c.puzzle_rows, c.hidden_size), np.float32))
        if c.puzzle_emb_ndim:
            row = "puzzle"
            inputs["puzzle"] = (TensorProto.FLOAT, (c.puzzle_emb_ndim,))
            if model.program.puzzle_table is None:
                inputs["puzzle"] = (TensorProto.INT64, (1,))
                row = g.add("Gather", g.constant(model.tables["puzzles"], "puzzles_table"), "puzzle", axis=0)
                row = g.reshape(row, c.puzzle_emb_ndim)
            spare = c.puzzle_rows * c.hidden_size - c.puzzle_emb_ndim
            head = g.reshape(g.add("Pad", row, g.ints(0, spare)), c.puzzle_rows, c.hidden_size)
        x = g.add("Concat", head, x, axis=0)
    if "positions" in model.tables:
        x = g.add("Add", x, g.constant(model.tables["positions"]))
    outputs = {INPUT: (x, shape)}
    for state in model.program.states:
        filled = g.constant(np.broadcast_to(model.vectors[state.start.name], shape).astype(np.float32))
        outputs[state.name] = (g.stored(filled), shape)
    g.save(path, inputs, outputs)
