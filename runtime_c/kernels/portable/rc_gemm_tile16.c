#include "recurc/rc_kernels.h"

void rc_gemm_tile16(const rc_rows16_t *x, const int16_t *w, uint32_t n, const int32_t *zero, const float *scale,
                    float *y, uint32_t ldy)
{
    const uint32_t k = x->ld;
    for (uint32_t j = 0; j < n; j++) {
        const int16_t *wj = w + j * k;
        for (uint32_t r = 0; r < x->rows; r++) {
            const int16_t *xr = x->q + r * k;
            int32_t acc = 0;
            for (uint32_t i = 0; i < k; i++) {
                acc += (int32_t)xr[i] * (int32_t)wj[i];
            }
            y[r * ldy + j] = (float)(acc - zero[j] * x->sum[r]) * (x->a[r] * scale[j]);
        }
    }
}
