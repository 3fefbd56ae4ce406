/* SPDX-License-Identifier: Apache-2.0 */
#include "recurc/rc_kernels.h"

#include <arm_mve.h>

/* Helium, weights in groups of 32 inputs: 16 bytes a group of one channel, in two's complement k in the low nibbles and
 * k + 16 in the high ones. Two rows by one channel at a time; what follows a group's sum is scalar. */

#define GROUP 32u
#define HALF  16u
#define LANES 4u

static inline int32_t sum_of(const int8_t *x, int8x16_t low, int8x16_t high, uint32_t both)
{
    const int32_t sum = vmladavq_s8(vldrbq_s8(x), low);
    return both != 0u ? vmladavaq_s8(sum, vldrbq_s8(x + HALF), high) : sum;
}

void rc_tile_g32_mve(const rc_rows8_t *x, const uint8_t *packed, uint32_t n, const uint8_t *groups, const float *scale,
                     float *y, uint32_t ldy, void *w)
{
    const uint32_t count = (x->ld + GROUP - 1u) / GROUP, ld = x->ld;
    (void)w;
    for (uint32_t j = 0; j < n; j++) {
        const int8_t *const channel = (const int8_t *)packed + j * count * HALF;
        const uint8_t *const scales = groups + j / LANES * LANES * count + j % LANES;
        for (uint32_t r = 0; r < x->rows; r += 2u) {
            const uint32_t second = r + 1u < x->rows ? 1u : 0u; /* a last row without a partner is its own */
            const int8_t *p = x->q + r * ld, *q = p + second * ld;
            const int8_t *b = channel;
            const uint8_t *m = scales;
            int32_t acc_p = 0, acc_q = 0;
            for (uint32_t k = 0; k < ld; k += GROUP, p += GROUP, q += GROUP, b += HALF, m += LANES) {
                const int8x16_t bytes = vldrbq_s8(b);
                const int8x16_t low = vshrq_n_s8(vshlq_n_s8(bytes, 4), 4), high = vshrq_n_s8(bytes, 4);
                const uint32_t both = ld - k > HALF ? 1u : 0u;
                const int32_t factor = (int32_t)*m;
                acc_p += sum_of(p, low, high, both) * factor;
                acc_q += sum_of(q, low, high, both) * factor;
            }
            y[r * ldy + j] = (float)acc_p * (x->a[r] * scale[j]);
            if (second != 0u) {
                y[(r + 1u) * ldy + j] = (float)acc_q * (x->a[r + 1u] * scale[j]);
            }
        }
    }
}
