/* SPDX-License-Identifier: Apache-2.0 */
#include "recurc/rc_kernels.h"

float rc_dot_f32(const float *x, const float *y, uint32_t n)
{
    float s[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    uint32_t i = 0;
    for (; i + 4u <= n; i += 4u) {
        for (uint32_t m = 0; m < 4u; m++) {
            s[m] += x[i + m] * y[i + m];
        }
    }
    for (uint32_t m = 0; i + m < n; m++) {
        s[m] += x[i + m] * y[i + m];
    }
    return (s[0] + s[1]) + (s[2] + s[3]);
}
