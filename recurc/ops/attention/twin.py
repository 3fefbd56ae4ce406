"""Attention in NumPy with the device's arithmetic."""

from __future__ import annotations

import numpy as np

from recurc.ops.attention.op import Attention
from recurc.quant import arith
from recurc.quant.arith import F32
from recurc.quant.twin import OpTwin, Twin
from recurc.types import BoolArray, F32Array, F64Array


def apply(twin: Twin, op: Attention, z: np.ndarray) -> np.ndarray:
    return arith.rms_norm(z + _attended(twin, op, z), op.norm.eps)


def _attended(twin: Twin, op: Attention, z: np.ndarray) -> np.ndarray:
    n, s, d = z.shape
    heads = twin.linear(op.qkv, z).reshape(n, s, 3, op.heads, op.head_dim)
    q, k, v = (heads[:, :, i].transpose(0, 2, 1, 3) for i in range(3))  # [N, H, S, hd]
    if op.rope:
        cos, sin = twin.constants["rope.cos"], twin.constants["rope.sin"]
        q, k = arith.rope(q, cos, sin), arith.rope(k, cos, sin)
    quantized = twin.model.weights[op.qkv.name].form.integer
    mix = _mix_int if quantized else _mix_f32
    out = mix(q, k, v, F32(1.0) / np.sqrt(F32(op.head_dim)))
    if quantized:  # heads are done one after the other, and wait as int8
        out = arith.stored_rows(out, "int8")
    return twin.linear(op.o, out.transpose(0, 2, 1, 3).reshape(n, s, d))


def _or_nan(rows: F32Array, finite: BoolArray) -> F32Array:
    """Rows [..., n] of probabilities, NaN where scores are not `finite` [...]."""
    return np.where(finite[..., None], rows, F32("nan"))


def _mix_f32(q: F32Array, k: F32Array, v: F32Array, rs: np.float32) -> F32Array:
    scores = arith.sum_mod4(q[..., :, None, :] * k[..., None, :, :]) * rs
    p = _or_nan(arith.softmax(scores), np.asarray(np.isfinite(scores).all(axis=-1)))
    return arith.sum_mod4(p[..., :, None, :] * v.swapaxes(-1, -2)[..., None, :, :])


def _mix_int(q: F32Array, k: F32Array, v: F32Array, rs: np.float32) -> F32Array:
    qq, kq, vq = arith.quantize_rows(q), arith.quantize_rows(k), arith.quantize_rows(v)
    acc: F64Array = np.matmul(qq.q.astype(np.float64), kq.q.astype(np.float64).swapaxes(-1, -2))
    scores = acc.astype(F32) * ((qq.a * rs)[..., :, None] * kq.a[..., None, :])
    most = qq.a * rs * kq.a.max(axis=-1)[..., None] * F32(127 * 127 * q.shape[-1])  # a bound of all scores
    p = arith.quantize_rows(_or_nan(arith.softmax(scores), np.isfinite(most)) * vq.a[..., None, :])
    out: F64Array = np.matmul(p.q.astype(np.float64), vq.q.astype(np.float64))
    return out.astype(F32) * p.a[..., None]


PART = OpTwin(apply)
