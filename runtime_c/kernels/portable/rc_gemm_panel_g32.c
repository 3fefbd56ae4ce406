/* SPDX-License-Identifier: Apache-2.0 */
#include "recurc/rc_kernels.h"

#define PANEL  16u
#define GROUP  32u
#define OFFSET 8

static void panel_rows(const rc_rows8_t *x, const uint8_t *panel, uint32_t n, const uint8_t *groups, const float *scale,
                       float *y, uint32_t ldy)
{
    for (uint32_t r = 0; r < x->rows; r++) {
        const int8_t *xr = x->q + r * x->ld;
        const uint8_t *m = groups;
        int32_t acc[PANEL] = {0};
        for (uint32_t i = 0; i < x->ld; m += PANEL) {
            const uint32_t end = x->ld - i < GROUP ? x->ld : i + GROUP;
            int32_t sum[PANEL] = {0};
            for (; i < end; i += 4u) {
                const uint8_t *quad = panel + i * PANEL;
                for (uint32_t j = 0; j < PANEL; j++) {
                    for (uint32_t b = 0; b < 4u; b++) {
                        sum[j] += ((int32_t)quad[4u * j + b] - OFFSET) * (int32_t)xr[i + b];
                    }
                }
            }
            for (uint32_t j = 0; j < PANEL; j++) {
                acc[j] += sum[j] * (int32_t)m[j];
            }
        }
        for (uint32_t j = 0; j < n; j++) {
            y[r * ldy + j] = (float)acc[j] * (x->a[r] * scale[j]);
        }
    }
}

void rc_gemm_panel_g32(const rc_rows8_t *x, const uint8_t *panel, uint32_t n, const uint8_t *zero, const float *scale,
                       float *y, uint32_t ldy, void *w)
{
    const uint32_t groups = (x->ld + GROUP - 1u) / GROUP;
    (void)w;
    for (uint32_t j = 0; j < n; j += PANEL) {
        panel_rows(x, panel + j * x->ld, n - j < PANEL ? n - j : PANEL, zero + j * groups, scale + j, y + j, ldy);
    }
}
