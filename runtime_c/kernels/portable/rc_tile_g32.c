/* SPDX-License-Identifier: Apache-2.0 */
#include "recurc/rc_kernels.h"

/* Weights in groups of 32 inputs, stored as q + 8 in packing 4's order: weights of two channels lie 16 bits apart, so
 * one multiplication makes two products, and the sums of a group stay apart: |32 * 8 * 127| < 2^15. A group's sums are
 * then multiplied by its scale, an integer, so that all sums are exact. Four rows share each weight. */

#define GROUP  32u
#define FIELDS 0x000F000Fu
#define OFFSET 0x00080008u
#define ROWS   4u
#define LANES  4u

/* acc[r][j] for `rows` rows, a constant: all loops over rows and channels unroll. */
static inline void pass(const int8_t *x, uint32_t ld, const uint8_t *packed, const uint8_t *m, int32_t acc[][LANES],
                        uint32_t rows)
{
    const rc_word_t *word = (const rc_word_t *)(const void *)packed;
    const int8_t *row[ROWS] = {x, x, x, x};
    for (uint32_t r = 1; r < rows; r++) {
        row[r] = row[r - 1u] + ld;
    }
    for (uint32_t k = 0; k < ld; m += LANES) {
        const uint32_t end = ld - k < GROUP ? ld : k + GROUP;
        uint32_t p[ROWS][2] = {{0u, 0u}, {0u, 0u}, {0u, 0u}, {0u, 0u}};
        for (; k < end; k += 4u) {
            uint32_t first = rc_load_word(word++), second = rc_load_word(word++);
            RC_UNROLL(1)
            for (uint32_t i = 0; i < 4u; i++, first >>= 4, second >>= 4) {
                const uint32_t a = (first & FIELDS) - OFFSET, b = (second & FIELDS) - OFFSET;
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
                acc[r][2u * j] += low * (int32_t)m[2u * j];
                acc[r][2u * j + 1u] += ((int32_t)(p[r][j] - (uint32_t)low) >> 16) * (int32_t)m[2u * j + 1u];
            }
        }
    }
}

static inline void results(const rc_rows8_t *x, uint32_t first, uint32_t rows, const uint8_t *packed, uint32_t n,
                           const uint8_t *m, const float *scale, float *y, uint32_t ldy)
{
    int32_t acc[ROWS][LANES] = {{0, 0, 0, 0}, {0, 0, 0, 0}, {0, 0, 0, 0}, {0, 0, 0, 0}};
    pass(x->q + first * x->ld, x->ld, packed, m, acc, rows);
    for (uint32_t r = 0; r < rows; r++) {
        for (uint32_t j = 0; j < n; j++) {
            y[(first + r) * ldy + j] = (float)acc[r][j] * (x->a[first + r] * scale[j]);
        }
    }
}

void rc_tile_g32(const rc_rows8_t *x, const uint8_t *packed, uint32_t n, const uint8_t *groups, const float *scale,
                 float *y, uint32_t ldy, void *w)
{
    (void)w;
    for (uint32_t j = 0; j < n; j += LANES) {
        const uint32_t live = n - j < LANES ? n - j : LANES;
        const uint8_t *const tile = packed + j * x->ld / 2u, *const m = groups + j * ((x->ld + GROUP - 1u) / GROUP);
        uint32_t r = 0;
        for (; r + ROWS <= x->rows; r += ROWS) {
            results(x, r, ROWS, tile, live, m, scale + j, y + j, ldy);
        }
        if (r + 2u <= x->rows) {
            results(x, r, 2u, tile, live, m, scale + j, y + j, ldy);
            r += 2u;
        }
        if (r < x->rows) {
            results(x, r, 1u, tile, live, m, scale + j, y + j, ldy);
        }
    }
}
