"""The NumPy twin against independent arithmetic: exact integers, fractions, float64 and a scalar loop."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from recurc.quant import arith
from recurc.quant.arith import F32

FINITE = st.floats(-(2.0**100), 2.0**100, width=32, allow_subnormal=True)
ROWS = arrays(np.float32, array_shapes(min_dims=2, max_dims=2, max_side=19), elements=FINITE)
quick = settings(max_examples=60, deadline=None, derandomize=True)


def ulp(x: np.ndarray) -> np.ndarray:
    return np.spacing(np.abs(x).astype(F32)).astype(np.float64)


# -- rounding and rows ----------------------------------------------------------------------------------------------


@quick
@given(st.floats(-(2.0**22) + 1, 2.0**22 - 1, width=32))
def test_round_is_half_to_even(x):
    assert int(arith.round_half_even(F32(x).reshape(1))[0]) == round(Fraction(x))


def test_round_of_every_tie():
    k = np.arange(-300, 300)
    assert arith.round_half_even((k + 0.5).astype(F32)).tolist() == [int(round(Fraction(2 * int(i) + 1, 2))) for i in k]


def test_quantize_ties_go_to_even():
    row = np.array([[127.0, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 126.5]], dtype=F32)  # a = 1
    r = arith.quantize_rows(row)
    assert r.a.tolist() == [1.0]
    assert r.q.tolist() == [[127, 0, 2, 2, 0, -2, -2, 126]]


@quick
@given(ROWS)
def test_quantized_rows_are_int8_and_near(x):
    r = arith.quantize_rows(x)
    assert np.abs(r.q).max() <= 127
    assert r.total.tolist() == [sum(row) for row in r.q.tolist()]
    peak = np.abs(x).max(axis=-1)
    live = peak >= 2.0**-96
    assert (r.a[~live] == 0).all() and (r.q[~live] == 0).all()
    if live.any():
        assert (np.abs(r.q[live]).max(axis=-1) == 127).all()
        error = np.abs(r.q * r.a[:, None].astype(np.float64) - x)[live]
        assert (error <= r.a[live, None].astype(np.float64) * 0.5001).all()


@quick
@given(ROWS, st.integers(-20, 20))
def test_quantizing_scales_with_powers_of_two(x, shift):
    x = np.where(np.abs(x).max(axis=-1, keepdims=True) < 2.0**-60, 0, x).astype(F32)  # away from the tiny bound
    a, b = arith.quantize_rows(x), arith.quantize_rows((x * F32(2.0**shift)).astype(F32))
    # Elements that underflow would be zeros anyway; scales and integers follow exactly.
    assert (a.q == b.q).all() and (b.a == a.a * F32(2.0**shift)).all()


@quick
@given(ROWS)
def test_quantizing_is_odd_and_row_by_row(x):
    whole, negative = arith.quantize_rows(x), arith.quantize_rows(-x)
    assert (whole.q == -negative.q).all() and (whole.a == negative.a).all()
    alone = [arith.quantize_rows(row[None]) for row in x]
    assert all((whole.q[i] == alone[i].q[0]).all() and whole.a[i] == alone[i].a[0] for i in range(len(x)))


def test_zero_rows_and_the_tiny_bound():
    bound = F32(2.0**-96)
    below = np.nextafter(bound, F32(0))
    r = arith.quantize_rows(np.array([[0, 0], [-0.0, 0], [below, -below], [bound, 0], [0, -bound]], dtype=F32))
    assert r.a.tolist() == [0, 0, 0, float(bound / F32(127)), float(bound / F32(127))]
    assert r.q.tolist() == [[0, 0], [0, 0], [0, 0], [127, 0], [0, -127]]


def test_the_largest_row_does_not_overflow():
    top = np.finfo(F32).max
    r = arith.quantize_rows(np.array([[top, -top, 0, top / 4]], dtype=F32))
    assert r.q.tolist() == [[127, -127, 0, 32]] and np.isfinite(r.a).all()


# -- sums -------------------------------------------------------------------------------------------------------------


def scalar_sum(row: np.ndarray) -> np.float32:
    """The contract's order, one addition after the other."""
    s = [F32(0)] * 4
    for i, x in enumerate(row):
        s[i % 4] = F32(s[i % 4] + x)
    return F32(F32(s[0] + s[1]) + F32(s[2] + s[3]))


@quick
@given(ROWS)
def test_sum_order(x):
    assert arith.sum_mod4(x).tobytes() == np.array([scalar_sum(row) for row in x], F32).tobytes()


def test_sum_order_is_not_the_plain_one():
    row = np.array([2.0**24, 1, 1, 1, 1, 1, 1, 1], dtype=F32)  # plainly: every 1 is lost in 2^24
    plain = F32(0)
    for x in row:
        plain = F32(plain + x)
    assert plain == 2.0**24
    assert arith.sum_mod4(row) == 2.0**24 + 6  # 2^24 + 1 twice ties to even; the other lanes hold 2 each
    assert arith.rms_norm(np.sqrt(row)[None], 0.0).tobytes() != (np.sqrt(row) / np.sqrt(plain / 8)).tobytes()
    assert arith.linear_f32(row[None], np.ones((1, 8), F32))[0, 0] == 2.0**24 + 6


@quick
@given(ROWS, st.integers(1, 5))
def test_linear_f32_is_a_dot_in_that_order(x, n):
    w = np.random.default_rng(n).normal(size=(n, x.shape[1])).astype(F32)
    want = [[scalar_sum((row * v).astype(F32)) for v in w] for row in x]
    assert arith.linear_f32(x, w).tobytes() == np.array(want, F32).tobytes()


# -- functions --------------------------------------------------------------------------------------------------------


def test_exp_within_two_ulp_over_its_range():
    x = np.concatenate((np.linspace(-87, 88, 200_001), np.linspace(-1, 1, 50_001))).astype(F32)
    true = np.array([math.exp(float(v)) for v in x])
    got = arith.exp(x).astype(np.float64)
    assert (np.abs(got - true) / ulp(true.astype(F32))).max() < 2


def test_exp_ends():
    x = np.array([-np.inf, -1e30, -87.0, 0.0, -0.0, 1e-45, 88.0, 1e30, np.inf], dtype=F32)
    y = arith.exp(x)
    assert y[0] == y[1] == y[2] and y[6] == y[7] == y[8]
    assert y[3] == y[4] == y[5] == 1.0
    assert np.finfo(F32).tiny <= y[0] and np.isfinite(y).all()


@quick
@given(st.floats(-87, 88, width=32), st.floats(-87, 88, width=32))
def test_exp_grows(a, b):
    lo, hi = sorted((a, b))
    pair = arith.exp(np.array([lo, hi], dtype=F32))
    assert pair[0] <= pair[1] + 2 * np.spacing(pair[1])


def test_silu_against_float64():
    x = np.linspace(-60, 60, 20_001).astype(F32)
    true = x.astype(np.float64) / (1 + np.exp(-x.astype(np.float64)))
    assert (np.abs(arith.silu(x) - true) <= 4 * ulp(true.astype(F32))).all()
    assert arith.silu(np.array([0.0, 200.0, -1e30], F32)).tolist()[:2] == [0.0, 200.0]


@pytest.mark.parametrize("n", [1, 2, 3, 7, 97, 512])
def test_norm_and_softmax_against_float64(n):
    x = np.random.default_rng(n).normal(size=(50, n)).astype(F32) * F32(3)
    d = x.astype(np.float64)
    assert np.allclose(arith.rms_norm(x, 1e-5), d / np.sqrt((d * d).mean(-1, keepdims=True) + 1e-5), rtol=1e-6, atol=0)
    e = np.exp(d - d.max(-1, keepdims=True))
    p = arith.softmax(x)
    assert np.allclose(p, e / e.sum(-1, keepdims=True), rtol=3e-6, atol=1e-37)
    assert np.allclose(p.sum(-1), 1, atol=1e-5)
    assert p.dtype == arith.rms_norm(x, 1e-5).dtype == F32


def test_rope_turns_pairs():
    half, s = 6, 5
    angle = np.random.default_rng(0).uniform(0, 6, (s, half))
    x = np.random.default_rng(1).normal(size=(2, s, 2 * half)).astype(F32)
    y = arith.rope(x, np.cos(angle).astype(F32), np.sin(angle).astype(F32))
    turned = (x[..., :half] + 1j * x[..., half:]) * np.exp(1j * angle)
    assert np.allclose(y, np.concatenate((turned.real, turned.imag), axis=-1), atol=1e-6)


# -- integer products ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 7, 8, 97, 1536])
def test_integer_product_is_exact(k):
    rng = np.random.default_rng(k)
    q = rng.integers(0, 16, (5, k)).astype(np.int16)
    zero, scale = rng.integers(0, 16, 5).astype(np.uint8), rng.random(5).astype(F32)
    x = arith.quantize_rows(rng.normal(size=(3, k)).astype(F32) * 10)
    y = arith.linear_int(x, q, scale, zero)
    for i in range(3):
        for j in range(5):
            acc = sum(int(a) * (int(b) - int(zero[j])) for a, b in zip(x.q[i], q[j]))
            assert y[i, j] == F32(acc) * (x.a[i] * scale[j])


def test_integer_product_at_its_largest():
    x = arith.Rows(np.full((1, 1536), -127, np.int32), np.ones(1, F32))
    low = np.full((1, 1536), -127, np.int16)
    assert arith.linear_int(x, low, np.ones(1, F32), np.zeros(1, np.uint8))[0, 0] == 127 * 127 * 1536
