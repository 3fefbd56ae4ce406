/* SPDX-License-Identifier: Apache-2.0 */
#include "recurc/rc_arith.h"
#include "recurc/rc_kernels.h"

/* round(x * inverse) in the low 16 bits, RC_ROUND_BITS above them. */
static uint32_t rounded(float x, float inverse)
{
    return (uint32_t)rc_bits_of(x * inverse + RC_ROUND_MAGIC);
}

/* The low 16 bits, where floats may lie, as rc_store_word does with words. */
static void store_half(int16_t *q, uint32_t value)
{
    const uint16_t half = (uint16_t)value;
    memcpy(q, &half, sizeof half);
}

/* Zeros in the place of one row of a pair, which is a row of zeros or not finite. */
static void clear_row(rc_word_t *first, uint32_t ld, int32_t *sum)
{
    for (uint32_t i = 0; i < ld; i += 2u) {
        rc_store_word(first + i, 0u);
    }
    *sum = 0;
}

static uint32_t joined(uint32_t low, uint32_t high)
{
    return (low & 0xFFFFu) | (high << 16);
}

void rc_quantize_pairs16(const float *x, uint32_t ldx, uint32_t rows, uint32_t n, int16_t *q, uint32_t ld, float *a,
                         int32_t *sum)
{
    const uint32_t even = n & ~1u, bias = n * (uint32_t)RC_ROUND_BITS;
    uint32_t r = 0;
    for (; r + 2u <= rows; r += 2u, x += 2u * ldx, q += 2u * ld) {
        const float *const y = x + ldx;
        const float p = rc_row_scale(x, n, a + r), s = rc_row_scale(y, n, a + r + 1u);
        rc_word_t *word = (rc_word_t *)(void *)q;
        uint32_t total_x = 0, total_y = 0, i = 0;
        for (; i < even; i += 2u, word += 2) {
            const uint32_t x0 = rounded(x[i], p), x1 = rounded(x[i + 1u], p);
            const uint32_t y0 = rounded(y[i], s), y1 = rounded(y[i + 1u], s);
            rc_store_word(word, joined(x0, x1));
            rc_store_word(word + 1, joined(y0, y1));
            total_x += x0 + x1;
            total_y += y0 + y1;
        }
        if (i < n) {
            const uint32_t x0 = rounded(x[i], p), y0 = rounded(y[i], s);
            rc_store_word(word, joined(x0, 0u));
            rc_store_word(word + 1, joined(y0, 0u));
            total_x += x0;
            total_y += y0;
            i += 2u;
            word += 2;
        }
        for (; i < ld; i += 2u, word += 2) {
            rc_store_word(word, 0u);
            rc_store_word(word + 1, 0u);
        }
        sum[r] = (int32_t)(total_x - bias);
        sum[r + 1u] = (int32_t)(total_y - bias);
        if (!(p > 0.0f)) {
            clear_row((rc_word_t *)(void *)q, ld, sum + r);
        }
        if (!(s > 0.0f)) {
            clear_row((rc_word_t *)(void *)q + 1, ld, sum + r + 1u);
        }
    }
    if (r < rows) {
        const float p = rc_row_scale(x, n, a + r);
        const uint32_t live = p > 0.0f ? n : 0u;
        uint32_t total = 0;
        for (uint32_t i = 0; i < live; i++) {
            const uint32_t v = rounded(x[i], p);
            store_half(q + i, v - (uint32_t)RC_ROUND_BITS);
            total += v;
        }
        for (uint32_t i = live; i < ld; i++) {
            store_half(q + i, 0u);
        }
        sum[r] = (int32_t)(total - live * (uint32_t)RC_ROUND_BITS);
    }
}
