"""Exports one block call and the heads to ONNX by hand, and quantizes them with onnxruntime's own tools.

Runs in the peer's environment. Matrices are stored [K, N], as MatMul takes them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

OPSET = 21
Feed = Mapping[str, np.ndarray]


class _Graph:
    """Nodes and initializers in order; each method returns the name of its result."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def add(self, op: str, *inputs: str, **attributes: object) -> str:
        name = f"{op.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], name=name, **attributes))
        return name

    def constant(self, value: np.ndarray) -> str:
        name = f"constant_{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def linear(self, x: str, weight: np.ndarray) -> str:
        """x [rows, K] with weight [N, K]."""
        return self.add("MatMul", x, self.constant(weight.T.astype(np.float32)))

    def norm(self, x: str, eps: float, n: int) -> str:
        """RMS norm in the form that onnxruntime fuses into one kernel."""
        square = self.add("Pow", x, self.constant(np.float32(2.0)))
        mean = self.add("ReduceMean", square, self.constant(np.array([-1], np.int64)), keepdims=1)
        root = self.add("Sqrt", self.add("Add", mean, self.constant(np.float32(eps))))
        return self.add("Mul", self.add("Div", x, root), self.constant(np.ones(n, np.float32)))

    def swiglu(self, x: str, gate_up: np.ndarray, down: np.ndarray) -> str:
        inner = len(gate_up) // 2
        both = self.linear(x, gate_up)
        sizes = self.constant(np.array([inner, inner], np.int64))
        gate, up = f"gate_{len(self.nodes)}", f"up_{len(self.nodes)}"
        self.nodes.append(helper.make_node("Split", [both, sizes], [gate, up], name=f"split_{len(self.nodes)}", axis=-1))
        silu = self.add("Mul", gate, self.add("Sigmoid", gate))
        return self.linear(self.add("Mul", silu, up), down)

    def save(
        self, path: Path, inputs: Mapping[str, tuple[int, int]], outputs: Mapping[str, tuple[str, tuple[int, int]]]
    ) -> Path:
        for name, (source, _) in outputs.items():
            self.nodes.append(helper.make_node("Identity", [source], [name], name=f"to_{name}"))
        values = [
            [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n, shape in group.items()]
            for group in (inputs, {n: shape for n, (_, shape) in outputs.items()})
        ]
        graph = helper.make_graph(self.nodes, "recurc_benchmark", *values, self.initializers)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
        onnx.checker.check_model(model)
        onnx.save(model, path)
        return path


@dataclass(frozen=True)
class Export:
    """The model as recurc hands it over: float32 arrays by name, and the depth of a supervision step.

    x [P, S, D]: input rows of P puzzles. layers: (token gate_up, token down, channel gate_up, channel down) each.
    """

    arrays: Mapping[str, np.ndarray]

    @property
    def x(self) -> np.ndarray:
        return self.arrays["x"]

    @property
    def cycles(self) -> tuple[int, int]:
        h, low = self.arrays["cycles"]
        return int(h), int(low)

    def layers(self) -> Iterator[tuple[np.ndarray, ...]]:
        for i in range(int(self.arrays["layers"])):
            yield tuple(self.arrays[f"{i}.{name}"] for name in ("token_up", "token_down", "up", "down"))


def export_block(model: Export, path: Path) -> Path:
    """One block call: z' = block(z + injection)."""
    s, d = model.x.shape[1:]
    eps, g = float(model.arrays["eps"]), _Graph()
    h = g.add("Add", "z", "injection")
    for token_up, token_down, up, down in model.layers():
        t = g.add("Transpose", h, perm=[1, 0])
        t = g.norm(g.add("Add", t, g.swiglu(t, token_up, token_down)), eps, s)
        h = g.add("Transpose", t, perm=[1, 0])
        h = g.norm(g.add("Add", h, g.swiglu(h, up, down)), eps, d)
    return g.save(path, {"z": (s, d), "injection": (s, d)}, {"next": (h, (s, d))})


def export_heads(model: Export, path: Path) -> Path:
    """logits of every row, q of row 0."""
    s, d = model.x.shape[1:]
    lm, q, g = model.arrays["lm_head"], model.arrays["q_head"], _Graph()
    first = g.add("Slice", "z", *(g.constant(np.array([v], np.int64)) for v in (0, 1, 0)))
    both = g.add("Add", g.linear(first, q), g.constant(model.arrays["q_bias"].astype(np.float32)))
    return g.save(path, {"z": (s, d)}, {"logits": (g.linear("z", lm), (s, len(lm))), "q": (both, (1, 2))})


class _Feeds(CalibrationDataReader):
    def __init__(self, feeds: list[Feed]) -> None:
        self._left = iter(feeds)

    def get_next(self) -> Feed | None:
        return next(self._left, None)


def quantized(source: Path, folder: Path, feeds: list[Feed]) -> dict[str, Path]:
    """Variants of a graph: name -> file. `feeds` calibrate the static one."""
    made = {"fp32": source}
    made["int8 dynamic"] = folder / f"{source.stem}_dynamic.onnx"
    quantize_dynamic(source, made["int8 dynamic"], per_channel=True, weight_type=QuantType.QInt8)
    made["int8 static"] = folder / f"{source.stem}_static.onnx"
    quantize_static(
        source,
        made["int8 static"],
        _Feeds(feeds),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        op_types_to_quantize=["MatMul"],
    )
    for level, name in ((4, "int4 MatMulNBits"), (0, "int4 MatMulNBits, fp32 compute")):
        four = MatMulNBitsQuantizer(onnx.load(source), bits=4, block_size=32, is_symmetric=False, accuracy_level=level)
        four.process()
        made[name] = folder / f"{source.stem}_nbits{level}.onnx"
        four.model.save_model_to_file(str(made[name]))
    return made
