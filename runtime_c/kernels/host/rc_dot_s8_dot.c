/* SPDX-License-Identifier: Apache-2.0 */
#include "recurc/rc_host.h"

#if defined(RC_DOT)
#include <arm_neon.h>

RC_DOT int32_t rc_dot_s8_dot(const int8_t *x, const int8_t *y, uint32_t n)
{
    int32x4_t lanes = vdupq_n_s32(0);
    uint32_t i = 0;
    for (; i + 16u <= n; i += 16u) {
        lanes = vdotq_s32(lanes, vld1q_s8(x + i), vld1q_s8(y + i));
    }
    int32_t acc = vaddvq_s32(lanes);
    for (; i < n; i++) {
        acc += (int32_t)x[i] * (int32_t)y[i];
    }
    return acc;
}
#endif
