/* SPDX-License-Identifier: Apache-2.0 */
#include "recurc/rc_host.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include "recurc/rc_arith.h"

#define LANES 8u

RC_AVX2 static inline __m256i magnitude(const float *x)
{
    return _mm256_and_si256(_mm256_castps_si256(_mm256_loadu_ps(x)), _mm256_set1_epi32(0x7FFFFFFF));
}

/* Magnitudes compare as their bits do, NaN being the largest. */
RC_AVX2 static float row_peak(const float *x, uint32_t n)
{
    __m256i m[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    uint32_t i = 0;
    for (; i + 2u * LANES <= n; i += 2u * LANES) {
        m[0] = _mm256_max_epi32(magnitude(x + i), m[0]);
        m[1] = _mm256_max_epi32(magnitude(x + i + LANES), m[1]);
    }
    int32_t lanes[LANES];
    _mm256_storeu_si256((__m256i *)(void *)lanes, _mm256_max_epi32(m[0], m[1]));
    int32_t peak = 0;
    for (uint32_t j = 0; j < LANES; j++) {
        peak = lanes[j] > peak ? lanes[j] : peak;
    }
    for (; i < n; i++) {
        const int32_t v = rc_bits_of(x[i]) & 0x7FFFFFFF;
        peak = v > peak ? v : peak;
    }
    return rc_float_of(peak);
}

/* Conversion rounds half to even. */
RC_AVX2 static inline __m256i rounded(const float *x, __m256 inverse)
{
    return _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x), inverse));
}

RC_AVX2 void rc_quantize_rows8_avx2(const float *x, uint32_t ldx, uint32_t rows, uint32_t n, int8_t *q, uint32_t ld,
                                    float *a, int32_t *sum)
{
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7); /* what the two packs leave */
    for (uint32_t r = 0; r < rows; r++, x += ldx, q += ld) {
        const float inverse = rc_peak_scale(row_peak(x, n), a + r);
        const uint32_t live = inverse > 0.0f ? n : 0u;
        const __m256 factor = _mm256_set1_ps(inverse);
        __m256i totals = _mm256_setzero_si256();
        uint32_t i = 0;
        for (; i + 4u * LANES <= live; i += 4u * LANES) {
            const __m256i v0 = rounded(x + i, factor), v1 = rounded(x + i + LANES, factor);
            const __m256i v2 = rounded(x + i + 2u * LANES, factor), v3 = rounded(x + i + 3u * LANES, factor);
            totals = _mm256_add_epi32(totals, _mm256_add_epi32(_mm256_add_epi32(v0, v1), _mm256_add_epi32(v2, v3)));
            const __m256i bytes = _mm256_packs_epi16(_mm256_packs_epi32(v0, v1), _mm256_packs_epi32(v2, v3));
            _mm256_storeu_si256((__m256i *)(void *)(q + i), _mm256_permutevar8x32_epi32(bytes, order));
        }
        int32_t lanes[LANES];
        int32_t total = 0;
        _mm256_storeu_si256((__m256i *)(void *)lanes, totals);
        for (uint32_t j = 0; j < LANES; j++) {
            total += lanes[j];
        }
        for (; i < live; i++) {
            const int32_t v = rc_round(x[i] * inverse);
            q[i] = (int8_t)v;
            total += v;
        }
        for (; i < ld; i++) {
            q[i] = 0;
        }
        sum[r] = total;
    }
}
#endif
