/* SPDX-License-Identifier: Apache-2.0 */
#include "rc_avx512.h"

#if defined(__x86_64__)
RC_AVX512 void rc_silu_mul_avx512(const float *g, const float *u, uint32_t ld, uint32_t rows, uint32_t n, float *h,
                                  uint32_t ldh)
{
    for (uint32_t r = 0; r < rows; r++) {
        const float *const gr = g + r * ld, *const ur = u + r * ld;
        float *const hr = h + r * ldh;
        for (uint32_t i = 0; i < n; i += TOGETHER * RC_PANEL) {
            __m512 gate[TOGETHER];
            __mmask16 live[TOGETHER];
            RC_UNROLL(8)
            for (uint32_t k = 0; k < TOGETHER; k++) {
                const uint32_t left = n - i > k * RC_PANEL ? n - i - k * RC_PANEL : 0u;
                live[k] = (__mmask16)(left < RC_PANEL ? (1u << left) - 1u : 0xFFFFu);
                gate[k] = _mm512_maskz_loadu_ps(live[k], gr + i + k * RC_PANEL);
            }
            silu(gate);
            RC_UNROLL(8)
            for (uint32_t k = 0; k < TOGETHER; k++) {
                const __m512 up = _mm512_maskz_loadu_ps(live[k], ur + i + k * RC_PANEL);
                _mm512_mask_storeu_ps(hr + i + k * RC_PANEL, live[k], _mm512_mul_ps(gate[k], up));
            }
        }
    }
}
#endif
