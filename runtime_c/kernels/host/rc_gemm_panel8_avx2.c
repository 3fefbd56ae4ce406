/* SPDX-License-Identifier: Apache-2.0 */
#include "recurc/rc_host.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

/* AVX2: bytes are widened to int16, unsigned weights and signed activations, and multiplied in pairs (VPMADDWD), which
 * is exact; the byte product VPMADDUBSW would saturate. Lanes hold half a channel: two halves are added at the end. */

#define LANES 8u
#define ROWS  2u
#define PARTS 4u /* registers a panel: 4 channels each */

RC_AVX2 static inline __m256i quad(const int8_t *p)
{
    int32_t v;
    memcpy(&v, p, sizeof v);
    return _mm256_cvtepi8_epi16(_mm_set1_epi32(v));
}

/* y[j] for 8 channels: halves added, zero points off, scaled. */
RC_AVX2 static inline __m256 finish(__m256i low, __m256i high, __m256i zero_sum, __m256 factor)
{
    const __m256i sums = _mm256_permute4x64_epi64(_mm256_hadd_epi32(low, high), 0xD8); /* back in order of channels */
    return _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_sub_epi32(sums, zero_sum)), factor);
}

/* `rows` is a constant where this is inlined. */
RC_AVX2 RC_ALWAYS_INLINE void block(const rc_rows8_t *x, uint32_t r0, uint32_t rows, const uint8_t *panel,
                                    const int32_t *zero, const float *scale, uint32_t n, float *y, uint32_t ldy)
{
    __m256i acc[ROWS][PARTS];
    RC_UNROLL(8)
    for (uint32_t r = 0; r < rows; r++) {
        RC_UNROLL(8)
        for (uint32_t p = 0; p < PARTS; p++) {
            acc[r][p] = _mm256_setzero_si256();
        }
    }
    const int8_t *q = x->q + r0 * x->ld;
    for (uint32_t i = 0; i < x->ld; i += 4u) {
        __m256i v[ROWS];
        RC_UNROLL(8)
        for (uint32_t r = 0; r < rows; r++) {
            v[r] = quad(q + r * x->ld + i);
        }
        RC_UNROLL(8)
        for (uint32_t p = 0; p < PARTS; p++) {
            const void *at = panel + i * RC_PANEL + p * 16u;
            const __m256i w = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)at));
            RC_UNROLL(8)
            for (uint32_t r = 0; r < rows; r++) {
                acc[r][p] = _mm256_add_epi32(acc[r][p], _mm256_madd_epi16(w, v[r]));
                __asm__("" : "+x"(acc[r][p])); /* stays in its register: GCC 12 would gather the loads and spill it */
            }
        }
    }
    RC_UNROLL(8)
    for (uint32_t r = 0; r < rows; r++) {
        const __m256i sum = _mm256_set1_epi32(x->sum[r0 + r]);
        const __m256 a = _mm256_set1_ps(x->a[r0 + r]);
        float value[RC_PANEL];
        float *to = n == RC_PANEL ? y + (r0 + r) * ldy : value;
        RC_UNROLL(8)
        for (uint32_t h = 0; h < 2u; h++) {
            const __m256i z =
                _mm256_mullo_epi32(_mm256_loadu_si256((const __m256i *)(const void *)(zero + h * LANES)), sum);
            const __m256 factor = _mm256_mul_ps(a, _mm256_loadu_ps(scale + h * LANES));
            _mm256_storeu_ps(to + h * LANES, finish(acc[r][2u * h], acc[r][2u * h + 1u], z, factor));
        }
        if (n != RC_PANEL) {
            memcpy(y + (r0 + r) * ldy, value, n * sizeof(float));
        }
    }
}

RC_AVX2 void rc_gemm_panel8_avx2(const rc_rows8_t *x, const uint8_t *panel, uint32_t n, const uint8_t *zero,
                                 const float *scale, float *y, uint32_t ldy, void *w)
{
    (void)w;
    for (uint32_t j = 0; j < n; j += RC_PANEL) {
        const uint32_t live = n - j < RC_PANEL ? n - j : RC_PANEL;
        int32_t z[RC_PANEL] = {0};
        float s[RC_PANEL] = {0.0f};
        for (uint32_t i = 0; i < live; i++) {
            z[i] = (int32_t)zero[j + i];
        }
        memcpy(s, scale + j, live * sizeof(float));
        uint32_t r = 0;
        for (; r + ROWS <= x->rows; r += ROWS) {
            block(x, r, ROWS, panel + j * x->ld, z, s, live, y + j, ldy);
        }
        if (r < x->rows) {
            block(x, r, 1u, panel + j * x->ld, z, s, live, y + j, ldy);
        }
    }
}
#endif
