/* SPDX-License-Identifier: Apache-2.0 */
#include "recurc/rc_host.h"

#if defined(__x86_64__)
#include <immintrin.h>

/* AVX-512: four rows share each weight load; a lane a channel, four partial sums by k mod 4, so the bits are those of
 * rc_linear_f32. Products and sums are rounded apart (-ffp-contract=off holds for intrinsics too). */

#define ROWS 4u

RC_AVX512 static inline __m512 madd(__m512 acc, const float *x, __m512 w)
{
    return _mm512_add_ps(acc, _mm512_mul_ps(_mm512_set1_ps(*x), w));
}

RC_AVX512 static void rows_of_panel(const float *const *x, uint32_t rows, uint32_t k, const float *panel,
                                    __mmask16 live, float *y, uint32_t ldy)
{
    __m512 s[ROWS][4];
    for (uint32_t r = 0; r < ROWS; r++) {
        for (uint32_t m = 0; m < 4u; m++) {
            s[r][m] = _mm512_setzero_ps();
        }
    }
    uint32_t i = 0;
    for (; i + 4u <= k; i += 4u) {
        for (uint32_t m = 0; m < 4u; m++) {
            const __m512 w = _mm512_loadu_ps(panel + (i + m) * 16u);
            for (uint32_t r = 0; r < ROWS; r++) {
                s[r][m] = madd(s[r][m], x[r] + i + m, w);
            }
        }
    }
    for (uint32_t m = 0; i + m < k; m++) {
        const __m512 w = _mm512_loadu_ps(panel + (i + m) * 16u);
        for (uint32_t r = 0; r < ROWS; r++) {
            s[r][m] = madd(s[r][m], x[r] + i + m, w);
        }
    }
    for (uint32_t r = 0; r < rows; r++) {
        const __m512 sum = _mm512_add_ps(_mm512_add_ps(s[r][0], s[r][1]), _mm512_add_ps(s[r][2], s[r][3]));
        _mm512_mask_storeu_ps(y + r * ldy, live, sum);
    }
}

RC_AVX512 void rc_linear_f32_panel_avx512(const float *x, uint32_t ldx, uint32_t rows, uint32_t k, const float *panel,
                                          uint32_t n, float *y, uint32_t ldy)
{
    for (uint32_t j = 0; j < n; j += 16u, panel += 16u * k) {
        const __mmask16 live = (__mmask16)(n - j < 16u ? (1u << (n - j)) - 1u : 0xFFFFu);
        for (uint32_t r = 0; r < rows; r += ROWS) {
            const uint32_t count = rows - r < ROWS ? rows - r : ROWS;
            const float *at[ROWS];
            for (uint32_t m = 0; m < ROWS; m++) {
                at[m] = x + (r + (m < count ? m : 0u)) * ldx;
            }
            rows_of_panel(at, count, k, panel, live, y + r * ldy + j, ldy);
        }
    }
}
#endif
