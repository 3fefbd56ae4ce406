/* SPDX-License-Identifier: Apache-2.0 */
#include "recurc/rc_kernels.h"

void rc_linear_f32(const float *x, uint32_t ldx, uint32_t rows, uint32_t k, const float *w, uint32_t n, float *y,
                   uint32_t ldy)
{
    for (uint32_t j = 0; j < n; j++) {
        for (uint32_t r = 0; r < rows; r++) {
            y[r * ldy + j] = rc_dot_f32(x + r * ldx, w + j * k, k);
        }
    }
}
