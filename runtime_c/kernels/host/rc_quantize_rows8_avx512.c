/* SPDX-License-Identifier: Apache-2.0 */
#include "recurc/rc_host.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include "recurc/rc_arith.h"

#define LANES 16u

RC_AVX512 static inline __mmask16 first(uint32_t n)
{
    return (__mmask16)(n < LANES ? (1u << n) - 1u : 0xFFFFu);
}

RC_AVX512 static inline __m512i magnitude(__mmask16 in, const float *x)
{
    return _mm512_castps_si512(_mm512_abs_ps(_mm512_maskz_loadu_ps(in, x)));
}

/* Magnitudes compare as their bits do, NaN being the largest; conversion rounds half to even. Lanes beyond the row are
 * loaded as zeros. */
RC_AVX512 void rc_quantize_rows8_avx512(const float *x, uint32_t ldx, uint32_t rows, uint32_t n, int8_t *q, uint32_t ld,
                                        float *a, int32_t *sum)
{
    for (uint32_t r = 0; r < rows; r++, x += ldx, q += ld) {
        __m512i m[4];
        for (uint32_t k = 0; k < 4u; k++) {
            m[k] = _mm512_setzero_si512();
        }
        uint32_t i = 0;
        for (; i + 4u * LANES <= n; i += 4u * LANES) {
            for (uint32_t k = 0; k < 4u; k++) {
                m[k] = _mm512_max_epi32(magnitude(0xFFFFu, x + i + k * LANES), m[k]);
            }
        }
        for (; i < n; i += LANES) {
            m[0] = _mm512_max_epi32(magnitude(first(n - i), x + i), m[0]);
        }
        const __m512i largest = _mm512_max_epi32(_mm512_max_epi32(m[0], m[1]), _mm512_max_epi32(m[2], m[3]));
        const float factor = rc_peak_scale(rc_float_of(_mm512_reduce_max_epi32(largest)), a + r);
        const uint32_t live = factor > 0.0f ? n : 0u;
        const __m512 inverse = _mm512_set1_ps(factor);
        __m512i total = _mm512_setzero_si512();
        for (i = 0; i < ld; i += LANES) {
            const __mmask16 in = first(live > i ? live - i : 0u);
            const __m512i v = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_maskz_loadu_ps(in, x + i), inverse));
            total = _mm512_add_epi32(total, v);
            if (ld - i >= LANES) {
                _mm_storeu_si128((__m128i *)(void *)(q + i), _mm512_cvtepi32_epi8(v));
            } else {
                _mm_mask_storeu_epi8(q + i, first(ld - i), _mm512_cvtepi32_epi8(v));
            }
        }
        sum[r] = _mm512_reduce_add_epi32(total);
    }
}
#endif
