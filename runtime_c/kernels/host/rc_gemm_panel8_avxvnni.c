/* SPDX-License-Identifier: Apache-2.0 */
#include "recurc/rc_host.h"

#if defined(RC_AVXVNNI)
#include <immintrin.h>
#include <string.h>

/* AVX-VNNI, for CPUs without AVX-512: VPDPBUSD multiplies unsigned weight bytes by signed activation bytes, four a
 * lane, exactly (it does not saturate). Up to 6 rows by one panel (two registers) are summed in registers. */

#define ROWS  6u
#define LANES 8u

typedef struct {
    const uint8_t *panel;
    uint32_t n;
    __m256i minus_zero[2];
    __m256 scale[2];
} tile_t;

RC_AVXVNNI static inline __m256i quad(const int8_t *p)
{
    int32_t v;
    memcpy(&v, p, sizeof v);
    return _mm256_set1_epi32(v);
}

/* One instruction, spelled out: around the intrinsic GCC 12 copies every accumulator in every turn. */
RC_AVXVNNI static inline void multiply_add(__m256i *acc, __m256i w, __m256i x)
{
    __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(*acc) : "x"(w), "x"(x));
}

/* `rows` is a constant where this is inlined. */
RC_AVXVNNI RC_ALWAYS_INLINE void block(const rc_rows8_t *x, uint32_t r0, uint32_t rows, const tile_t *t, float *y,
                                       uint32_t ldy)
{
    __m256i acc[ROWS][2];
    RC_UNROLL(8)
    for (uint32_t r = 0; r < rows; r++) {
        const __m256i sum = _mm256_set1_epi32(x->sum[r0 + r]);
        acc[r][0] = _mm256_mullo_epi32(t->minus_zero[0], sum);
        acc[r][1] = _mm256_mullo_epi32(t->minus_zero[1], sum);
    }
    const int8_t *q = x->q + r0 * x->ld;
    for (uint32_t i = 0; i < x->ld; i += 4u) {
        const __m256i w0 = _mm256_loadu_si256((const __m256i *)(const void *)(t->panel + i * RC_PANEL));
        const __m256i w1 = _mm256_loadu_si256((const __m256i *)(const void *)(t->panel + i * RC_PANEL + 32u));
        RC_UNROLL(8)
        for (uint32_t r = 0; r < rows; r++) {
            const __m256i v = quad(q + r * x->ld + i);
            multiply_add(&acc[r][0], w0, v);
            multiply_add(&acc[r][1], w1, v);
        }
    }
    RC_UNROLL(8)
    for (uint32_t r = 0; r < rows; r++) {
        const __m256 a = _mm256_set1_ps(x->a[r0 + r]);
        float value[RC_PANEL];
        float *to = t->n == RC_PANEL ? y + (r0 + r) * ldy : value;
        _mm256_storeu_ps(to, _mm256_mul_ps(_mm256_cvtepi32_ps(acc[r][0]), _mm256_mul_ps(a, t->scale[0])));
        _mm256_storeu_ps(to + LANES, _mm256_mul_ps(_mm256_cvtepi32_ps(acc[r][1]), _mm256_mul_ps(a, t->scale[1])));
        if (t->n != RC_PANEL) {
            memcpy(y + (r0 + r) * ldy, value, t->n * sizeof(float));
        }
    }
}

RC_AVXVNNI static void rows_of(const rc_rows8_t *x, const tile_t *t, float *y, uint32_t ldy)
{
    const uint32_t whole = x->rows / ROWS * ROWS;
    for (uint32_t r = 0; r < whole; r += ROWS) {
        block(x, r, ROWS, t, y, ldy);
    }
    switch (x->rows - whole) {
    case 5:
        block(x, whole, 5u, t, y, ldy);
        break;
    case 4:
        block(x, whole, 4u, t, y, ldy);
        break;
    case 3:
        block(x, whole, 3u, t, y, ldy);
        break;
    case 2:
        block(x, whole, 2u, t, y, ldy);
        break;
    case 1:
        block(x, whole, 1u, t, y, ldy);
        break;
    default:
        break;
    }
}

RC_AVXVNNI void rc_gemm_panel8_avxvnni(const rc_rows8_t *x, const uint8_t *panel, uint32_t n, const uint8_t *zero,
                                       const float *scale, float *y, uint32_t ldy, void *w)
{
    (void)w;
    for (uint32_t j = 0; j < n; j += RC_PANEL) {
        tile_t t = {.panel = panel + j * x->ld, .n = n - j < RC_PANEL ? n - j : RC_PANEL};
        int32_t minus[RC_PANEL] = {0};
        float s[RC_PANEL] = {0.0f};
        for (uint32_t i = 0; i < t.n; i++) {
            minus[i] = -(int32_t)zero[j + i];
            s[i] = scale[j + i];
        }
        for (uint32_t h = 0; h < 2u; h++) {
            t.minus_zero[h] = _mm256_loadu_si256((const __m256i *)(const void *)(minus + h * LANES));
            t.scale[h] = _mm256_loadu_ps(s + h * LANES);
        }
        rows_of(x, &t, y + j, ldy);
    }
}
#endif
