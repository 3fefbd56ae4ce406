/* SPDX-License-Identifier: Apache-2.0 */
#include "recurc/rc_kernels.h"

/* GPT-NeoX style: element i turns with element i + half. */
void rc_rope(float *x, uint32_t half, const float *cosine, const float *sine)
{
    for (uint32_t i = 0; i < half; i++) {
        const float lo = x[i];
        const float hi = x[i + half];
        x[i] = lo * cosine[i] - hi * sine[i];
        x[i + half] = hi * cosine[i] + lo * sine[i];
    }
}
