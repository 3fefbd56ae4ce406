#include "recurc/rc_kernels.h"

void rc_tile_s8(const rc_rows16_t *x, const uint8_t *packed, uint32_t n, const uint8_t *zero, const float *scale, float *y,
                uint32_t ldy, void *w)
{
    int16_t *unpacked = (int16_t *)w;
    for (uint32_t j = 0; j < n; j++) {
        rc_unpack_s8(packed + j * (x->ld), x->ld, unpacked + j * x->ld);
    }
    rc_gemm_tile16(x, unpacked, n, zero, scale, y, ldy);
}
