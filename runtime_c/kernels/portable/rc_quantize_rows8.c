#include "recurc/rc_arith.h"
#include "recurc/rc_kernels.h"

/* |x * (1 / (m / 127))| <= 127 * (1 + 2^-22) for |x| <= m, so rounding lands in [-127, 127] without a clamp. */
void rc_quantize_rows8(const float *x, uint32_t ldx, uint32_t rows, uint32_t n, int8_t *q, uint32_t ld, float *a,
                       int32_t *sum)
{
    for (uint32_t r = 0; r < rows; r++, x += ldx, q += ld) {
        float m = 0.0f;
        for (uint32_t i = 0; i < n; i++) {
            const float v = rc_abs(x[i]);
            m = v > m ? v : m;
        }
        const uint32_t live = m < RC_ROW_TINY ? 0u : n;
        const float scale = live != 0u ? m / 127.0f : 0.0f;
        const float inverse = live != 0u ? 1.0f / scale : 0.0f;
        int32_t total = 0;
        for (uint32_t i = 0; i < live; i++) {
            const int32_t v = rc_round(x[i] * inverse);
            q[i] = (int8_t)v;
            total += v;
        }
        for (uint32_t i = live; i < ld; i++) {
            q[i] = 0;
        }
        a[r] = scale;
        sum[r] = total;
    }
}
