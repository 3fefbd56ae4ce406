"""Test vectors of the kernels: inputs as records for driver.c, and the outputs that the NumPy twin expects."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import product

import numpy as np

from recurc.quant import arith
from recurc.quant.arith import F32
from recurc.quant.scheme_int2_g32 import FORM as GROUPED2
from recurc.storage import GROUPED, INT2, INT3, INT4
from recurc.storage.channel import PerChannel
from recurc.storage.grouped import GroupWeights
from recurc.storage.packings import APART, LANES, PAIRS, PANELS, SIXTEENS, Packing
from recurc.storage.packings.packing import up

WORDS, ARRAYS, ALIGN = 32, 11, 64
GUARD = b"\xa5" * 64
LEVELS = {INT3: range(8), INT2: (0, 2, 4, 6), GROUPED2: (-3, -1, 1, 3)}  # of forms that are widened
OPS = {
    "quantize_pairs": 1,
    "quantize8": 2,
    "tile_s4": 5,
    "linear": 6,
    "silu_mul": 7,
    "rms_norm": 8,
    "softmax": 9,
    "rope": 10,
    "dot_s8": 11,
    "dot_f32": 12,
    "exp": 13,
    "tile_s8": 14,
    "unpack_s2": 15,
    "unpack_s3": 17,
    "unpack_g2": 35,
    "tile_g32": 18,
    "tile_g32_dsp": 19,
    "gemm_g32": 34,
    "tile_g32_rvv": 56,
    "tile_s8_dsp": 16,
    "tile_s4_dsp": 20,
    "dot_s8_dsp": 33,
    "gemm8": 21,
    "linear_panel": 22,
    "gemm4": 23,
    "host_quantize8": 24,
    "host_silu_mul": 25,
    "host_rms_rows": 26,
    "host_softmax": 27,
    "host_rope": 28,
    "host_dot_s8": 29,
    "host_dot_f32": 30,
    "host_swiglu": 31,
    "host_transpose": 32,
    "tile_s4_mve": 40,
    "tile_s8_mve": 41,
    "quantize8_mve": 42,
    "silu_mul_mve": 43,
    "dot_s8_mve": 44,
    "rms_norm_mve": 45,
    "softmax_mve": 46,
    "scale_row_mve": 47,
    "tile_g32_mve": 48,
    "tile_s4_rvv": 50,
    "tile_s8_rvv": 51,
    "quantize8_rvv": 52,
    "silu_mul_rvv": 53,
    "softmax_rvv": 54,
    "dot_s8_rvv": 55,
}
MVE_ROWS = ("quantize8", "silu_mul", "dot_s8", "rms_norm", "softmax")
DEPTHS = (1, 7, 8, 97, 1536)
TILE_DEPTHS = (1, 7, 8, 15, 24, 40, 64, 97, 104, 1536)
TINY_ROW = 2.0**-96


@dataclass(frozen=True)
class Case:
    """One call: op (see OPS), a name for messages, parameters, input arrays (array, misalignment in bytes), outputs."""

    op: str
    name: str
    params: tuple[int, ...]
    arrays: tuple[tuple[np.ndarray, int], ...]
    outputs: tuple[np.ndarray, ...] = field(repr=False)

    def record(self) -> bytes:
        """The record that driver.c reads."""
        at, table, body = WORDS * 4, [], b""
        for array, skew in self.arrays:
            pad = -(at + len(body)) % ALIGN + skew
            body += bytes(pad)
            table += [at + len(body), array.nbytes]
            body += np.ascontiguousarray(array).tobytes()
        body += bytes(-(at + len(body)) % ALIGN)
        head = [OPS[self.op], at + len(body), *self.params, *[0] * (8 - len(self.params)), *table]
        return struct.pack(f"<{WORDS}I", *head, *[0] * (WORDS - len(head))) + body

    def expected(self) -> bytes:
        """What the driver sends for it."""
        return b"".join(o.tobytes() + GUARD for o in self.outputs)

    def as_op(self, op: str) -> Case:
        """The same call of another kernel."""
        return Case(op, self.name, self.params, self.arrays, self.outputs)


def padded(k: int) -> int:
    return -(-k // 8) * 8


def extreme_rows(n: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Rows of length n that arithmetic could stumble over; all finite."""
    top = np.finfo(np.float32).max
    ties = (np.arange(n) % 127 - 63).astype(F32) + F32(0.5)
    ties[0] = 127.0
    return {
        "zeros": np.zeros(n, F32),
        "negative zeros": np.full(n, -0.0, F32),
        "largest magnitudes": np.where(rng.random(n) < 0.5, -top, top).astype(F32),
        "all at -max": np.full(n, -top, F32),
        "one at max": np.eye(1, n, n - 1, dtype=F32)[0] * top,
        "denormals": (rng.normal(size=n) * 1e-41).astype(F32),
        "smallest denormal": np.full(n, 1e-45, F32),
        "just below the tiny bound": np.full(n, np.nextafter(F32(TINY_ROW), F32(0)), F32),
        "at the tiny bound": np.full(n, -TINY_ROW, F32),
        "ties": ties,
        "a spike": np.where(np.arange(n) == n // 2, 1e6, rng.normal(size=n)).astype(F32),
        "wide range": (rng.normal(size=n) * 10.0 ** rng.uniform(-20, 20, n)).astype(F32),
    }


# -- cases of each kernel -----------------------------------------------------------------------------------------


def in_pairs(q: np.ndarray) -> np.ndarray:
    """Rows [rows, ld] interleaved by pairs two elements at a time; the last of an odd number stays plain."""
    rows, ld = q.shape
    even = rows // 2 * 2
    pairs = q[:even].reshape(even // 2, 2, ld // 2, 2).swapaxes(1, 2).reshape(even, ld)
    return np.ascontiguousarray(np.concatenate((pairs, q[even:])))


def quantize_cases(rng: np.random.Generator) -> list[Case]:
    made = []

    def add(name: str, x: np.ndarray, skew: int, gap: int) -> None:
        rows, n = x.shape
        ld, ldx = padded(n), n + gap
        wide = np.full((rows, ldx), 7e30, F32)  # what lies between rows must not count
        wide[:, :n] = x
        r = arith.quantize_rows(x)
        q = np.zeros((rows, ld), np.int16)
        q[:, :n] = r.q
        for op, ordered in (("quantize8", q.astype(np.int8)), ("quantize_pairs", in_pairs(q))):
            for in_place in range(1 + (ordered.itemsize * ld <= 4 * ldx)):
                made.append(
                    Case(
                        op,
                        f"{name}{', in place' if in_place else ''}",
                        (rows, n, ld, ldx, in_place),
                        ((wide, skew),),
                        (ordered, r.a.astype(F32), r.total.astype(np.int32)),
                    )
                )

    for i, k in enumerate(DEPTHS):
        add(f"random K={k}", rng.normal(size=(i + 1, k)).astype(F32), 4 * (i % 4), i % 3)
    for k in (7, 97):
        add(f"extreme K={k}", np.stack(list(extreme_rows(k, rng).values())), 12, 1)
    return made


def _product(q: np.ndarray, w: np.ndarray, zero: np.ndarray, a: np.ndarray, scale: np.ndarray, ldy: int) -> np.ndarray:
    """Expected y with ldy columns, the gap still the sentinel."""
    y = np.frombuffer(b"\xa5" * (4 * len(q) * ldy), F32).reshape(len(q), ldy).copy()
    y[:, : len(w)] = arith.linear_int(arith.Rows(q.astype(np.int32), a), w, scale, zero)
    return y


def tile_inputs(rng: np.random.Generator, bits: int, tile: int):
    """(name, q [rows, k], w [n, k], zero, scale, a) with values as the schemes store them, and extremes."""
    low, high = (0, 15) if bits == 4 else (-127, 127)

    def zeros(n: int) -> np.ndarray:
        return rng.integers(0, 16, n) if bits == 4 else np.zeros(n, np.int64)

    for i, k in enumerate(TILE_DEPTHS):
        for rows, n in ((i % 5 + 1, tile), (5 - i % 5, i % (tile - 1) + 1), (8, tile) if k < 200 else (2, tile)):
            scale, a = (np.exp(rng.normal(size=size) * 3).astype(F32) for size in (n, rows))
            yield (
                f"K={k} {rows}x{n}",
                rng.integers(-127, 128, (rows, k)),
                rng.integers(low, high + 1, (n, k)),
                zeros(n),
                scale,
                a,
            )
    for sign in (-127, 127):
        for edge in (low, high):
            q, w = np.full((3, 1536), sign), np.full((tile, 1536), edge)
            yield f"all {sign} by {edge}", q, w, zeros(tile), np.full(tile, 1e-30, F32), np.full(3, 1e-12, F32)
    q, w = rng.integers(-127, 128, (2, 64)), rng.integers(low, high + 1, (tile, 64))
    yield "top of the scales", q, w, np.full(tile, 15 * (bits == 4)), np.full(tile, 3e38, F32), np.full(2, 1e-7, F32)
    few = rng.integers(0, 2, (tile, 64))
    for power in (-128, -127, -126, -125, -124):  # about where products of scales become subnormal
        a = np.array([2.0**-60, 0.0, 1.9 * 2.0**-60], F32)
        scale = np.full(tile, 2.0 ** (power + 60), F32)
        yield f"scales about 2^{power}", np.eye(3, 64, dtype=int), few, zeros(tile) * 0, scale, a
    yield ("underflowing scales", q, w, zeros(tile), np.full(tile, 2.0**-96, F32), np.array([2.0**-103, 1e-20], F32))


def tile_cases(
    op: str,
    bits: int,
    packing: Packing,
    rng: np.random.Generator,
    arrange: Callable = lambda q: q,
    scratch: int = 0,
    act: type = np.int16,
    step: int = 1,
) -> list[Case]:
    """Tile products: `arrange` orders padded rows as the kernel wants them, `scratch` bytes an element of depth, packed
    tiles lie at multiples of `step` bytes."""
    made = []
    for i, (name, q, w, zero, scale, a) in enumerate(tile_inputs(rng, bits, packing.tile)):
        n, ldy, ld = len(w), len(w) + i % 3, packing.padded(q.shape[1])
        rows = np.zeros((len(q), ld), act)
        rows[:, : q.shape[1]] = q
        codec = PerChannel(bits).codec(packing)
        packed = np.frombuffer(codec.pack(w), np.uint8)
        stored = codec.zeros(zero) if codec.zeros_stored else None
        arrays = (
            (arrange(rows), 0),
            (a, 4),
            (q.sum(axis=1).astype(np.int32), 8),
            (packed, i * step % 16),
            (np.zeros(0, np.uint8) if stored is None else stored, i % 4),
            (scale, 4),
        )
        made.append(Case(op, name, (len(q), ld, n, ldy, scratch * ld), arrays, (_product(q, w, zero, a, scale, ldy),)))
    return made


def group_inputs(rng: np.random.Generator, tile: int):
    """(name, q [rows, k], w [n, k], m [n, groups], scale, a): the last group cut off anywhere, and extremes."""
    for i, k in enumerate((*TILE_DEPTHS, 31, 32, 33, 39, 65)):
        for rows, n in ((i % 5 + 1, tile), (5 - i % 5, i % (tile - 1) + 1), (8, 2) if k < 200 else (2, 3)):
            scale, a = (np.exp(rng.normal(size=size) * 3).astype(F32) for size in (n, rows))
            scale[::2] *= -1  # as channels have it whose weights reach further above 0 than below
            yield (
                f"K={k} {rows}x{n}",
                rng.integers(-127, 128, (rows, k)),
                rng.integers(-8, 8, (n, k)),
                rng.integers(0, 256, (n, -(-k // 32))),
                scale,
                a,
            )
    for sign in (-127, 127):
        for edge in (-8, 7):
            yield (
                f"all {sign} by {edge}",
                np.full((5, 1536), sign),
                np.full((tile, 1536), edge),
                np.full((tile, 48), 255),
                np.full(tile, 1e-30, F32),
                np.full(5, 1e-7, F32),
            )


def group_cases(
    op: str, packing: Packing, rng: np.random.Generator, arrange: Callable = lambda q: q, act: type = np.int8, step: int = 4
) -> list[Case]:
    """Tile products with weights in groups, a packing's form of them, at multiples of `step` bytes."""
    made = []
    for i, (name, q, w, m, scale, a) in enumerate(group_inputs(rng, packing.tile)):
        n, ldy, ld = len(w), len(w) + i % 3, packing.padded(q.shape[1])
        rows = np.zeros((len(q), ld), act)
        rows[:, : q.shape[1]] = q
        stored = GroupWeights(w.astype(np.int16), scale, m.astype(np.uint8))
        y = _product(q, stored.integers, np.zeros(n, np.int64), a, scale, ldy)
        arrays = (
            (arrange(rows), 0),
            (a, 4),
            (q.sum(axis=1).astype(np.int32), 8),
            (np.frombuffer(GROUPED.codec(packing).pack(w), np.uint8), i * step % 16),
            (np.frombuffer(GROUPED.codec(packing).pack_scales(stored.m), np.uint8), i % 4),
            (scale, 4),
        )
        made.append(Case(op, f"{name}, packing {packing.id}", (len(q), ld, n, ldy, 0), arrays, (y,)))
    return made


def unpack_cases(rng: np.random.Generator) -> list[Case]:
    """Tiles of 3 and of 2 bits a weight, in groups too, of every packing, and what its tile function for 4 bits reads in their
    place."""
    made = []
    for narrow, packing in product((INT3, INT2, GROUPED2), (APART, PAIRS, LANES, SIXTEENS)):
        bits, codec, levels = narrow.width, narrow.codec(packing), np.array(LEVELS[narrow])
        for i, (k, n) in enumerate(((1, 1), (8, packing.tile), (40, packing.tile), (97, packing.tile - 1), (1536, 2))):
            w = levels[rng.integers(0, len(levels), (n, k))]
            w[0], w[-1, 0] = levels[-1], levels[0]
            wide = w
            if 0 not in levels:  # padding becomes 1 then, which only meets zeros
                wide = np.ones((codec.channels(n), up(packing.padded(k), codec.depth)), int)
                wide[:n, :k] = w
            packed = np.frombuffer(codec.pack(w), np.uint8)
            full = np.frombuffer(narrow.wide_form.codec(packing).pack(wide), np.uint8)
            assert 4 * len(packed) == bits * len(full)
            name = f"packing {packing.id}, {n}x{k}"
            made.append(
                Case(narrow.widen.removeprefix("rc_"), name, (len(packed), codec.flip), ((packed, 4 * (i % 4)),), (full,))
            )
    return made


def panel_cases(rng: np.random.Generator) -> list[Case]:
    """Products with panels of 16 channels of unsigned bytes (host only): all bytes, all zero points."""
    made = []
    for k in DEPTHS:
        for rows, n in ((1, 16), (5, 3), (4, 15), (3, 1), (13, 64), (2, 33), (6, 48)):
            made.append(
                _panel(
                    f"K={k} {rows}x{n}",
                    rng.integers(-127, 128, (rows, k)),
                    rng.integers(0, 256, (n, k)),
                    rng.integers(0, 256, n),
                    rng,
                )
            )
    for x, w, z in ((-127, 255, 0), (127, 255, 255), (-127, 0, 255), (127, 1, 128)):
        made.append(_panel(f"all {x} by {w}, zero {z}", np.full((7, 1536), x), np.full((64, 1536), w), np.full(64, z), rng))
    return made


def _panel(name: str, q: np.ndarray, w: np.ndarray, zero: np.ndarray, rng: np.random.Generator) -> Case:
    rows, k, n, ld = len(q), q.shape[1], len(w), padded(q.shape[1])
    a, scale = (np.exp(rng.normal(size=size) * 3).astype(F32) for size in (rows, n))
    x, full = np.zeros((rows, ld), np.int8), np.zeros((-(-n // 16) * 16, ld), np.uint8)
    x[:, :k], full[:n, :k] = q, w
    panel = np.ascontiguousarray(full.reshape(-1, 16, ld // 4, 4).swapaxes(1, 2))
    ldy = n + 2
    arrays = ((x, 0), (a, 4), (q.sum(axis=1).astype(np.int32), 8), (panel, 0), (zero.astype(np.uint8), 3), (scale, 4))
    return Case("gemm8", name, (rows, ld, n, ldy), arrays, (_product(q, w, zero, a, scale, ldy),))


def linear_cases(rng: np.random.Generator, panels: bool = False) -> list[Case]:
    made = []
    for i, k in enumerate(DEPTHS):
        for rows, n in ((i % 5 + 1, 3), (2, 17 if panels else 5), *([(7, 64)] * panels)):
            wild = i % 2 == 1
            x, w = (rng.normal(size=s) * 10.0 ** rng.uniform(-6 * wild, 6 * wild, s) for s in ((rows, k), (n, k)))
            made.append(_linear(f"K={k} {rows}x{n}", x.astype(F32), w.astype(F32), i % 3, panels))
    tiny = (rng.normal(size=(2, 97)) * 1e-22).astype(F32)  # products are denormal
    made.append(_linear("denormal products", tiny, (rng.normal(size=(4, 97)) * 1e-20).astype(F32), 0, panels))
    made.append(_linear("zeros", np.zeros((2, 7), F32), -np.ones((2, 7), F32), 1, panels))
    return made


def _linear(name: str, x: np.ndarray, w: np.ndarray, gap: int, panels: bool) -> Case:
    rows, k, n = len(x), x.shape[1], len(w)
    ldx, ldy = k + gap, n + gap
    wide = np.full((rows, ldx), 9e9, F32)
    wide[:, :k] = x
    y = np.frombuffer(b"\xa5" * (4 * rows * ldy), F32).reshape(rows, ldy).copy()
    y[:, :n] = arith.linear_f32(x, w)
    stored = w
    if panels:
        full = np.zeros((-(-n // 16) * 16, k), F32)
        full[:n] = w
        stored = np.ascontiguousarray(full.reshape(-1, 16, k).swapaxes(1, 2))
    return Case("linear_panel" if panels else "linear", name, (rows, k, n, ldx, ldy), ((wide, 4), (stored, 8)), (y,))


def row_cases(rng: np.random.Generator) -> list[Case]:
    """Kernels over one row: SiLU, norm, softmax, rope, dots, exp."""
    made = []
    for n in (*DEPTHS, 3, 4, 5, 6):
        g, u = (rng.normal(size=n) * 5).astype(F32), rng.normal(size=n).astype(F32)
        made.append(_silu(f"n={n}", g, u, 1 + n % 3, n % 4))
        made.append(_norm(f"n={n}", g, 1e-5))
        made.append(Case("softmax", f"n={n}", (n,), ((g, 12),), (arith.softmax(g[None])[0],)))
        made.append(Case("dot_f32", f"n={n}", (n,), ((g, 4), (u, 0)), (arith.sum_mod4(g * u).reshape(1),)))
        s, t = (rng.integers(-127, 128, n) for _ in range(2))
        made.append(
            Case(
                "dot_s8", f"n={n}", (n,), ((s.astype(np.int8), 3), (t.astype(np.int8), 1)), (np.array([int(s @ t)], np.int32),)
            )
        )
        half = n // 2 * 2
        if half:
            angle = rng.uniform(0, 100, half // 2)
            cos, sin = np.cos(angle).astype(F32), np.sin(angle).astype(F32)
            made.append(
                Case(
                    "rope",
                    f"n={half}",
                    (half,),
                    ((u[:half], 4), (cos, 0), (sin, 12)),
                    (arith.rope(u[None, :half], cos, sin)[0],),
                )
            )
    low = np.full(1536, -127, np.int8)
    made.append(Case("dot_s8", "all -127", (1536,), ((low, 0), (low, 0)), (np.array([127 * 127 * 1536], np.int32),)))
    made.append(_silu("subnormal products", g, u * F32(1e-38), 2, 1))
    for name, row in extreme_rows(33, rng).items():
        made.append(_silu(name, row, np.full(33, 0.5, F32), 1, 0))
        if np.abs(row).max() < 1e18:  # squares stay finite
            made.append(_norm(name, row, 1e-5))
            made.append(Case("softmax", name, (33,), ((row, 0),), (arith.softmax(row[None])[0],)))
    spread = np.concatenate((np.linspace(-100, 100, 2000), [-87.0, 88.0, -0.0, 0.0, 1e-40, -1e30, 1e30])).astype(F32)
    made.append(Case("exp", "range", (len(spread),), ((spread, 4),), (arith.exp(spread),)))
    return made


def _silu(name: str, g: np.ndarray, u: np.ndarray, rows: int, gap: int) -> Case:
    """The row `rows` times, with a gap between rows of the result."""
    n = len(g)
    y = np.frombuffer(b"\xa5" * (4 * rows * (n + gap)), F32).reshape(rows, n + gap).copy()
    y[:, :n] = arith.silu(g) * u
    wide = [np.tile(np.append(v, F32(9e9)), rows) for v in (g, u)]
    return Case("silu_mul", name, (rows, n, n + 1, n + gap), ((wide[0], 4), (wide[1], 8)), (y,))


def _norm(name: str, row: np.ndarray, eps: float) -> Case:
    return Case("rms_norm", name, (len(row),), ((row, 4), (np.array([eps], F32), 0)), (arith.rms_norm(row[None], eps)[0],))


HOST_ROWS = {
    "quantize8": "host_quantize8",
    "silu_mul": "host_silu_mul",
    "softmax": "host_softmax",
    "rope": "host_rope",
    "dot_s8": "host_dot_s8",
    "dot_f32": "host_dot_f32",
}


def _swiglu(name: str, k: int, rows: int, n: int, rng: np.random.Generator) -> Case:
    """gate and up of any bytes, whose products meet in SiLU(g) * u."""
    q, gate, up = rng.integers(-127, 128, (rows, k)), rng.integers(0, 256, (n, k)), rng.integers(0, 256, (n, k))
    zeros = rng.integers(0, 256, (2, n))
    scales = np.exp(rng.normal(size=(2, n)) - 8).astype(F32)
    a, sums = np.exp(rng.normal(size=rows)).astype(F32), q.sum(axis=1).astype(np.int32)
    x, ldh = np.zeros((rows, padded(k)), np.int8), n + 3
    x[:, :k] = q
    packed = [np.frombuffer(INT4.codec(PANELS).pack(w), np.uint8) for w in (gate, up)]  # bytes as they are
    g, u = (_product(q, w, z, a, s, n) for w, z, s in zip((gate, up), zeros, scales))
    h = np.frombuffer(b"\xa5" * (4 * rows * ldh), F32).reshape(rows, ldh).copy()
    h[:, :n] = arith.silu(g) * u
    stored = zeros.astype(np.uint8)
    arrays = (
        (x, 0),
        (a, 4),
        (sums, 8),
        (packed[0], 0),
        (stored[0], 3),
        (scales[0], 4),
        (packed[1], 0),
        (stored[1], 1),
        (scales[1], 8),
    )
    return Case("host_swiglu", name, (rows, x.shape[1], n, ldh), arrays, (h,))


def _rms_rows(n: int, rows: int, gap: int, rng: np.random.Generator) -> Case:
    wide = np.full((rows, n + gap), 7e30, F32)  # what lies between rows must stay as it is
    wide[:, :n] = rng.normal(size=(rows, n)) * 10.0 ** rng.uniform(-6, 6, (rows, 1))
    y = wide.copy()
    y[:, :n] = arith.rms_norm(wide[:, :n], 1e-5)
    return Case("host_rms_rows", f"{rows} rows of {n}", (rows, n, n + gap), ((wide, 4), (np.array([1e-5], F32), 0)), (y,))


def _transpose(rows: int, columns: int, gap: int, rng: np.random.Generator) -> Case:
    x = rng.normal(size=(rows, columns + gap)).astype(F32)
    y = np.frombuffer(b"\xa5" * (4 * columns * (rows + gap)), F32).reshape(columns, rows + gap).copy()
    y[:, :rows] = x[:, :columns].T
    return Case("host_transpose", f"{rows}x{columns}", (rows, columns, columns + gap, rows + gap), ((x, 4),), (y,))


def host_cases(rng: np.random.Generator) -> list[Case]:
    """Cases of what a computer's variants replace, the general kernels' own vectors among them."""
    own = [*quantize_cases(rng), *row_cases(rng)]
    four = tile_cases("gemm4", 4, PANELS, rng, act=np.int8)
    return [
        *panel_cases(rng),
        *linear_cases(rng, panels=True),
        *four,
        *(c.as_op("gemm8") for c in four),
        *tile_cases("gemm8", 8, PANELS, rng, act=np.int8),
        *(c.as_op(HOST_ROWS[c.op]) for c in own if c.op in HOST_ROWS),
        *(
            _swiglu(f"K={k} {rows}x{n}", k, rows, n, rng)
            for k, rows, n in (
                (1, 1, 64),
                (7, 2, 32),
                (97, 13, 64),
                (104, 5, 16),
                (40, 3, 33),
                (64, 4, 1),
                (1536, 7, 48),
                (8, 6, 64),
            )
        ),
        *(_rms_rows(n, rows, gap, rng) for n, rows, gap in ((1, 1, 0), (3, 5, 1), (97, 9, 2), (512, 4, 0), (33, 2, 7))),
        *(_transpose(*shape, rng) for shape in ((1, 1, 0), (8, 8, 0), (97, 80, 3), (7, 9, 1), (16, 3, 2), (33, 40, 0))),
    ]


def mve_cases(portable: list[Case], rng: np.random.Generator) -> list[Case]:
    """Cases of Helium's kernels: those of the general ones, and tiles of 16 channels."""
    made = [c.as_op(f"{c.op}_mve") for c in portable if c.op in MVE_ROWS]
    for bits in (4, 8):
        made += tile_cases(f"tile_s{bits}_mve", bits, SIXTEENS, rng, act=np.int8)
    for n in DEPTHS:
        x, factor = rng.normal(size=n).astype(F32), F32(0.3)
        made.append(Case("scale_row_mve", f"n={n}", (n,), ((x, 4), (factor.reshape(1), 0)), (x * factor,)))
    return made


def cases(variants: frozenset[str] = frozenset()) -> list[Case]:
    """All cases; "host", "dsp", "mve" and "v" in `variants` add those of computers, of Arm's DSP and Helium, of RISC-V V."""
    rng = np.random.default_rng(20)
    made = [*quantize_cases(rng), *linear_cases(rng), *row_cases(rng), *unpack_cases(np.random.default_rng(3))]
    if "dsp" in variants:
        made += [c.as_op("dot_s8_dsp") for c in made if c.op == "dot_s8"]
    for bits in (4, 8):
        made += tile_cases(f"tile_s{bits}", bits, APART, rng, act=np.int8, step=4)
        if "dsp" in variants:
            made += tile_cases(f"tile_s{bits}_dsp", bits, PAIRS, rng, in_pairs, step=4)
        if "v" in variants:
            made += tile_cases(f"tile_s{bits}_rvv", bits, LANES, rng, act=np.int8)
    if "v" in variants:
        made += [c.as_op(f"{c.op}_rvv") for c in made if c.op in ("quantize8", "silu_mul", "softmax", "dot_s8")]
    if "mve" in variants:
        made += mve_cases(made, rng)
    if "host" in variants:
        made += host_cases(rng)
    grouped = {
        "": ("tile_g32", APART, {}),
        "host": ("gemm_g32", PANELS, {}),
        "mve": ("tile_g32_mve", SIXTEENS, {}),
        "dsp": ("tile_g32_dsp", PAIRS, {"arrange": in_pairs, "act": np.int16}),
        "v": ("tile_g32_rvv", LANES, {"step": 1}),
    }
    for variant in ("", *sorted(variants)):
        op, packing, how = grouped[variant]
        made += group_cases(op, packing, np.random.default_rng(32), **how)
    return made
