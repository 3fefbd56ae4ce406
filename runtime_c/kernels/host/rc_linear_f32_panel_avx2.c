/* SPDX-License-Identifier: Apache-2.0 */
#include "recurc/rc_host.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

/* AVX2: a lane a channel, four partial sums by k mod 4 for half a panel, so the bits are those of rc_linear_f32.
 * Products and sums are rounded apart (-ffp-contract=off holds for intrinsics too). */

#define LANES 8u
#define ROWS  2u

RC_AVX2 static inline __m256 madd(__m256 acc, const float *x, __m256 w)
{
    return _mm256_add_ps(acc, _mm256_mul_ps(_mm256_set1_ps(*x), w));
}

/* Channels 0..7 of a panel that starts at `panel`, for two rows (which may be the same). */
RC_AVX2 static inline void pair(const float *const *x, uint32_t k, const float *panel, float *const *to)
{
    __m256 s[ROWS][4];
    RC_UNROLL(8)
    for (uint32_t m = 0; m < 4u; m++) {
        s[0][m] = _mm256_setzero_ps();
        s[1][m] = _mm256_setzero_ps();
    }
    uint32_t i = 0;
    for (; i + 4u <= k; i += 4u) {
        RC_UNROLL(8)
        for (uint32_t m = 0; m < 4u; m++) {
            const __m256 w = _mm256_loadu_ps(panel + (i + m) * RC_PANEL);
            s[0][m] = madd(s[0][m], x[0] + i + m, w);
            s[1][m] = madd(s[1][m], x[1] + i + m, w);
        }
    }
    RC_UNROLL(8)
    for (uint32_t m = 0; m < 3u; m++) {
        if (i + m < k) {
            const __m256 w = _mm256_loadu_ps(panel + (i + m) * RC_PANEL);
            s[0][m] = madd(s[0][m], x[0] + i + m, w);
            s[1][m] = madd(s[1][m], x[1] + i + m, w);
        }
    }
    for (uint32_t r = 0; r < ROWS; r++) {
        _mm256_storeu_ps(to[r], _mm256_add_ps(_mm256_add_ps(s[r][0], s[r][1]), _mm256_add_ps(s[r][2], s[r][3])));
    }
}

RC_AVX2 void rc_linear_f32_panel_avx2(const float *x, uint32_t ldx, uint32_t rows, uint32_t k, const float *panel,
                                      uint32_t n, float *y, uint32_t ldy)
{
    for (uint32_t j = 0; j < n; j += LANES) {
        const float *half = panel + j / RC_PANEL * RC_PANEL * k + j % RC_PANEL;
        const uint32_t live = n - j < LANES ? n - j : LANES;
        for (uint32_t r = 0; r < rows; r += ROWS) {
            const uint32_t second = r + 1u < rows ? r + 1u : r;
            const float *const at[ROWS] = {x + r * ldx, x + second * ldx};
            float value[ROWS][LANES];
            float *const to[ROWS] = {value[0], value[1]};
            pair(at, k, half, to);
            memcpy(y + r * ldy + j, value[0], live * sizeof(float));
            memcpy(y + second * ldy + j, value[1], live * sizeof(float));
        }
    }
}
#endif
