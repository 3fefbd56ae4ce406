"""Writes .tflite files tensor by tensor: a small layer over the flatbuffer schema that the `tflite-micro` wheel brings.

No converter and no TensorFlow is needed. Only the operators that a recursive block uses are known here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import flatbuffers
import numpy as np
from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as schema

IDENTIFIER = b"TFL3"
SCHEMA_VERSION = 3
ABSENT = -1  # tensor index of an input that is left out (a bias)

# Operator -> class of its options; None: it has none.
OPTIONS: dict[str, str | None] = {
    "ADD": "AddOptions",
    "MUL": "MulOptions",
    "FULLY_CONNECTED": "FullyConnectedOptions",
    "LOGISTIC": None,
    "TRANSPOSE": "TransposeOptions",
    "MEAN": "ReducerOptions",
    "RSQRT": None,
    "BATCH_MATMUL": "BatchMatMulOptions",
    "SOFTMAX": "SoftmaxOptions",
    "SPLIT": "SplitOptions",
    "CONCATENATION": "ConcatenationOptions",
    "RESHAPE": "ReshapeOptions",
    "WHILE": "WhileOptions",
    "LESS": "LessOptions",
}
_TYPES = {"float32": "FLOAT32", "int8": "INT8", "int4": "INT4", "int32": "INT32", "bool": "BOOL"}


@dataclass(frozen=True)
class Quant:
    """real = scale * (q - zero); several scales mean one a row of a weight matrix (zero is 0 then)."""

    scale: tuple[float, ...]
    zero: int = 0

    @staticmethod
    def of_range(low: float, high: float) -> Quant:
        """int8 covering [low, high]; low <= 0 <= high."""
        scale = (high - low) / 255
        return Quant((scale,), round(-128 - low / scale))


@dataclass(frozen=True)
class Tensor:
    """A tensor of one subgraph: its index there, shape, type and quantization."""

    index: int
    shape: tuple[int, ...]
    dtype: str
    quant: Quant | None = None


@dataclass
class Subgraph:
    """Tensors and operators in the order of execution."""

    model: Model
    name: str
    tensors: list[Any] = field(default_factory=list)
    operators: list[Any] = field(default_factory=list)
    inputs: list[int] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)
    _constants: dict[str, Tensor] = field(default_factory=dict)

    def tensor(self, shape: Sequence[int], dtype: str, quant: Quant | None = None, buffer: int = 0) -> Tensor:
        """A new tensor; `buffer` 0 means that it has no constant data."""
        made = schema.TensorT()
        made.shape, made.type, made.buffer = list(shape), getattr(schema.TensorType, _TYPES[dtype]), buffer
        made.name = f"t{len(self.tensors)}"
        if quant is not None:
            made.quantization = schema.QuantizationParametersT()
            made.quantization.scale = list(quant.scale)
            made.quantization.zeroPoint = [quant.zero] * len(quant.scale)
        self.tensors.append(made)
        return Tensor(len(self.tensors) - 1, tuple(shape), dtype, quant)

    def input(self, shape: Sequence[int], dtype: str, quant: Quant | None = None) -> Tensor:
        made = self.tensor(shape, dtype, quant)
        self.inputs.append(made.index)
        return made

    def constant(
        self, key: str, data: np.ndarray, dtype: str, shape: Sequence[int] | None = None, quant: Quant | None = None
    ) -> Tensor:
        """Constant data, stored once in the file for each `key`; `shape` where the bytes are packed (int4)."""
        if key not in self._constants:
            self._constants[key] = self.tensor(
                data.shape if shape is None else shape, dtype, quant, self.model.buffer(key, data)
            )
        return self._constants[key]

    def op(self, name: str, inputs: Sequence[Tensor | None], *outputs: Tensor, **options: Any) -> Tensor:
        """Append an operator; returns its first output."""
        made = schema.OperatorT()
        made.opcodeIndex = self.model.opcode(name)
        made.inputs = [ABSENT if t is None else t.index for t in inputs]
        made.outputs = [t.index for t in outputs]
        kind = OPTIONS[name]
        if kind is not None:
            made.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
            made.builtinOptions = getattr(schema, kind + "T")()
            for key, value in options.items():
                assert hasattr(made.builtinOptions, key), key
                setattr(made.builtinOptions, key, value)
        self.operators.append(made)
        return outputs[0]

    def finish(self, *outputs: Tensor) -> None:
        self.outputs = [t.index for t in outputs]


@dataclass
class Model:
    """A .tflite model: subgraph 0 is the entry."""

    subgraphs: list[Subgraph] = field(default_factory=list)
    _buffers: list[Any] = field(default_factory=lambda: [schema.BufferT()])
    _keys: dict[str, int] = field(default_factory=dict)
    _opcodes: list[str] = field(default_factory=list)

    def subgraph(self, name: str) -> Subgraph:
        self.subgraphs.append(Subgraph(self, name))
        return self.subgraphs[-1]

    def buffer(self, key: str, data: np.ndarray) -> int:
        if key not in self._keys:
            made = schema.BufferT()
            made.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), dtype=np.uint8)
            self._keys[key] = len(self._buffers)
            self._buffers.append(made)
        return self._keys[key]

    def opcode(self, name: str) -> int:
        if name not in self._opcodes:
            self._opcodes.append(name)
        return self._opcodes.index(name)

    def to_bytes(self) -> bytes:
        """The file."""
        model = schema.ModelT()
        model.version, model.buffers = SCHEMA_VERSION, self._buffers
        model.operatorCodes = []
        for name in self._opcodes:
            code = schema.OperatorCodeT()
            code.builtinCode = getattr(schema.BuiltinOperator, name)
            code.deprecatedBuiltinCode = min(code.builtinCode, 127)
            model.operatorCodes.append(code)
        model.subgraphs = []
        for graph in self.subgraphs:
            made = schema.SubGraphT()
            made.tensors, made.operators, made.name = graph.tensors, graph.operators, graph.name
            made.inputs, made.outputs = graph.inputs, graph.outputs
            model.subgraphs.append(made)
        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(model.Pack(builder), IDENTIFIER)
        return bytes(builder.Output())
