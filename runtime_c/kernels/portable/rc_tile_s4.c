/* SPDX-License-Identifier: Apache-2.0 */
#include "recurc/rc_kernels.h"

/* Packing 4, int4: weights of two channels lie 16 bits apart, so one multiplication makes two products, and sums of 16 of
 * them stay apart: |16 * 15 * 127| < 2^15. Four rows share each weight, four channels each activation. */

#define APART  16u /* k after which the sums are taken apart */
#define FIELDS 0x000F000Fu

#define ROWS 4u

/* acc[r][j] for `rows` rows, a constant: all loops over rows and channels unroll. */
static inline void pass(const int8_t *x, uint32_t ld, const uint8_t *packed, int32_t acc[][4], uint32_t rows)
{
    const rc_word_t *word = (const rc_word_t *)(const void *)packed;
    const int8_t *row[ROWS] = {x, x, x, x};
    for (uint32_t r = 1; r < rows; r++) {
        row[r] = row[r - 1u] + ld;
    }
    for (uint32_t k = 0; k < ld;) {
        const uint32_t end = ld - k < APART ? ld : k + APART;
        uint32_t p[ROWS][2] = {{0u, 0u}, {0u, 0u}, {0u, 0u}, {0u, 0u}};
        for (; k < end; k += 4u) {
            uint32_t first = rc_load_word(word++), second = rc_load_word(word++);
            RC_UNROLL(1)
            for (uint32_t i = 0; i < 4u; i++, first >>= 4, second >>= 4) {
                const uint32_t a = first & FIELDS, b = second & FIELDS;
                for (uint32_t r = 0; r < rows; r++) {
                    const uint32_t v = (uint32_t)(int32_t)*row[r]++;
                    p[r][0] += v * a;
                    p[r][1] += v * b;
                }
            }
        }
        for (uint32_t r = 0; r < rows; r++) {
            for (uint32_t j = 0; j < 2u; j++) {
                const int32_t low = (int32_t)(p[r][j] << 16) >> 16;
                acc[r][2u * j] += low;
                acc[r][2u * j + 1u] += (int32_t)(p[r][j] - (uint32_t)low) >> 16;
            }
        }
    }
}

static inline void results(const rc_rows8_t *x, uint32_t first, uint32_t rows, const uint8_t *packed, uint32_t n,
                           const uint8_t *zero, const float *scale, float *y, uint32_t ldy)
{
    int32_t acc[ROWS][4] = {{0, 0, 0, 0}, {0, 0, 0, 0}, {0, 0, 0, 0}, {0, 0, 0, 0}};
    pass(x->q + first * x->ld, x->ld, packed, acc, rows);
    for (uint32_t r = 0; r < rows; r++) {
        for (uint32_t j = 0; j < n; j++) {
            y[(first + r) * ldy + j] =
                (float)(acc[r][j] - (int32_t)zero[j] * x->sum[first + r]) * (x->a[first + r] * scale[j]);
        }
    }
}

void rc_tile_s4(const rc_rows8_t *x, const uint8_t *packed, uint32_t n, const uint8_t *zero, const float *scale,
                float *y, uint32_t ldy, void *w)
{
    (void)w;
    uint32_t r = 0;
    for (; r + ROWS <= x->rows; r += ROWS) {
        results(x, r, ROWS, packed, n, zero, scale, y, ldy);
    }
    if (r + 2u <= x->rows) {
        results(x, r, 2u, packed, n, zero, scale, y, ldy);
        r += 2u;
    }
    if (r < x->rows) {
        results(x, r, 1u, packed, n, zero, scale, y, ldy);
    }
}
