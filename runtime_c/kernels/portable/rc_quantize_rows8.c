/* SPDX-License-Identifier: Apache-2.0 */
#include "recurc/rc_arith.h"
#include "recurc/rc_kernels.h"

void rc_quantize_rows8(const float *x, uint32_t ldx, uint32_t rows, uint32_t n, int8_t *q, uint32_t ld, float *a,
                       int32_t *sum)
{
    for (uint32_t r = 0; r < rows; r++, x += ldx, q += ld) {
        const float inverse = rc_row_scale(x, n, a + r);
        const uint32_t live = inverse > 0.0f ? n : 0u;
        int32_t total = 0;
        for (uint32_t i = 0; i < live; i++) {
            const int32_t v = rc_round(x[i] * inverse);
            q[i] = (int8_t)v;
            total += v;
        }
        for (uint32_t i = live; i < ld; i++) {
            q[i] = 0;
        }
        sum[r] = total;
    }
}
