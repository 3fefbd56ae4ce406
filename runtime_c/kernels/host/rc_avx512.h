/* SPDX-License-Identifier: Apache-2.0 */
/* What the AVX-512 kernels share: sums of a block of rows by panels in registers, and SiLU. */
#ifndef RECURC_AVX512_H
#define RECURC_AVX512_H

#include "recurc/rc_host.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#define ROWS   6u
#define PANELS 4u

/* Up to four panels of 16 channels, `n` channels live in all; zero points with their signs turned. */
typedef struct {
    const uint8_t *panel[PANELS];
    __mmask16 live[PANELS];
    __m512i minus_zero[PANELS];
    __m512 scale[PANELS];
} tile_t;

RC_AVX512 static inline void set_panel(tile_t *t, uint32_t p, const uint8_t *panel, uint32_t n, const uint8_t *zero,
                                       const float *scale)
{
    t->panel[p] = panel;
    t->live[p] = (__mmask16)(n < RC_PANEL ? (1u << n) - 1u : 0xFFFFu);
    const __m512i z = _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(t->live[p], zero));
    t->minus_zero[p] = _mm512_sub_epi32(_mm512_setzero_si512(), z);
    t->scale[p] = _mm512_maskz_loadu_ps(t->live[p], scale);
}

/* VPDPBUSD multiplies unsigned weight bytes by signed activation bytes, four a lane, exactly (it does not saturate). It
 * is spelled out: around the intrinsic GCC 12 copies every accumulator in every turn. */
RC_AVX512 static inline void multiply_add(__m512i *acc, __m512i w, __m512i x)
{
    __asm__("vpdpbusd %2, %1, %0" : "+v"(*acc) : "v"(w), "v"(x));
}

/* acc[r][p] = sums less zero points; `rows` and `panels` are constants where this is inlined. */
RC_AVX512 RC_ALWAYS_INLINE void block_sums(const rc_rows8_t *x, uint32_t r0, uint32_t rows, uint32_t panels,
                                           const tile_t *t, __m512i acc[ROWS][PANELS])
{
    RC_UNROLL(8)
    for (uint32_t r = 0; r < rows; r++) {
        const __m512i sum = _mm512_set1_epi32(x->sum[r0 + r]);
        RC_UNROLL(8)
        for (uint32_t p = 0; p < panels; p++) {
            acc[r][p] = _mm512_mullo_epi32(t->minus_zero[p], sum);
        }
    }
    const int8_t *q = x->q + r0 * x->ld;
    for (uint32_t i = 0; i < x->ld; i += 4u) {
        __m512i w[PANELS];
        RC_UNROLL(8)
        for (uint32_t p = 0; p < panels; p++) {
            w[p] = _mm512_loadu_si512(t->panel[p] + i * RC_PANEL);
        }
        RC_UNROLL(8)
        for (uint32_t r = 0; r < rows; r++) {
            int32_t bytes;
            memcpy(&bytes, q + r * x->ld + i, sizeof bytes);
            const __m512i v = _mm512_set1_epi32(bytes);
            RC_UNROLL(8)
            for (uint32_t p = 0; p < panels; p++) {
                multiply_add(&acc[r][p], w[p], v);
            }
        }
    }
}

RC_AVX512 static inline __m512 scaled(__m512i acc, __m512 a, __m512 scale)
{
    return _mm512_mul_ps(_mm512_cvtepi32_ps(acc), _mm512_mul_ps(a, scale));
}

#define TOGETHER 4u

/* Each of `TOGETHER` registers becomes what `expression` of its number k says. */
#define EACH(target, expression)                                                                                       \
    _Pragma("GCC unroll 8") for (uint32_t k = 0; k < TOGETHER; k++)                                                    \
    {                                                                                                                  \
        target[k] = expression;                                                                                        \
    }
#define HORNER(p, r, c) EACH(p, _mm512_add_ps(_mm512_mul_ps(p[k], r[k]), _mm512_set1_ps(c)))

/* rc_silu of each lane, operation by operation (rc_arith.h), x in place. Four registers side by side: each operation
 * waits for the one before it. VSCALEFPS multiplies by 2^n, exactly, as the result is a normal number; MAXPS and MINPS
 * give their second operand where the first is not beyond it. */
RC_AVX512 RC_ALWAYS_INLINE void silu(__m512 x[TOGETHER])
{
    const __m512 magic = _mm512_set1_ps(12582912.0f);
    __m512 v[TOGETHER], n[TOGETHER], r[TOGETHER], p[TOGETHER];
    EACH(v, _mm512_sub_ps(_mm512_set1_ps(-0.0f), x[k]))
    EACH(v, _mm512_max_ps(_mm512_set1_ps(-87.0f), v[k]))
    EACH(v, _mm512_min_ps(_mm512_set1_ps(88.0f), v[k]))
    EACH(n, _mm512_mul_ps(v[k], _mm512_set1_ps(1.44269504088896341f)))
    EACH(n, _mm512_add_ps(n[k], magic))
    EACH(n, _mm512_sub_ps(n[k], magic))
    EACH(r, _mm512_sub_ps(v[k], _mm512_mul_ps(n[k], _mm512_set1_ps(0.693359375f))))
    EACH(r, _mm512_sub_ps(r[k], _mm512_mul_ps(n[k], _mm512_set1_ps(-2.12194440e-4f))))
    EACH(p, _mm512_set1_ps(1.9875691500e-4f))
    HORNER(p, r, 1.3981999507e-3f)
    HORNER(p, r, 8.3334519073e-3f)
    HORNER(p, r, 4.1665795894e-2f)
    HORNER(p, r, 1.6666665459e-1f)
    HORNER(p, r, 5.0000001201e-1f)
    EACH(p, _mm512_add_ps(_mm512_mul_ps(p[k], _mm512_mul_ps(r[k], r[k])), r[k]))
    EACH(p, _mm512_scalef_ps(_mm512_add_ps(p[k], _mm512_set1_ps(1.0f)), n[k]))
    EACH(x, _mm512_div_ps(x[k], _mm512_add_ps(_mm512_set1_ps(1.0f), p[k])))
}

/* Calls of `block` for all rows, as even as they come: no block of one row at the end. */
#define FOR_BLOCKS(x, block, ...)                                                                                      \
    for (uint32_t b_ = 0, r_ = 0, n_ = 0, blocks_ = ((x)->rows + ROWS - 1u) / ROWS; b_ < blocks_; b_++, r_ += n_) {    \
        n_ = ((x)->rows - r_ + blocks_ - b_ - 1u) / (blocks_ - b_);                                                    \
        switch (n_) {                                                                                                  \
        case 6:                                                                                                        \
            block(x, r_, 6u, __VA_ARGS__);                                                                             \
            break;                                                                                                     \
        case 5:                                                                                                        \
            block(x, r_, 5u, __VA_ARGS__);                                                                             \
            break;                                                                                                     \
        case 4:                                                                                                        \
            block(x, r_, 4u, __VA_ARGS__);                                                                             \
            break;                                                                                                     \
        case 3:                                                                                                        \
            block(x, r_, 3u, __VA_ARGS__);                                                                             \
            break;                                                                                                     \
        case 2:                                                                                                        \
            block(x, r_, 2u, __VA_ARGS__);                                                                             \
            break;                                                                                                     \
        default:                                                                                                       \
            block(x, r_, 1u, __VA_ARGS__);                                                                             \
            break;                                                                                                     \
        }                                                                                                              \
    }

#endif
#endif
