/* SPDX-License-Identifier: Apache-2.0 */
#include "recurc/rc_arith.h"
#include "recurc/rc_kernels.h"

void rc_softmax(float *x, uint32_t n)
{
    float m = x[0];
    for (uint32_t i = 1; i < n; i++) {
        m = x[i] > m ? x[i] : m;
    }
    float s[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    for (uint32_t i = 0; i < n; i++) {
        x[i] = rc_exp(x[i] - m);
        s[i % 4u] += x[i];
    }
    const float inverse = 1.0f / ((s[0] + s[1]) + (s[2] + s[3]));
    for (uint32_t i = 0; i < n; i++) {
        x[i] *= inverse;
    }
}
