"""Quantization schemes: stored ranges, edge rows, and that each calibration is at least as good as the plainer one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from recurc.quant import (
    asymmetric,
    grouped,
    scheme_fp32,
    scheme_int2,
    scheme_int2_g32,
    scheme_int3,
    scheme_int4,
    scheme_int4_g32,
    scheme_int4_naive,
    scheme_int8,
)
from recurc.storage import FP32, GROUPED, INT2, INT3, INT4, INT8
from recurc.storage.fp32 import FloatWeights

INTEGER = (
    ("int8", scheme_int8, "none"),
    ("int4-naive", scheme_int4_naive, "none"),
    *((s.PRECISION.name, s, m) for s in (scheme_int4, scheme_int3, scheme_int2) for m in s.PRECISION.methods),
)
RANGES = {"int8": (-127, 127), "int4": (0, 15), "int3": (0, 7), "int2": (0, 6), "int4-naive": (0, 15)}
WEIGHTS = arrays(
    np.float32,
    array_shapes(min_dims=2, max_dims=2, max_side=9),
    elements=st.floats(-(2.0**100), 2.0**100, width=32, allow_subnormal=True),
)
quick = settings(max_examples=40, deadline=None, derandomize=True)


def correlated(k: int, rows: int = 400, seed: int = 0) -> np.ndarray:
    """Inputs [rows, k] whose features hang together and differ in size, as those of real layers do."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(rows, max(k // 4, 1))) @ rng.normal(size=(max(k // 4, 1), k)) * np.exp(rng.normal(size=k))


def stored_is_valid(name: str, w: np.ndarray, stored) -> None:
    low, high = RANGES[name]
    assert stored.q.shape == w.shape and stored.q.min() >= low and stored.q.max() <= high
    assert stored.scale.shape == stored.zero.shape == (len(w),)
    assert stored.scale.dtype == np.float32 and (stored.scale >= 2.0**-96).all() and np.isfinite(stored.scale).all()
    assert stored.zero.dtype == np.uint8 and stored.zero.max() <= (0 if name == "int8" else high)


@pytest.mark.parametrize(("name", "scheme", "method"), INTEGER)
@quick
@given(w=WEIGHTS)
def test_stored_ranges(name, scheme, method, w):
    moment = np.eye(w.shape[1])
    stored_is_valid(name, w, scheme.quantize(w, moment, method))
    stored_is_valid(name, w, scheme.quantize(w, None, method))


@pytest.mark.parametrize(("name", "scheme", "method"), INTEGER)
def test_a_zero_row_is_stored_as_zeros(name, scheme, method):
    w = np.random.default_rng(0).normal(size=(2, 24)).astype(np.float32)
    w[1] = 0  # q_head row 1 of every trained TRM
    x = correlated(24)
    for moment in (None, x.T @ x):
        stored = scheme.quantize(w, moment, method)
        assert (stored.dequantized()[1] == 0).all()
        assert (stored.q[1] == stored.zero[1]).all()
        if name != "int4-naive":
            assert stored.scale[1] == 1


@pytest.mark.parametrize(("name", "scheme", "method"), INTEGER)
def test_all_weights_zero(name, scheme, method):
    stored = scheme.quantize(np.zeros((3, 8), np.float32), None, method)
    assert (stored.scale == 1).all() and (stored.dequantized() == 0).all()


@pytest.mark.parametrize("value", [1.0, -1.0, 3e-20, -7e20])
@pytest.mark.parametrize(("name", "scheme", "method"), INTEGER)
def test_constant_rows_keep_their_value(name, scheme, method, value):
    w = np.full((2, 8), value, dtype=np.float32)
    assert np.allclose(scheme.quantize(w, None, method).dequantized(), w, rtol=1e-6)


@pytest.mark.parametrize("sign", [1, -1])
def test_one_sided_rows_use_the_whole_range(sign):
    w = (sign * np.linspace(0.5, 3.0, 40, dtype=np.float32))[None]
    stored = scheme_int4.quantize(w, None, "min-max")
    assert stored.zero[0] == (0 if sign > 0 else 15)
    assert (stored.q.max() == 15) if sign > 0 else (stored.q.min() == 0)
    assert stored.scale[0] == np.float32(3.0) / np.float32(15)


def test_int4_error_is_half_a_level():
    w = np.random.default_rng(3).normal(size=(50, 64)).astype(np.float32)
    stored = scheme_int4.quantize(w, None, "min-max")
    inside = (stored.q > 0) & (stored.q < 15)
    error = np.abs(stored.dequantized() - w) / stored.scale[:, None]
    assert error[inside].max() <= 0.5001 and error.max() <= 1.0


def test_int8_error_is_half_a_level():
    w = np.random.default_rng(3).normal(size=(50, 64)).astype(np.float32)
    stored = scheme_int8.quantize(w, None, "none")
    assert (np.abs(stored.q).max(axis=1) == 127).all()
    assert (np.abs(stored.dequantized() - w) / stored.scale[:, None]).max() <= 0.5001


@pytest.mark.parametrize("shift", [100, -60])
@pytest.mark.parametrize(("name", "scheme", "method"), INTEGER)
def test_huge_and_tiny_weights_are_stored_as_others_are(name, scheme, method, shift):
    w, x = np.random.default_rng(1).normal(size=(4, 16)).astype(np.float32), correlated(16)
    stored, scaled = (scheme.quantize(v, x.T @ x, method) for v in (w, np.ldexp(w, shift)))
    assert (stored.q == scaled.q).all() and (stored.zero == scaled.zero).all()
    assert (np.ldexp(stored.scale, shift) == scaled.scale).all()


@pytest.mark.parametrize(("name", "scheme", "method"), INTEGER)
def test_vanishing_weights_become_zeros(name, scheme, method):
    for size in (1e-31, 1e-40, 1e-45):
        w = (np.random.default_rng(1).normal(size=(4, 16)) * size).astype(np.float32)
        stored = scheme.quantize(w, np.eye(16), method)
        stored_is_valid(name, w, stored)
        assert np.abs(stored.dequantized() - w).max() <= 2.0**-96


GROUPED_CASES = [(scheme, method, given) for scheme in (scheme_int4_g32, scheme_int2_g32) for method in scheme.PRECISION.methods
                 for given in (False, True)]  # fmt: skip
in_groups = pytest.mark.parametrize(("scheme", "method", "given_moment"), GROUPED_CASES,
                                    ids=lambda value: getattr(value, "__name__", value))  # fmt: skip


@in_groups
@quick
@given(w=WEIGHTS)
def test_groups_stored_ranges(scheme, method, given_moment, w):
    w = np.tile(w, (1, 7))  # up to 63 inputs: two groups, the last one cut off
    stored = scheme.quantize(w, np.eye(w.shape[1]) if given_moment else None, method)
    four = scheme is scheme_int4_g32
    assert stored.q.shape == w.shape and scheme.PRECISION.misfit(stored, w.shape) == ""
    assert np.isin(stored.q, range(-8, 8) if four else (-3, -1, 1, 3)).all()
    assert stored.m.shape == (len(w), -(-w.shape[1] // 32)) and stored.m.dtype == np.uint8
    assert stored.scale.dtype == np.float32 and (np.abs(stored.scale) >= 2.0**-96).all() and np.isfinite(stored.scale).all()
    assert (stored.q[np.repeat(stored.m, 32, axis=1)[:, : w.shape[1]] == 0] == (0 if four else 1)).all()
    assert (stored.dequantized() == (stored.scale[:, None] * stored.integers).astype(np.float32)).all()


@in_groups
def test_groups_of_zeros_are_stored_as_zeros(scheme, method, given_moment):
    w = np.random.default_rng(0).normal(size=(3, 80)).astype(np.float32)
    w[1], w[2, 32:64] = 0, 0
    x = correlated(80)
    stored = scheme.quantize(w, x.T @ x if given_moment else None, method)
    assert stored.scale[1] == 1 and (stored.m[1] == 0).all() and stored.m[2, 1] == 0 and (stored.m[[0, 2], 0] > 0).all()
    assert (stored.dequantized()[w == 0] == 0).all()


@pytest.mark.parametrize("shift", [100, -60])
@in_groups
def test_groups_of_huge_and_tiny_weights_are_stored_as_others_are(scheme, method, given_moment, shift):
    w, x = np.random.default_rng(1).normal(size=(4, 70)).astype(np.float32), correlated(70)
    stored, scaled = (scheme.quantize(v, x.T @ x if given_moment else None, method) for v in (w, np.ldexp(w, shift)))
    assert (stored.q == scaled.q).all() and (stored.m == scaled.m).all()
    assert (np.ldexp(stored.scale, shift) == scaled.scale).all()


def test_an_outlier_coarsens_only_its_group():
    w = np.random.default_rng(0).normal(size=(20, 128)).astype(np.float32)
    w[:, 3] *= 30
    stored = scheme_int4_g32.quantize(w, None, "min-max")
    plain = scheme_int4.quantize(w, None, "min-max")
    grouped, whole = (np.square((s.dequantized() - w)[:, 32:]).sum() for s in (stored, plain))
    assert grouped < whole / 8
    assert np.abs(stored.dequantized() - w)[:, 32:].max() <= 0.6 * np.abs(w[:, 32:]).max() / 7


@pytest.mark.parametrize("seed", range(4))
def test_groups_gain_from_calibration_as_channels_do(seed):
    k = (24, 64, 97, 130)[seed]
    w = np.random.default_rng(seed).normal(size=(32, k)).astype(np.float32)
    x = correlated(k, seed=seed)
    plain, mse, gptq = (output_error(w, scheme_int4_g32.quantize(w, x.T @ x, m), x) for m in ("min-max", "mse", "gptq"))
    assert gptq < 0.6 * plain and gptq < mse < plain


@pytest.mark.parametrize("method", asymmetric.METHODS)
def test_the_side_that_reaches_further_gets_the_further_level(method):
    w = np.random.default_rng(0).uniform(-7, 7, size=(2, 32)).astype(np.float32)
    w[0, :2], w[1, :2] = (-8, 7), (8, -7)
    up, down = (np.abs(v) for v in scheme_int4_g32.quantize(w, None, "min-max").scale)
    assert np.sign(scheme_int4_g32.quantize(w, np.eye(32), method).scale).tolist() == [1, -1]
    assert up == down == pytest.approx(1 / 255), "a step of 1, where -7..8 would take 8/7"


@pytest.mark.parametrize("k", [38, 64, 130, 512])
def test_four_levels_in_groups_are_better_than_in_channels(k):
    w = np.random.default_rng(k).normal(size=(60, k)).astype(np.float32)
    x = correlated(k, seed=k)
    grouped, whole = (output_error(w, s.quantize(w, x.T @ x, "gptq"), x) for s in (scheme_int2_g32, scheme_int2))
    assert grouped < 0.95 * whole


@pytest.mark.parametrize("k", [17, 32, 38, 64, 130])
def test_groups_are_no_worse_than_channels(k):
    """With one group there is only the zero point that int4 has and groups do not; with more they win."""
    w = np.random.default_rng(k).normal(size=(200, k)).astype(np.float32)
    x = correlated(k, seed=k)
    grouped, whole = (output_error(w, s.quantize(w, x.T @ x, "gptq"), x) for s in (scheme_int4_g32, scheme_int4))
    assert grouped < whole * (1.06 if k <= 32 else 0.97 if k < 64 else 0.9)


def test_fitted_scales_lower_the_output_error_and_leave_the_rest():
    k, x = 70, correlated(70)
    w = np.random.default_rng(4).normal(size=(12, k)).astype(np.float32)
    w[0, 32:64] = 0
    feedback = asymmetric.Feedback(x.T @ x, 15)
    plain = scheme_int4_g32.quantize(w, None, "min-max")
    q, scale = plain.q.astype(float), plain.scale.astype(float)
    m = grouped.fitted(feedback.moment, w, q, scale, plain.m)
    assert m.dtype == np.uint8 and m[0, 1] == 0 and (m != plain.m).any()
    before, after = (feedback.loss(w, q, np.repeat(g, 32, axis=1)[:, :k] * scale[:, None], np.zeros(12)) for g in (plain.m, m))
    assert (after <= before * (1 + 1e-9)).all() and after.sum() < before.sum()


def output_error(w: np.ndarray, stored, x: np.ndarray) -> float:
    return float((((stored.dequantized() - w) @ x.T) ** 2).sum())


@pytest.mark.parametrize("method", scheme_int2.PRECISION.methods)
def test_int2_has_two_levels_on_either_side_of_zero(method):
    """Rows that lie around zero have a zero point half way between two levels: whole ones would leave one level a side, or
    three and none. Rows of one sign have theirs at the end."""
    rng, x = np.random.default_rng(5), correlated(64)
    w = rng.normal(size=(40, 64)).astype(np.float32)
    w[-2], w[-1] = np.abs(w[-2]) + 1, -np.abs(w[-1]) - 1
    stored = scheme_int2.quantize(w, x.T @ x, method)
    assert set(np.unique(stored.q)) == {0, 2, 4, 6} and stored.form == INT2
    assert (stored.zero[:-2] == 3).mean() > 0.7 and stored.zero[-2:].tolist() == [0, 6]
    assert np.array_equal(stored.dequantized(), (stored.q - stored.zero[:, None].astype(np.int16)) * stored.scale[:, None])


@pytest.mark.parametrize("seed", range(4))
def test_int2_is_better_than_two_bits_with_whole_zero_points(seed):
    rng = np.random.default_rng(seed)
    w, x = rng.normal(size=(32, 97)).astype(np.float32), rng.normal(size=(400, 97))
    for method in ("gptq", "mse"):
        plain, halves = (asymmetric.quantize(w, x.T @ x, method, 2), scheme_int2.quantize(w, x.T @ x, method))
        assert output_error(w, halves, x) < 0.92 * output_error(w, plain, x), method


@pytest.mark.parametrize("seed", range(6))
def test_gptq_is_never_worse_than_min_max_in_output_error(seed):
    k = (16, 24, 64, 97, 130, 7)[seed]
    w = np.random.default_rng(seed).normal(size=(32, k)).astype(np.float32)
    x = correlated(k, seed=seed)
    moment = x.T @ x
    plain, mse, gptq = (output_error(w, scheme_int4.quantize(w, moment, m), x) for m in ("min-max", "mse", "gptq"))
    assert gptq < plain and gptq < mse
    if k >= 24:
        assert gptq < 0.6 * plain


@pytest.mark.parametrize("seed", range(6))
def test_mse_is_not_worse_than_min_max_in_weighted_error(seed):
    rng = np.random.default_rng(seed)
    w = (rng.standard_t(3, size=(100, 80))).astype(np.float32)  # heavy tails: clipping pays
    x = correlated(80, seed=seed)
    energy = (x**2).sum(axis=0)

    def lost(method, moment):
        error = scheme_int4.quantize(w, moment, method).dequantized().astype(np.float64) - w
        return (error**2 * (energy if moment is not None else 1)).sum(axis=1)

    for moment in (x.T @ x, None):
        plain, mse = lost("min-max", moment), lost("mse", moment)
        assert (mse <= plain * 1.0001).all()
        assert mse.sum() < 0.96 * plain.sum()


def test_gptq_without_data_is_mse():
    w = np.random.default_rng(0).normal(size=(8, 32)).astype(np.float32)
    a, b = (scheme_int4.quantize(w, None, m) for m in ("gptq", "mse"))
    assert (a.q == b.q).all() and (a.scale == b.scale).all() and (a.zero == b.zero).all()


def test_gptq_survives_inputs_that_are_never_seen():
    w = np.random.default_rng(0).normal(size=(8, 32)).astype(np.float32)
    x = correlated(32)
    x[:, ::2] = 0
    one = np.outer(x[0], x[0])  # rank 1
    for moment in (x.T @ x, one, np.zeros((32, 32)), np.ones((32, 32)) * 1e-30, np.eye(32) * 1e30):
        stored = scheme_int4.quantize(w, moment, "gptq")
        stored_is_valid("int4", w, stored)
        assert np.isfinite(stored.dequantized()).all()


def test_gptq_in_blocks_equals_one_column_after_the_other():
    """Error feedback against a plain loop: the block structure must not change the result."""
    k, x = 150, correlated(150)
    w = np.random.default_rng(2).normal(size=(6, k)).astype(np.float32)
    stored = scheme_int4.quantize(w, None, "min-max")
    fed_back = asymmetric.Feedback(x.T @ x, 15).round(w, stored.scale.astype(float), stored.zero.astype(float))
    h = x.T @ x
    h += np.eye(k) * 0.01 * np.mean(np.diag(h))
    order = np.argsort(-np.diag(h), kind="stable")
    h = h[np.ix_(order, order)]
    rest, q = w[:, order].astype(np.float64), np.zeros((6, k))
    for i in range(k):
        q[:, i] = np.clip(np.rint(rest[:, i] / stored.scale) + stored.zero, 0, 15)
        error = rest[:, i] - (q[:, i] - stored.zero) * stored.scale
        inverse = np.linalg.inv(h[i:, i:])  # of the columns still free
        rest[:, i:] -= np.outer(error, inverse[0] / inverse[0, 0])
    assert (q != fed_back[:, order]).mean() < 0.01  # a tie may round the other way


def test_descent_lowers_the_output_error_and_stays_in_range():
    x = correlated(96)
    w = np.random.default_rng(3).normal(size=(10, 96)).astype(np.float32)
    stored = scheme_int4.quantize(w, None, "min-max")
    scale, zero = stored.scale.astype(float), stored.zero.astype(float)
    feedback = asymmetric.Feedback(x.T @ x, 15)
    for start in (stored.q.astype(float), feedback.round(w, scale, zero)):
        moved = feedback.descend(w, start, scale, zero)
        assert moved.min() >= 0 and moved.max() <= 15 and (moved == np.rint(moved)).all()
        before, after = (feedback.loss(w, q, scale, zero) for q in (start, moved))
        assert (after <= before * (1 + 1e-9)).all() and after.sum() < before.sum()


def test_naive_shares_one_symmetric_scale():
    w = np.random.default_rng(0).normal(size=(8, 32)).astype(np.float32)
    stored = scheme_int4_naive.quantize(w, None, "none")
    assert len(set(stored.scale.tolist())) == 1 and set(stored.zero.tolist()) == {8}
    assert stored.q.min() >= 1 and np.abs(stored.q.astype(int) - 8).max() == 7


def test_fp32_is_unchanged():
    w = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)
    stored = scheme_fp32.quantize(w, None, "none")
    assert isinstance(stored, FloatWeights) and stored.dequantized().tobytes() == w.tobytes()
    assert stored.stored_bytes == w.nbytes


def test_stored_bytes_count_padding_scales_and_zeros():
    w = np.random.default_rng(0).normal(size=(3, 9)).astype(np.float32)
    assert scheme_int8.quantize(w, None, "none").stored_bytes == 3 * 12 + 3 * 4
    assert scheme_int4.quantize(w, None, "mse").stored_bytes == 3 * 8 + 3 * 4 + 3
    assert scheme_int3.quantize(w, None, "mse").stored_bytes == 3 * 4 + 3 * 4 + 3
    assert scheme_int2.quantize(w, None, "mse").stored_bytes == 3 * 4 + 3 * 4 + 3
    wide = np.random.default_rng(0).normal(size=(3, 33)).astype(np.float32)
    assert scheme_int4_g32.quantize(wide, None, "mse").stored_bytes == 3 * 20 + 3 * 4 + 3 * 2
    assert [form.bytes_of(3, 33, pad=1) for form in (FP32, INT8, GROUPED, INT4, INT3, INT2)] == [396, 111, 69, 66, 54, 42]
