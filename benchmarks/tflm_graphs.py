"""The recursive block as TensorFlow Lite graphs: one call, one supervision step unrolled, one step with WHILE loops.

Block: two layers of (token mixing or attention) and channel mixing, each SwiGLU or softmax attention with a residual and
an RMSNorm after it, as in the Tiny Recursive Model. Weights are random: memory depends on shapes only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.tflite_writer import Model, Quant, Subgraph, Tensor

EPS = 1e-5
# Ranges of int8 activations. Rows have a mean square of 1 after each norm and the weights keep that scale, so these hold
# for random weights; a converter would find similar ones by calibration. Sigmoid and softmax are fixed by the format.
RANGES = {
    "carry": (-6.0, 6.0),
    "sum": (-8.0, 8.0),
    "square": (0.0, 64.0),
    "mean": (0.0, 8.0),
    "rsqrt": (0.0, 8.0),
    "linear": (-8.0, 8.0),
    "silu": (-1.0, 8.0),
    "product": (-16.0, 16.0),
    "scores": (-32.0, 32.0),
    "table": (-1.0, 1.0),
}
UNIT = Quant((1 / 256,), -128)


@dataclass(frozen=True)
class Shape:
    """A block's shape. rows S, hidden D, inner: width of channel mixing; inner_t: of token mixing (0: attention)."""

    rows: int
    hidden: int
    inner: int
    inner_t: int
    heads: int
    layers: int
    h_cycles: int
    l_cycles: int


@dataclass(frozen=True)
class Variant:
    """How the graph is written.

    weights: "float32" (everything is), "int8" (a scale a tensor), "int8-channel" (a scale an output channel) or "int4"
    (a scale a tensor, the only form the runtime takes).
    graph: "call", "step" (unrolled) or "while". heads: attention "together" (as a converter emits it) or "one by one".
    """

    weights: str
    graph: str
    heads: str = "one by one"


def random_weights(shape: Shape, seed: int = 0) -> dict[str, np.ndarray]:
    """Float weights [n, k] by name, scaled by 1 / sqrt(k)."""
    rng = np.random.default_rng(seed)
    s, d = shape.rows, shape.hidden
    sizes: dict[str, tuple[int, int]] = {}
    for i in range(shape.layers):
        if shape.inner_t:
            sizes |= {f"{i}.t.gate": (shape.inner_t, s), f"{i}.t.up": (shape.inner_t, s), f"{i}.t.down": (s, shape.inner_t)}
        else:
            sizes |= {f"{i}.{name}": (d, d) for name in ("q", "k", "v", "o")}
        sizes |= {f"{i}.c.gate": (shape.inner, d), f"{i}.c.up": (shape.inner, d), f"{i}.c.down": (d, shape.inner)}
    return {name: (rng.standard_normal(size) / np.sqrt(size[1])).astype(np.float32) for name, size in sizes.items()}


def rope_tables(rows: int, head_dim: int) -> tuple[np.ndarray, np.ndarray]:
    """cos and sin [S, head_dim]; the sine is negated in the first half, where it meets the second half's values."""
    frequency = 10000.0 ** (-np.arange(0, head_dim, 2) / head_dim)
    angle = np.outer(np.arange(rows), frequency)
    sin = np.sin(angle)
    return np.tile(np.cos(angle), 2).astype(np.float32), np.hstack([-sin, sin]).astype(np.float32)


class Builder:
    """Writes blocks into the subgraphs of one model."""

    def __init__(self, shape: Shape, variant: Variant, weights: dict[str, np.ndarray]):
        self.shape, self.variant, self.weights = shape, variant, weights
        self.model = Model()
        self.dtype = "float32" if variant.weights == "float32" else "int8"

    # -- tensors -------------------------------------------------------------------------------------------------

    def quant(self, kind: str) -> Quant | None:
        if self.dtype == "float32":
            return None
        return UNIT if kind == "unit" else Quant.of_range(*RANGES[kind])

    def new(self, g: Subgraph, shape: tuple[int, ...], kind: str) -> Tensor:
        return g.tensor(shape, self.dtype, self.quant(kind))

    def state(self, g: Subgraph) -> Tensor:
        return g.input((self.shape.rows, self.shape.hidden), self.dtype, self.quant("carry"))

    def index(self, g: Subgraph, key: str, values: list[int]) -> Tensor:
        return g.constant(key, np.array(values, dtype=np.int32), "int32")

    def weight(self, g: Subgraph, name: str, w: np.ndarray) -> Tensor:
        """A weight matrix in the variant's form."""
        if self.variant.weights == "float32":
            return g.constant(name, w, "float32")
        limit = 7 if self.variant.weights == "int4" else 127
        peak = np.abs(w).max(axis=1) if self.variant.weights == "int8-channel" else np.abs(w).max(keepdims=True)[0]
        scale = peak / limit
        q = np.rint(w / scale.reshape(-1, 1)).astype(np.int8)
        quant = Quant(tuple(float(x) for x in scale))
        if self.variant.weights == "int4":
            flat = q.reshape(-1).astype(np.uint8) & 15
            packed = flat[0::2] | (flat[1::2] << 4)
            return g.constant(name, packed, "int4", w.shape, quant)
        return g.constant(name, q, "int8", quant=quant)

    def fixed(self, g: Subgraph, key: str, values: np.ndarray, kind: str) -> Tensor:
        """A constant operand of elementwise operators."""
        quant = self.quant(kind)
        if quant is None:
            return g.constant(key, values, "float32")
        q = np.clip(np.rint(values / quant.scale[0]) + quant.zero, -128, 127).astype(np.int8)
        return g.constant(key, q, "int8", quant=quant)

    # -- pieces --------------------------------------------------------------------------------------------------

    def linear(self, g: Subgraph, x: Tensor, name: str, rows: slice | None = None) -> Tensor:
        w = self.weights[name]
        if rows is not None:
            w, name = w[rows], f"{name}[{rows.start}:{rows.stop}]"
        out = self.new(g, (*x.shape[:-1], len(w)), "linear")
        return g.op("FULLY_CONNECTED", (x, self.weight(g, name, w), None), out)

    def add(self, g: Subgraph, a: Tensor, b: Tensor, kind: str = "sum") -> Tensor:
        return g.op("ADD", (a, b), self.new(g, a.shape, kind))

    def mul(self, g: Subgraph, a: Tensor, b: Tensor, kind: str) -> Tensor:
        return g.op("MUL", (a, b), self.new(g, a.shape, kind))

    def norm(self, g: Subgraph, x: Tensor) -> Tensor:
        """RMSNorm over the last axis. In int8 the epsilon is below half a quantum, so it is left out."""
        column = (*x.shape[:-1], 1)
        axis = self.index(g, "last-axis", [len(x.shape) - 1])
        mean = g.op("MEAN", (self.mul(g, x, x, "square"), axis), self.new(g, column, "mean"), keepDims=True)
        if self.dtype == "float32":
            mean = self.add(g, mean, self.fixed(g, "eps", np.full((1,), EPS, dtype=np.float32), "mean"), "mean")
        return self.mul(g, x, g.op("RSQRT", (mean,), self.new(g, column, "rsqrt")), "carry")

    def swiglu(self, g: Subgraph, x: Tensor, name: str) -> Tensor:
        gate = self.linear(g, x, f"{name}.gate")
        silu = self.mul(g, gate, g.op("LOGISTIC", (gate,), self.new(g, gate.shape, "unit")), "silu")
        # "up" comes last so that at most three of the wide tensors are alive at a time.
        return self.linear(g, self.mul(g, silu, self.linear(g, x, f"{name}.up"), "product"), f"{name}.down")

    def transpose(self, g: Subgraph, x: Tensor, order: tuple[int, ...]) -> Tensor:
        perm = self.index(g, f"perm{order}", list(order))
        out = g.tensor([x.shape[i] for i in order], x.dtype, x.quant)
        return g.op("TRANSPOSE", (x, perm), out)

    def rotate(self, g: Subgraph, x: Tensor) -> Tensor:
        """Rotary embedding of [..., S, head_dim]."""
        dim, last = x.shape[-1], len(x.shape) - 1
        halves = [g.tensor((*x.shape[:-1], dim // 2), x.dtype, x.quant) for _ in range(2)]
        g.op("SPLIT", (self.index(g, f"axis{last}", [last]), x), *halves, numSplits=2)
        swapped = g.op("CONCATENATION", halves[::-1], g.tensor(x.shape, x.dtype, x.quant), axis=last)
        cos, sin = (self.fixed(g, key, table, "table") for key, table in zip(("cos", "sin"), rope_tables(self.shape.rows, dim)))
        return self.add(g, self.mul(g, x, cos, "linear"), self.mul(g, swapped, sin, "linear"), "linear")

    def mixed(self, g: Subgraph, q: Tensor, k: Tensor, v: Tensor, v_order: tuple[int, ...]) -> Tensor:
        """softmax(q k^T / sqrt(head_dim)) v; V is transposed by an operator, which costs less than inside BATCH_MATMUL."""
        head_dim = q.shape[-1]
        square = (*q.shape[:-1], q.shape[-2])
        scores = g.op("BATCH_MATMUL", (self.rotate(g, q), self.rotate(g, k)), self.new(g, square, "scores"), adjY=True)
        p = g.op("SOFTMAX", (scores,), self.new(g, square, "unit"), beta=head_dim**-0.5)
        return g.op("BATCH_MATMUL", (p, self.transpose(g, v, v_order)), self.new(g, q.shape, "linear"), adjY=True)

    def attention(self, g: Subgraph, x: Tensor, layer: int) -> Tensor:
        s, d, heads = self.shape.rows, self.shape.hidden, self.shape.heads
        dim = d // heads
        if self.variant.heads == "one by one":
            parts = []
            for h in range(heads):
                rows = slice(h * dim, (h + 1) * dim)
                q, k, v = (self.linear(g, x, f"{layer}.{name}", rows) for name in ("q", "k", "v"))
                parts.append(self.mixed(g, q, k, v, (1, 0)))
            joined = g.op("CONCATENATION", parts, self.new(g, (s, d), "linear"), axis=1)
        else:

            def split(y: Tensor) -> Tensor:  # [S, D] -> [heads, S, head_dim]
                shape = (s, heads, dim)
                y = g.op(
                    "RESHAPE",
                    (y, self.index(g, f"shape{shape}", list(shape))),
                    g.tensor(shape, y.dtype, y.quant),
                    newShape=list(shape),
                )
                return self.transpose(g, y, (1, 0, 2))

            q, k, v = (split(self.linear(g, x, f"{layer}.{name}")) for name in ("q", "k", "v"))
            y = self.transpose(g, self.mixed(g, q, k, v, (0, 2, 1)), (1, 0, 2))
            joined = g.op(
                "RESHAPE", (y, self.index(g, f"shape{(s, d)}", [s, d])), g.tensor((s, d), y.dtype, y.quant), newShape=[s, d]
            )
        return self.linear(g, joined, f"{layer}.o")

    def block(self, g: Subgraph, z: Tensor) -> Tensor:
        """One call of the block."""
        for i in range(self.shape.layers):
            if self.shape.inner_t:
                t = self.transpose(g, z, (1, 0))
                t = self.norm(g, self.add(g, t, self.swiglu(g, t, f"{i}.t")))
                z = self.transpose(g, t, (1, 0))
            else:
                z = self.norm(g, self.add(g, z, self.attention(g, z, i)))
            z = self.norm(g, self.add(g, z, self.swiglu(g, z, f"{i}.c")))
        return z

    # -- whole graphs --------------------------------------------------------------------------------------------

    def low(self, g: Subgraph, z_h: Tensor, z_l: Tensor, x: Tensor) -> Tensor:
        """z_L <- block(z_L + (z_H + X))."""
        return self.block(g, self.add(g, z_l, self.add(g, z_h, x)))

    def high(self, g: Subgraph, z_h: Tensor, z_l: Tensor) -> Tensor:
        """z_H <- block(z_H + z_L)."""
        return self.block(g, self.add(g, z_h, z_l))

    def call(self) -> None:
        g = self.model.subgraph("call")
        g.finish(self.low(g, *(self.state(g) for _ in range(3))))

    def step(self) -> None:
        """Every call of one supervision step, one after the other; all share the weights."""
        g = self.model.subgraph("step")
        z_h, z_l, x = (self.state(g) for _ in range(3))
        for _ in range(self.shape.h_cycles):
            for _ in range(self.shape.l_cycles):
                z_l = self.low(g, z_h, z_l, x)
            z_h = self.high(g, z_h, z_l)
        g.finish(z_h, z_l)

    def while_step(self) -> None:
        """The same as two nested WHILE loops. State of both: counter, z_H, z_L, X."""
        main, outer, inner = (self.model.subgraph(name) for name in ("step", "h_cycle", "l_cycle"))
        conditions = [self.condition(count) for count in (self.shape.h_cycles, self.shape.l_cycles)]

        def states(g: Subgraph) -> tuple[Tensor, ...]:
            return g.input((1,), "int32"), *(self.state(g) for _ in range(3))

        def loop(g: Subgraph, counter: Tensor, z: tuple[Tensor, ...], condition: int, body: int) -> tuple[Tensor, ...]:
            out = (g.tensor((1,), "int32"), *(self.new(g, t.shape, "carry") for t in z))
            g.op("WHILE", (counter, *z), *out, condSubgraphIndex=condition, bodySubgraphIndex=body)
            return out

        def counted(g: Subgraph, counter: Tensor) -> Tensor:
            return g.op("ADD", (counter, self.index(g, "one", [1])), g.tensor((1,), "int32"))

        z = tuple(self.state(main) for _ in range(3))
        main.finish(*loop(main, self.index(main, "zero", [0]), z, conditions[0], 1)[1:3])
        i, z_h, z_l, x = states(outer)
        _, z_h, z_l, x = loop(outer, self.index(outer, "zero", [0]), (z_h, z_l, x), conditions[1], 2)
        outer.finish(counted(outer, i), self.high(outer, z_h, z_l), z_l, x)
        i, z_h, z_l, x = states(inner)
        inner.finish(counted(inner, i), z_h, self.low(inner, z_h, z_l, x), x)

    def condition(self, count: int) -> int:
        """Index of a subgraph that tells whether the counter is below `count`."""
        g = self.model.subgraph(f"below_{count}")
        counter = g.input((1,), "int32")
        for _ in range(3):
            self.state(g)
        g.finish(g.op("LESS", (counter, self.index(g, f"count{count}", [count])), g.tensor((1,), "bool")))
        return len(self.model.subgraphs) - 1


def build(shape: Shape, variant: Variant, weights: dict[str, np.ndarray] | None = None) -> bytes:
    """A .tflite file of a block in one of its forms."""
    builder = Builder(shape, variant, random_weights(shape) if weights is None else weights)
    {"call": builder.call, "step": builder.step, "while": builder.while_step}[variant.graph]()
    return builder.model.to_bytes()
