/* SPDX-License-Identifier: Apache-2.0 */
#include "rc_pass_mve.h"

/* Packing 5, int8: 16 bytes of each of four channels. */

/* clang-format off */
#define STEP(add, load) \
    "vmladav" add ".s8 r0, q0, q2\n" \
    "vldrb.u8 q3, [r5], #16\n" \
    "vmladav" add ".s8 r8, q1, q2\n" \
    "vldrb.u8 q4, [r5], #16\n" \
    "vmladav" add ".s8 r2, q0, q3\n" \
    "vldrb.u8 q5, [r5], #16\n" \
    "vmladav" add ".s8 r10, q1, q3\n" \
    load("vldrb.u8 q2, [r5], #16\n") \
    "vmladav" add ".s8 r4, q0, q4\n" \
    "vmladav" add ".s8 r12, q1, q4\n" \
    "vmladav" add ".s8 r6, q0, q5\n" \
    load("vldrb.u8 q0, [r1], #16\n") \
    "vmladav" add ".s8 lr, q1, q5\n" \
    load("vldrb.u8 q1, [r3], #16\n")

#define ROW_STEP(add, load) \
    "vmladav" add ".s8 r0, q0, q2\n" \
    "vldrb.u8 q3, [r5], #16\n" \
    "vldrb.u8 q4, [r5], #16\n" \
    "vmladav" add ".s8 r2, q0, q3\n" \
    "vldrb.u8 q5, [r5], #16\n" \
    "vmladav" add ".s8 r4, q0, q4\n" \
    load("vldrb.u8 q2, [r5], #16\n") \
    "vmladav" add ".s8 r6, q0, q5\n" \
    load("vldrb.u8 q0, [r1], #16\n")
/* clang-format on */

void rc_pairs_s8_mve(rc_pass_mve_t *pass);
RC_MVE_PAIRS("rc_pairs_s8_mve", STEP, "", RC_MVE_SKIP);

void rc_row_s8_mve(rc_pass_mve_t *pass);
RC_MVE_ROW("rc_row_s8_mve", ROW_STEP, "", RC_MVE_SKIP);

static void exact(const rc_rows8_t *x, const uint8_t *packed, uint32_t n, const uint8_t *zero, const float *scale,
                  float *y, uint32_t ldy)
{
    (void)zero;
    for (uint32_t r = 0; r < x->rows; r++) {
        const int8_t *q = x->q + r * x->ld;
        for (uint32_t j = 0; j < n; j++) {
            const int8_t *w = (const int8_t *)packed + j / 4u * 4u * x->ld + j % 4u * RC_MVE_STEP;
            int32_t acc = 0;
            for (uint32_t k = 0; k < x->ld; k++) {
                acc += q[k] * w[k / RC_MVE_STEP * 64u + k % RC_MVE_STEP];
            }
            y[r * ldy + j] = (float)acc * (x->a[r] * scale[j]);
        }
    }
}

void rc_tile_s8_mve(const rc_rows8_t *x, const uint8_t *packed, uint32_t n, const uint8_t *zero, const float *scale,
                    float *y, uint32_t ldy, void *w)
{
    (void)zero;
    (void)w;
    rc_tile_mve(x, packed, n, 0, scale, y, ldy, 4u * x->ld, rc_pairs_s8_mve, rc_row_s8_mve, exact);
}
