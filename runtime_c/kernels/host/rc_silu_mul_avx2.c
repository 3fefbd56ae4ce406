/* SPDX-License-Identifier: Apache-2.0 */
#include "rc_avx2.h"

#if defined(__x86_64__)
RC_AVX2 void rc_silu_mul_avx2(const float *g, const float *u, uint32_t ld, uint32_t rows, uint32_t n, float *h,
                              uint32_t ldh)
{
    for (uint32_t r = 0; r < rows; r++) {
        const float *const gr = g + r * ld, *const ur = u + r * ld;
        float *const hr = h + r * ldh;
        uint32_t i = 0;
        for (; i + LANES <= n; i += LANES) {
            const __m256 x = _mm256_loadu_ps(gr + i);
            const __m256 e = exp_lanes(_mm256_sub_ps(_mm256_set1_ps(-0.0f), x));
            const __m256 silu = _mm256_div_ps(x, _mm256_add_ps(_mm256_set1_ps(1.0f), e));
            _mm256_storeu_ps(hr + i, _mm256_mul_ps(silu, _mm256_loadu_ps(ur + i)));
        }
        for (; i < n; i++) {
            hr[i] = rc_silu(gr[i]) * ur[i];
        }
    }
}
#endif
