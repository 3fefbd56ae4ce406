/* SPDX-License-Identifier: Apache-2.0 */
#include "recurc/rc_kernels.h"

#define PANEL 16u

static void panel_rows(const rc_rows8_t *x, const uint8_t *panel, uint32_t n, const uint8_t *zero, const float *scale,
                       float *y, uint32_t ldy)
{
    for (uint32_t r = 0; r < x->rows; r++) {
        const int8_t *xr = x->q + r * x->ld;
        int32_t acc[PANEL] = {0};
        for (uint32_t i = 0; i < x->ld; i += 4u) {
            const uint8_t *quad = panel + i * PANEL;
            for (uint32_t j = 0; j < PANEL; j++) {
                for (uint32_t b = 0; b < 4u; b++) {
                    acc[j] += (int32_t)quad[4u * j + b] * (int32_t)xr[i + b];
                }
            }
        }
        for (uint32_t j = 0; j < n; j++) {
            y[r * ldy + j] = (float)(acc[j] - (int32_t)zero[j] * x->sum[r]) * (x->a[r] * scale[j]);
        }
    }
}

void rc_gemm_panel8(const rc_rows8_t *x, const uint8_t *panel, uint32_t n, const uint8_t *zero, const float *scale,
                    float *y, uint32_t ldy, void *w)
{
    (void)w;
    for (uint32_t j = 0; j < n; j += PANEL) {
        panel_rows(x, panel + j * x->ld, n - j < PANEL ? n - j : PANEL, zero + j, scale + j, y + j, ldy);
    }
}
