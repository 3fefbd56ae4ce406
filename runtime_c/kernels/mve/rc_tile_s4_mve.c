/* SPDX-License-Identifier: Apache-2.0 */
#include "rc_pass_mve.h"

/* Packing 5, int4: a byte holds w0 + 16 (w1 - 8) of one k for two channels. Sums of whole bytes and of their upper
 * halves, one shift away, make up the two channels' sums modulo 2^32: unpacking takes one instruction for 32 weights.
 */

/* clang-format off */
/* r0, r4 (first row) and r8, r12 (second): by whole bytes of two pairs of channels; r2, r6 and r10, lr: by upper halves. */
#define STEP(add, load) \
    "vmladav" add ".s8 r0, q0, q2\n" \
    "vldrb.u8 q4, [r5], #16\n" \
    "vmladav" add ".s8 r8, q1, q2\n" \
    "vshr.s8 q3, q2, #4\n" \
    "vmladav" add ".s8 r4, q0, q4\n" \
    load("vldrb.u8 q2, [r5], #16\n") \
    "vmladav" add ".s8 r12, q1, q4\n" \
    "vshr.s8 q5, q4, #4\n" \
    "vmladav" add ".s8 r2, q0, q3\n" \
    "vmladav" add ".s8 r10, q1, q3\n" \
    "vmladav" add ".s8 r6, q0, q5\n" \
    load("vldrb.u8 q0, [r1], #16\n") \
    "vmladav" add ".s8 lr, q1, q5\n" \
    load("vldrb.u8 q1, [r3], #16\n")

#define ROW_STEP(add, load) \
    "vmladav" add ".s8 r0, q0, q2\n" \
    "vldrb.u8 q4, [r5], #16\n" \
    "vshr.s8 q3, q2, #4\n" \
    "vmladav" add ".s8 r4, q0, q4\n" \
    load("vldrb.u8 q2, [r5], #16\n") \
    "vmladav" add ".s8 r2, q0, q3\n" \
    "vshr.s8 q5, q4, #4\n" \
    "vmladav" add ".s8 r6, q0, q5\n" \
    load("vldrb.u8 q0, [r1], #16\n")
/* clang-format on */

#define JOIN       "sub r0, r0, r2, lsl #4\n sub r4, r4, r6, lsl #4\n"
#define JOIN_OTHER "sub r8, r8, r10, lsl #4\n sub r12, r12, lr, lsl #4\n"

void rc_pairs_s4_mve(rc_pass_mve_t *pass);
RC_MVE_PAIRS("rc_pairs_s4_mve", STEP, JOIN JOIN_OTHER, RC_MVE_USE);

void rc_row_s4_mve(rc_pass_mve_t *pass);
RC_MVE_ROW("rc_row_s4_mve", ROW_STEP, JOIN, RC_MVE_USE);

static void exact(const rc_rows8_t *x, const uint8_t *packed, uint32_t n, const uint8_t *zero, const float *scale,
                  float *y, uint32_t ldy)
{
    for (uint32_t r = 0; r < x->rows; r++) {
        const int8_t *q = x->q + r * x->ld;
        for (uint32_t j = 0; j < n; j++) {
            const uint8_t *w = packed + j / 4u * 2u * x->ld + j % 4u / 2u * RC_MVE_STEP;
            int32_t acc = 0;
            for (uint32_t k = 0; k < x->ld; k++) {
                const uint8_t both = w[k / RC_MVE_STEP * 32u + k % RC_MVE_STEP];
                acc += q[k] * (j % 2u != 0u ? (both >> 4) ^ 8 : both & 15);
            }
            y[r * ldy + j] = (float)(acc - (int32_t)zero[j] * x->sum[r]) * (x->a[r] * scale[j]);
        }
    }
}

void rc_tile_s4_mve(const rc_rows8_t *x, const uint8_t *packed, uint32_t n, const uint8_t *zero, const float *scale,
                    float *y, uint32_t ldy, void *w)
{
    (void)w;
    rc_tile_mve(x, packed, n, zero, scale, y, ldy, 2u * x->ld, rc_pairs_s4_mve, rc_row_s4_mve, exact);
}
