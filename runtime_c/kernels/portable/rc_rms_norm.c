/* SPDX-License-Identifier: Apache-2.0 */
#include "recurc/rc_arith.h"
#include "recurc/rc_kernels.h"

void rc_rms_norm(float *x, uint32_t n, float eps)
{
    const float r = rc_rms_factor(rc_dot_f32(x, x, n) / (float)n, eps);
    for (uint32_t i = 0; i < n; i++) {
        x[i] *= r;
    }
}
