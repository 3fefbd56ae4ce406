/* SPDX-License-Identifier: Apache-2.0 */
#include "recurc/rc_host.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#include "recurc/rc_arith.h"

#define ROWS 4u

/* The four partial sums of a row are the lanes of one register; four rows side by side, since each addition waits for
 * the one before it. */
RC_AVX2 static inline __m128 add_squares(__m128 sum, __m128 v)
{
    return _mm_add_ps(sum, _mm_mul_ps(v, v));
}

RC_AVX2 void rc_rms_rows_avx2(float *x, uint32_t ld, uint32_t rows, uint32_t n, float eps)
{
    for (uint32_t r0 = 0; r0 < rows; r0 += ROWS) {
        const uint32_t live = rows - r0 < ROWS ? rows - r0 : ROWS;
        float *row[ROWS];
        __m128 s[ROWS];
        for (uint32_t r = 0; r < ROWS; r++) {
            row[r] = x + (r0 + (r < live ? r : 0u)) * ld;
            s[r] = _mm_setzero_ps();
        }
        uint32_t i = 0;
        for (; i + 4u <= n; i += 4u) {
            RC_UNROLL(4)
            for (uint32_t r = 0; r < ROWS; r++) {
                s[r] = add_squares(s[r], _mm_loadu_ps(row[r] + i));
            }
        }
        for (uint32_t r = 0; r < live; r++) {
            float rest[4] = {0.0f, 0.0f, 0.0f, 0.0f}; /* their squares change no sum */
            memcpy(rest, row[r] + i, (n - i) * sizeof(float));
            float lanes[4];
            _mm_storeu_ps(lanes, add_squares(s[r], _mm_loadu_ps(rest)));
            const float factor = rc_rms_factor(((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) / (float)n, eps);
            for (uint32_t k = 0; k < n; k++) {
                row[r][k] *= factor;
            }
        }
    }
}
#endif
