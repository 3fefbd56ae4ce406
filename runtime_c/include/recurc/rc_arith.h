/* SPDX-License-Identifier: Apache-2.0 */
/* Scalar arithmetic of recurc, contract v2 (SPEC.md, "Arithmetic"). Everything here is IEEE 754 binary32 with round to
 * nearest even, one rounding an operation: compile with -ffp-contract=off and without -ffast-math. Then every target
 * gives the same bits. The NumPy twin is recurc/quant/arith.py. */
#ifndef RECURC_ARITH_H
#define RECURC_ARITH_H

#include "recurc/rc_guard.h"

#include <stdint.h>
#include <string.h>

#include "recurc/rc_compiler.h"

#define RC_ARITHMETIC_ID 2u

RC_STATIC_ASSERT(sizeof(float) == 4, "binary32 expected");

/* Rows whose largest magnitude is below 2^-96 quantize to zeros: scales and their inverses stay normal numbers. */
#define RC_ROW_TINY 0x1p-96f

/* 1.5 * 2^23: adding it rounds |x| < 2^22 to an integer, half to even, and leaves that integer in the low mantissa
 * bits. */
#define RC_ROUND_MAGIC 12582912.0f
#define RC_ROUND_BITS  0x4B400000

static inline int32_t rc_bits_of(float x)
{
    int32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline float rc_float_of(int32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* What stands where a result is not a finite number. */
#define RC_F32_LARGEST 0x1.fffffep127f

static inline float rc_nan(void)
{
    return rc_float_of(0x7FC00000);
}

static inline uint32_t rc_is_finite(float x)
{
    return (uint32_t)((uint32_t)rc_bits_of(x) << 1 < 0xFF000000u);
}

static inline float rc_abs(float x)
{
    return rc_float_of(rc_bits_of(x) & 0x7FFFFFFF);
}

/* Round half to even; |x| < 2^22. Others give some number. */
static inline int32_t rc_round(float x)
{
    return (int32_t)((uint32_t)rc_bits_of(x + RC_ROUND_MAGIC) - (uint32_t)RC_ROUND_BITS);
}

/* Scale of a row to *a from its largest magnitude; returns its inverse, zero for a row of (nearly) zeros and for one
 * that is not finite, which have q = 0. Else x * inverse needs no clamp: |x * (1 / (m / 127))| <= 127 * (1 + 2^-22). */
static inline float rc_peak_scale(float m, float *a)
{
    if (m < RC_ROW_TINY) {
        *a = 0.0f;
        return 0.0f;
    }
    if (!(m <= RC_F32_LARGEST)) {
        *a = rc_nan();
        return 0.0f;
    }
    *a = m / 127.0f;
    return 1.0f / *a;
}

/* The same from a row of n. Magnitudes compare as their bits do, shifted left by one to lose the sign. */
static inline float rc_row_scale(const float *x, uint32_t n, float *a)
{
    uint32_t peak = 0;
    RC_UNROLL(8)
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t v = (uint32_t)rc_bits_of(x[i]) << 1;
        peak = v > peak ? v : peak;
    }
    return rc_peak_scale(rc_float_of((int32_t)(peak >> 1)), a);
}

/* e^x for x of [-87, 88]: the result is a normal number. Error below 2 ulp. */
static inline float rc_exp_inside(float x)
{
    const float t = x * 1.44269504088896341f + RC_ROUND_MAGIC;
    const float n = t - RC_ROUND_MAGIC;
    const uint32_t power = ((uint32_t)rc_bits_of(t) + 127u) << 23; /* 2^n: RC_ROUND_BITS has no bit below 2^22 */
    const float r = (x - n * 0.693359375f) - n * -2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = (p * (r * r) + r) + 1.0f;
    return p * rc_float_of((int32_t)power);
}

/* e^x for any finite x, clamped to [-87, 88]. */
static inline float rc_exp(float x)
{
    x = x < -87.0f ? -87.0f : x;
    x = x > 88.0f ? 88.0f : x;
    return rc_exp_inside(x);
}

/* x * sigmoid(x) */
static inline float rc_silu(float x)
{
    return x / (1.0f + rc_exp(-x));
}

/* binary16, as fp16 carries are stored: round to nearest even, magnitudes beyond 65504 become 65504. Integer steps only
 * where a float would be subnormal, which some targets flush. NaN gives some number: whoever stores looks for it. */
static inline uint16_t rc_to_half(float x)
{
    const int32_t bits = rc_bits_of(x);
    const float a = rc_abs(x);
    int32_t h = 0;
    if (a >= 0x1p-14f) {
        const int32_t m = bits & 0x7FFFFFFF;
        h = ((m + 0xFFF + ((m >> 13) & 1)) >> 13) - (112 << 10);
        h = h > 0x7BFF ? 0x7BFF : h;
    } else {
        h = rc_round(a * 0x1p24f);
    }
    return (uint16_t)(((uint32_t)bits >> 31 << 15) | (uint32_t)h);
}

static inline float rc_from_half(uint16_t half)
{
    const int32_t m = half & 0x7FFF;
    const float a = m < 0x400 ? (float)m * 0x1p-24f : rc_float_of((m << 13) + (112 << 23));
    return (half & 0x8000) != 0 ? -a : a;
}

/* Square root, correctly rounded, of what is not negative: one instruction on every target that has an FPU. Elsewhere in
 * integers: of the mantissa times 2^24, 25 bits, the last of which rounds; a root never lies halfway between two floats. */
static inline float rc_sqrt(float x)
{
#if defined(RC_SQRT_INSTRUCTION)
    float root;
    RC_SQRT_INSTRUCTION(root, x);
    return root;
#else
    int32_t power = rc_bits_of(x) >> 23;
    uint64_t m = (uint64_t)(rc_bits_of(x) & 0x7FFFFF), root = 0;
    if (!(x > 0.0f) || power == 255) {
        return x;
    }
    m |= power != 0 ? 1u << 23 : 0u;
    for (power += power == 0 ? 1 : 0; m < 1u << 23; power--) { /* a subnormal number */
        m <<= 1;
    }
    m <<= (power & 1) != 0 ? 25 : 26; /* times 2^24, and an even power of 2 */
    for (uint64_t bit = (uint64_t)1 << 48; bit != 0u; bit >>= 2) {
        const uint64_t step = root + bit;
        root >>= 1;
        if (m >= step) {
            m -= step;
            root += bit;
        }
    }
    power = (power & 1) != 0 ? (power + 127) / 2 : (power + 126) / 2;
    return rc_float_of((int32_t)((uint32_t)power << 23) + (int32_t)((root + 1u) / 2u) - (1 << 23));
#endif
}

/* What a row is multiplied by, from the mean of its squares: NaN when that is not finite, so that all of the row shows it. */
static inline float rc_rms_factor(float mean, float eps)
{
    return mean <= RC_F32_LARGEST ? 1.0f / rc_sqrt(mean + eps) : rc_nan();
}

#endif
