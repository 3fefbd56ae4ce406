/* SPDX-License-Identifier: Apache-2.0 */
#include "recurc/rc_kernels.h"

#include <arm_acle.h>

/* Weights in groups of 32 inputs for SMLAD: a word holds eight k of a channel, two's complement, so that a shift and a
 * mask leave 4096 times two neighbours' weights as signed halves. A group's sum is at most 32 * 8 * 127 * 4096 < 2^31,
 * then it is shifted back, which is exact, and multiplied by the group's scale. Two rows by two channels stay in
 * registers. */

#define GROUP 32u
#define LANES 4u /* channels side by side, two of them at a time */
#define TOPS  0xF000F000u
#define SHIFT 12

/* acc[r][c] of `rows` rows, a constant (1: plain; 2: interleaved), and two channels, whose first words and scales these
 * are. A word of x: two neighbours of a row. */
RC_ALWAYS_INLINE void pass(const rc_word_t *x, uint32_t ld, const uint8_t *packed, const uint8_t *m, int32_t acc[][2],
                           uint32_t rows)
{
    const rc_word_t *word = (const rc_word_t *)(const void *)packed;
    int32_t a0 = 0, a1 = 0, b0 = 0, b1 = 0;
    uint32_t tops = TOPS;
    __asm__("" : "+r"(tops)); /* in a register, so that a shift and a mask are one instruction */
    for (uint32_t k = 0; k < ld; m += LANES) {
        const uint32_t end = ld - k < GROUP ? ld : k + GROUP;
        int32_t p0 = 0, p1 = 0, q0 = 0, q1 = 0;
        for (; k < end; k += 8u, word += LANES) {
            const uint32_t w0 = rc_load_word(word), w1 = rc_load_word(word + 1);
            RC_UNROLL(4)
            for (uint32_t i = 0; i < 4u; i++, x += rows) {
                const int16x2_t u = (int16x2_t)((w0 << (4u * i)) & tops), v = (int16x2_t)((w1 << (4u * i)) & tops);
                const int16x2_t first = (int16x2_t)rc_load_word(x);
                p0 = __smlad(first, u, p0);
                p1 = __smlad(first, v, p1);
                if (rows == 2u) {
                    const int16x2_t second = (int16x2_t)rc_load_word(x + 1);
                    q0 = __smlad(second, u, q0);
                    q1 = __smlad(second, v, q1);
                }
            }
        }
        a0 += (p0 >> SHIFT) * (int32_t)m[0];
        a1 += (p1 >> SHIFT) * (int32_t)m[1];
        b0 += (q0 >> SHIFT) * (int32_t)m[0];
        b1 += (q1 >> SHIFT) * (int32_t)m[1];
    }
    acc[0][0] = a0;
    acc[0][1] = a1;
    acc[1][0] = b0;
    acc[1][1] = b1;
}

RC_ALWAYS_INLINE void results(const rc_rows16_t *x, uint32_t first, uint32_t rows, const uint8_t *packed, uint32_t n,
                              const uint8_t *m, const float *scale, float *y, uint32_t ldy)
{
    int32_t acc[2][2];
    pass((const rc_word_t *)(const void *)(x->q + first * x->ld), x->ld, packed, m, acc, rows);
    for (uint32_t r = 0; r < rows; r++) {
        for (uint32_t j = 0; j < n; j++) {
            y[(first + r) * ldy + j] = (float)acc[r][j] * (x->a[first + r] * scale[j]);
        }
    }
}

void rc_tile_g32_dsp(const rc_rows16_t *x, const uint8_t *packed, uint32_t n, const uint8_t *groups, const float *scale,
                     float *y, uint32_t ldy, void *w)
{
    (void)w;
    for (uint32_t j = 0; j < n; j += 2u) {
        const uint32_t live = n - j < 2u ? 1u : 2u, quad = j / LANES * LANES;
        const uint8_t *const tile = packed + quad * x->ld / 2u + (j - quad) * sizeof(uint32_t);
        const uint8_t *const m = groups + quad * ((x->ld + GROUP - 1u) / GROUP) + (j - quad);
        uint32_t r = 0;
        for (; r + 2u <= x->rows; r += 2u) {
            results(x, r, 2u, tile, live, m, scale + j, y + j, ldy);
        }
        if (r < x->rows) {
            results(x, r, 1u, tile, live, m, scale + j, y + j, ldy);
        }
    }
}
