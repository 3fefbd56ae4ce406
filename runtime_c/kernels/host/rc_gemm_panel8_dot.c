/* SPDX-License-Identifier: Apache-2.0 */
#include "recurc/rc_host.h"

#if defined(RC_DOT)
#include <arm_neon.h>
#include <string.h>

/* NEON with dot products (Armv8.2): SDOT multiplies signed bytes, four a lane, exactly. Weights are unsigned in the
 * image: w - 128 is multiplied, and 128 is taken off the zero points. Up to 4 rows by one panel (four registers) are
 * summed in registers. */

#define ROWS  4u
#define PARTS 4u
#define LANES 4u

/* `rows` is a constant where this is inlined. */
RC_DOT RC_ALWAYS_INLINE void block(const rc_rows8_t *x, uint32_t r0, uint32_t rows, const uint8_t *panel,
                                   const int32_t *zero, const float *scale, uint32_t n, float *y, uint32_t ldy)
{
    int32x4_t acc[ROWS][PARTS];
    RC_UNROLL(8)
    for (uint32_t r = 0; r < rows; r++) {
        RC_UNROLL(8)
        for (uint32_t p = 0; p < PARTS; p++) {
            acc[r][p] = vmulq_n_s32(vld1q_s32(zero + p * LANES), -x->sum[r0 + r]);
        }
    }
    const int8_t *q = x->q + r0 * x->ld;
    for (uint32_t i = 0; i < x->ld; i += 8u) { /* two quads a turn: ld is a multiple of 8 */
        int8x8_t v[ROWS];
        RC_UNROLL(8)
        for (uint32_t r = 0; r < rows; r++) {
            v[r] = vld1_s8(q + r * x->ld + i);
        }
        RC_UNROLL(8)
        for (uint32_t p = 0; p < PARTS; p++) {
            const uint8x16_t low = vld1q_u8(panel + i * RC_PANEL + p * 16u);
            const uint8x16_t high = vld1q_u8(panel + (i + 4u) * RC_PANEL + p * 16u);
            const int8x16_t w0 = vreinterpretq_s8_u8(veorq_u8(low, vdupq_n_u8(0x80)));
            const int8x16_t w1 = vreinterpretq_s8_u8(veorq_u8(high, vdupq_n_u8(0x80)));
            RC_UNROLL(8)
            for (uint32_t r = 0; r < rows; r++) {
                acc[r][p] = vdotq_lane_s32(acc[r][p], w0, v[r], 0);
                acc[r][p] = vdotq_lane_s32(acc[r][p], w1, v[r], 1);
            }
        }
    }
    RC_UNROLL(8)
    for (uint32_t r = 0; r < rows; r++) {
        float value[RC_PANEL];
        float *to = n == RC_PANEL ? y + (r0 + r) * ldy : value;
        RC_UNROLL(8)
        for (uint32_t p = 0; p < PARTS; p++) {
            const float32x4_t factor = vmulq_n_f32(vld1q_f32(scale + p * LANES), x->a[r0 + r]);
            vst1q_f32(to + p * LANES, vmulq_f32(vcvtq_f32_s32(acc[r][p]), factor));
        }
        if (n != RC_PANEL) {
            memcpy(y + (r0 + r) * ldy, value, n * sizeof(float));
        }
    }
}

RC_DOT void rc_gemm_panel8_dot(const rc_rows8_t *x, const uint8_t *panel, uint32_t n, const uint8_t *zero,
                               const float *scale, float *y, uint32_t ldy, void *w)
{
    (void)w;
    for (uint32_t j = 0; j < n; j += RC_PANEL) {
        const uint32_t live = n - j < RC_PANEL ? n - j : RC_PANEL;
        int32_t z[RC_PANEL] = {0};
        float s[RC_PANEL] = {0.0f};
        for (uint32_t i = 0; i < live; i++) {
            z[i] = (int32_t)zero[j + i] - 128;
            s[i] = scale[j + i];
        }
        const uint8_t *at = panel + j * x->ld;
        uint32_t r = 0;
        for (; r + ROWS <= x->rows; r += ROWS) {
            block(x, r, ROWS, at, z, s, live, y + j, ldy);
        }
        for (; r < x->rows; r++) {
            block(x, r, 1u, at, z, s, live, y + j, ldy);
        }
    }
}
#endif
