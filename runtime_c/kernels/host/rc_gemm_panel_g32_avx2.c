/* SPDX-License-Identifier: Apache-2.0 */
#include "recurc/rc_host.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

/* AVX2, weights in groups, stored as q + 8: VPMADDUBSW's sums of a group stay within int16 (8 * 2 * 15 * 127 = 30480);
 * what the 8 adds is summed beside them and taken away, then the group's scale is multiplied in as int32. */

#define LANES 8u
#define ROWS  2u
#define GROUP 32u

RC_AVX2 static inline __m256i quad(const int8_t *p)
{
    int32_t v;
    memcpy(&v, p, sizeof v);
    return _mm256_set1_epi32(v);
}

/* `rows` is a constant where this is inlined. */
RC_AVX2 RC_ALWAYS_INLINE void block(const rc_rows8_t *x, uint32_t r0, uint32_t rows, const uint8_t *panel,
                                    const uint8_t *m, const float *scale, uint32_t n, float *y, uint32_t ldy)
{
    const __m256i eights = _mm256_set1_epi8(8), ones = _mm256_set1_epi16(1);
    const int8_t *q = x->q + r0 * x->ld;
    __m256i acc[ROWS][2];
    RC_UNROLL(8)
    for (uint32_t r = 0; r < rows; r++) {
        acc[r][0] = _mm256_setzero_si256();
        acc[r][1] = _mm256_setzero_si256();
    }
    for (uint32_t i = 0; i < x->ld; m += RC_PANEL) {
        const uint32_t end = x->ld - i < GROUP ? x->ld : i + GROUP;
        __m256i pairs[ROWS][2], offset[ROWS];
        RC_UNROLL(8)
        for (uint32_t r = 0; r < rows; r++) {
            pairs[r][0] = _mm256_setzero_si256();
            pairs[r][1] = _mm256_setzero_si256();
            offset[r] = _mm256_setzero_si256();
        }
        for (; i < end; i += 4u) {
            const __m256i w0 = _mm256_loadu_si256((const __m256i *)(const void *)(panel + i * RC_PANEL));
            const __m256i w1 = _mm256_loadu_si256((const __m256i *)(const void *)(panel + i * RC_PANEL + 32u));
            RC_UNROLL(8)
            for (uint32_t r = 0; r < rows; r++) {
                const __m256i v = quad(q + r * x->ld + i);
                pairs[r][0] = _mm256_add_epi16(pairs[r][0], _mm256_maddubs_epi16(w0, v));
                pairs[r][1] = _mm256_add_epi16(pairs[r][1], _mm256_maddubs_epi16(w1, v));
                offset[r] = _mm256_add_epi16(offset[r], _mm256_maddubs_epi16(eights, v));
            }
        }
        RC_UNROLL(8)
        for (uint32_t h = 0; h < 2u; h++) {
            const __m256i factor =
                _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)(m + h * LANES)));
            RC_UNROLL(8)
            for (uint32_t r = 0; r < rows; r++) {
                const __m256i sum = _mm256_madd_epi16(_mm256_sub_epi16(pairs[r][h], offset[r]), ones);
                acc[r][h] = _mm256_add_epi32(acc[r][h], _mm256_mullo_epi32(sum, factor));
            }
        }
    }
    RC_UNROLL(8)
    for (uint32_t r = 0; r < rows; r++) {
        const __m256 a = _mm256_set1_ps(x->a[r0 + r]);
        float value[RC_PANEL];
        float *to = n == RC_PANEL ? y + (r0 + r) * ldy : value;
        RC_UNROLL(8)
        for (uint32_t h = 0; h < 2u; h++) {
            const __m256 factor = _mm256_mul_ps(a, _mm256_loadu_ps(scale + h * LANES));
            _mm256_storeu_ps(to + h * LANES, _mm256_mul_ps(_mm256_cvtepi32_ps(acc[r][h]), factor));
        }
        if (n != RC_PANEL) {
            memcpy(y + (r0 + r) * ldy, value, n * sizeof(float));
        }
    }
}

RC_AVX2 void rc_gemm_panel_g32_avx2(const rc_rows8_t *x, const uint8_t *panel, uint32_t n, const uint8_t *zero,
                                    const float *scale, float *y, uint32_t ldy, void *w)
{
    const uint32_t groups = (x->ld + GROUP - 1u) / GROUP;
    (void)w;
    for (uint32_t j = 0; j < n; j += RC_PANEL) {
        const uint32_t live = n - j < RC_PANEL ? n - j : RC_PANEL;
        const uint8_t *const m = zero + j * groups;
        float s[RC_PANEL] = {0.0f};
        memcpy(s, scale + j, live * sizeof(float));
        uint32_t r = 0;
        for (; r + ROWS <= x->rows; r += ROWS) {
            block(x, r, ROWS, panel + j * x->ld, m, s, live, y + j, ldy);
        }
        for (; r < x->rows; r++) {
            block(x, r, 1u, panel + j * x->ld, m, s, live, y + j, ldy);
        }
    }
}
#endif
