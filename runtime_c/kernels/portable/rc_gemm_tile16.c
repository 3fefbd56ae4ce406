#include "recurc/rc_kernels.h"

/* Register tiles of 4 rows x 4 channels: an operand loaded once serves four products. */

static void finish(const rc_rows16_t *x, uint32_t r, uint32_t j, int32_t acc, const uint8_t *zero, const float *scale,
                   float *y, uint32_t ldy)
{
    const int32_t z = zero != 0 ? (int32_t)zero[j] : 0;
    y[r * ldy + j] = (float)(acc - z * x->sum[r]) * (x->a[r] * scale[j]);
}

static void tile_4x4(const rc_rows16_t *x, uint32_t r, const int16_t *w, const uint8_t *zero, const float *scale, float *y,
                     uint32_t ldy)
{
    const uint32_t k = x->ld;
    const int16_t *x0 = x->q + r * k, *x1 = x0 + k, *x2 = x1 + k, *x3 = x2 + k;
    const int16_t *w0 = w, *w1 = w0 + k, *w2 = w1 + k, *w3 = w2 + k;
    int32_t s00 = 0, s01 = 0, s02 = 0, s03 = 0, s10 = 0, s11 = 0, s12 = 0, s13 = 0;
    int32_t s20 = 0, s21 = 0, s22 = 0, s23 = 0, s30 = 0, s31 = 0, s32 = 0, s33 = 0;
    for (uint32_t i = 0; i < k; i++) {
        const int32_t a0 = x0[i], a1 = x1[i], a2 = x2[i], a3 = x3[i];
        const int32_t b0 = w0[i], b1 = w1[i], b2 = w2[i], b3 = w3[i];
        s00 += a0 * b0, s01 += a0 * b1, s02 += a0 * b2, s03 += a0 * b3;
        s10 += a1 * b0, s11 += a1 * b1, s12 += a1 * b2, s13 += a1 * b3;
        s20 += a2 * b0, s21 += a2 * b1, s22 += a2 * b2, s23 += a2 * b3;
        s30 += a3 * b0, s31 += a3 * b1, s32 += a3 * b2, s33 += a3 * b3;
    }
    const int32_t acc[4][4] = {{s00, s01, s02, s03}, {s10, s11, s12, s13}, {s20, s21, s22, s23}, {s30, s31, s32, s33}};
    for (uint32_t m = 0; m < 4u; m++) {
        for (uint32_t j = 0; j < 4u; j++) {
            finish(x, r + m, j, acc[m][j], zero, scale, y, ldy);
        }
    }
}

void rc_gemm_tile16(const rc_rows16_t *x, const int16_t *w, uint32_t n, const uint8_t *zero, const float *scale, float *y,
                    uint32_t ldy)
{
    uint32_t r = 0;
    for (; n == 4u && r + 4u <= x->rows; r += 4u) {
        tile_4x4(x, r, w, zero, scale, y, ldy);
    }
    for (; r < x->rows; r++) {
        const int16_t *xr = x->q + r * x->ld;
        for (uint32_t j = 0; j < n; j++) {
            const int16_t *wj = w + j * x->ld;
            int32_t acc = 0;
            for (uint32_t i = 0; i < x->ld; i++) {
                acc += (int32_t)xr[i] * (int32_t)wj[i];
            }
            finish(x, r, j, acc, zero, scale, y, ldy);
        }
    }
}
