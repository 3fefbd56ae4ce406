#include "recurc/rc_kernels.h"

void rc_gemm_panel8(const rc_rows8_t *x, const uint8_t *panel, uint32_t n, const uint8_t *zero, const float *scale, float *y,
                    uint32_t ldy, void *w)
{
    (void)w;
    const uint32_t quads = x->ld / 4u;
    for (uint32_t r = 0; r < x->rows; r++) {
        const int8_t *xr = x->q + r * x->ld;
        int32_t acc[16] = {0};
        for (uint32_t i = 0; i < quads; i++) {
            const uint8_t *quad = panel + i * 64u;
            for (uint32_t j = 0; j < 16u; j++) {
                for (uint32_t b = 0; b < 4u; b++) {
                    acc[j] += (int32_t)quad[4u * j + b] * (int32_t)xr[4u * i + b];
                }
            }
        }
        for (uint32_t j = 0; j < n; j++) {
            y[r * ldy + j] = (float)(acc[j] - (int32_t)zero[j] * x->sum[r]) * (x->a[r] * scale[j]);
        }
    }
}
