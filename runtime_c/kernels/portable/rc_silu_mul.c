/* SPDX-License-Identifier: Apache-2.0 */
#include "recurc/rc_arith.h"
#include "recurc/rc_kernels.h"

#define GROUP  4u
#define INSIDE 0x855C0000u /* twice the bits of 87: up to there rc_exp clamps nothing */

/* Four elements at a time, step by step side by side: each step of one waits for the one before it. */
static void group(const float *g, const float *u, float *h)
{
    float e[GROUP];
    uint32_t outside = 0;
    for (uint32_t i = 0; i < GROUP; i++) {
        outside |= (uint32_t)((uint32_t)rc_bits_of(g[i]) << 1 > INSIDE);
    }
    if (outside != 0u) {
        for (uint32_t i = 0; i < GROUP; i++) {
            h[i] = rc_silu(g[i]) * u[i];
        }
        return;
    }
    for (uint32_t i = 0; i < GROUP; i++) {
        e[i] = 1.0f + rc_exp_inside(-g[i]);
    }
    for (uint32_t i = 0; i < GROUP; i++) {
        e[i] = g[i] / e[i];
    }
    for (uint32_t i = 0; i < GROUP; i++) {
        h[i] = e[i] * u[i];
    }
}

void rc_silu_mul(const float *g, const float *u, uint32_t ld, uint32_t rows, uint32_t n, float *h, uint32_t ldh)
{
    for (uint32_t r = 0; r < rows; r++) {
        const float *const gr = g + r * ld, *const ur = u + r * ld;
        float *const hr = h + r * ldh;
        uint32_t i = 0;
        for (; i + GROUP <= n; i += GROUP) {
            group(gr + i, ur + i, hr + i);
        }
        for (; i < n; i++) {
            hr[i] = rc_silu(gr[i]) * ur[i];
        }
    }
}
