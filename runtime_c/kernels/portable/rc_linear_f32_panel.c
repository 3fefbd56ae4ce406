/* SPDX-License-Identifier: Apache-2.0 */
#include "recurc/rc_kernels.h"

/* Same bits as rc_linear_f32: four partial sums a channel, each in the order of k; 16 channels side by side. */
void rc_linear_f32_panel(const float *x, uint32_t ldx, uint32_t rows, uint32_t k, const float *panel, uint32_t n,
                         float *y, uint32_t ldy)
{
    for (uint32_t j0 = 0; j0 < n; j0 += 16u, panel += 16u * k) {
        const uint32_t live = n - j0 < 16u ? n - j0 : 16u;
        for (uint32_t r = 0; r < rows; r++) {
            const float *xr = x + r * ldx;
            float s[4][16] = {{0.0f}};
            uint32_t i = 0;
            for (; i + 4u <= k; i += 4u) {
                for (uint32_t m = 0; m < 4u; m++) {
                    for (uint32_t j = 0; j < 16u; j++) {
                        s[m][j] += xr[i + m] * panel[(i + m) * 16u + j];
                    }
                }
            }
            for (uint32_t m = 0; i + m < k; m++) {
                for (uint32_t j = 0; j < 16u; j++) {
                    s[m][j] += xr[i + m] * panel[(i + m) * 16u + j];
                }
            }
            for (uint32_t j = 0; j < live; j++) {
                y[r * ldy + j0 + j] = (s[0][j] + s[1][j]) + (s[2][j] + s[3][j]);
            }
        }
    }
}
