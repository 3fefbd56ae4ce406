/* SPDX-License-Identifier: Apache-2.0 */
#include "recurc/rc_kernels.h"

/* Packing 4, int8: the four channels' bytes of one k side by side. Four rows share each weight, four channels each
 * activation. */

#define ROWS 4u

/* acc[r][j] for `rows` rows, a constant: all loops over rows and channels unroll. */
static inline void pass(const int8_t *x, uint32_t ld, const uint8_t *packed, int32_t acc[][4], uint32_t rows)
{
    const int8_t *w = (const int8_t *)packed;
    for (uint32_t k = 0; k < ld; k++, w += 4) {
        const int32_t w0 = w[0], w1 = w[1], w2 = w[2], w3 = w[3];
        for (uint32_t r = 0; r < rows; r++) {
            const int32_t v = x[r * ld + k];
            acc[r][0] += v * w0;
            acc[r][1] += v * w1;
            acc[r][2] += v * w2;
            acc[r][3] += v * w3;
        }
    }
}

static inline void results(const rc_rows8_t *x, uint32_t first, uint32_t rows, const uint8_t *packed, uint32_t n,
                           const float *scale, float *y, uint32_t ldy)
{
    int32_t acc[ROWS][4] = {{0, 0, 0, 0}, {0, 0, 0, 0}, {0, 0, 0, 0}, {0, 0, 0, 0}};
    pass(x->q + first * x->ld, x->ld, packed, acc, rows);
    for (uint32_t r = 0; r < rows; r++) {
        for (uint32_t j = 0; j < n; j++) {
            y[(first + r) * ldy + j] = (float)(acc[r][j]) * (x->a[first + r] * scale[j]);
        }
    }
}

void rc_tile_s8(const rc_rows8_t *x, const uint8_t *packed, uint32_t n, const uint8_t *zero, const float *scale,
                float *y, uint32_t ldy, void *w)
{
    (void)zero;
    (void)w;
    uint32_t r = 0;
    for (; r + ROWS <= x->rows; r += ROWS) {
        results(x, r, ROWS, packed, n, scale, y, ldy);
    }
    if (r + 2u <= x->rows) {
        results(x, r, 2u, packed, n, scale, y, ldy);
        r += 2u;
    }
    if (r < x->rows) {
        results(x, r, 1u, packed, n, scale, y, ldy);
    }
}
