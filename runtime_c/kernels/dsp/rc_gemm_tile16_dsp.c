#include <arm_acle.h>
#include <string.h>

#include "recurc/rc_kernels.h"

/* Armv7E-M DSP extension: SMLAD multiplies two int16 pairs and adds both products. A tile of 2 rows x 4 channels keeps
 * eight accumulators in registers. Same bits as rc_gemm_tile16: the sums are exact. */

static inline int16x2_t load_pair(const int16_t *p)
{
    int16x2_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline float finish(int32_t acc, int32_t zero, int32_t sum, float a, float scale)
{
    return (float)(acc - zero * sum) * (a * scale);
}

static void tile_2x4(const rc_rows16_t *x, uint32_t r, const int16_t *w, const int32_t *zero, const float *scale,
                     float *y, uint32_t ldy)
{
    const uint32_t k = x->ld;
    const int16_t *x0 = x->q + r * k;
    const int16_t *const end = x0 + k;
    const int32_t dx = (int32_t)k;
    int32_t s00 = 0, s01 = 0, s02 = 0, s03 = 0, s10 = 0, s11 = 0, s12 = 0, s13 = 0;
    do {
        const int16x2_t p0 = load_pair(x0);
        const int16x2_t p1 = load_pair(x0 + dx);
        const int16x2_t w0 = load_pair(w);
        s00 = __smlad(p0, w0, s00);
        s10 = __smlad(p1, w0, s10);
        const int16x2_t w1 = load_pair(w + dx);
        s01 = __smlad(p0, w1, s01);
        s11 = __smlad(p1, w1, s11);
        const int16x2_t w2 = load_pair(w + 2 * dx);
        s02 = __smlad(p0, w2, s02);
        s12 = __smlad(p1, w2, s12);
        const int16x2_t w3 = load_pair(w + 3 * dx);
        s03 = __smlad(p0, w3, s03);
        s13 = __smlad(p1, w3, s13);
        x0 += 2;
        w += 2;
    } while (x0 != end);
    float *y0 = y + r * ldy;
    float *y1 = y0 + ldy;
    const float a0 = x->a[r], a1 = x->a[r + 1u];
    const int32_t t0 = x->sum[r], t1 = x->sum[r + 1u];
    y0[0] = finish(s00, zero[0], t0, a0, scale[0]);
    y0[1] = finish(s01, zero[1], t0, a0, scale[1]);
    y0[2] = finish(s02, zero[2], t0, a0, scale[2]);
    y0[3] = finish(s03, zero[3], t0, a0, scale[3]);
    y1[0] = finish(s10, zero[0], t1, a1, scale[0]);
    y1[1] = finish(s11, zero[1], t1, a1, scale[1]);
    y1[2] = finish(s12, zero[2], t1, a1, scale[2]);
    y1[3] = finish(s13, zero[3], t1, a1, scale[3]);
}

static int32_t dot(const int16_t *x, const int16_t *w, uint32_t k)
{
    int32_t acc = 0;
    for (uint32_t i = 0; i < k; i += 2u) {
        acc = __smlad(load_pair(x + i), load_pair(w + i), acc);
    }
    return acc;
}

void rc_gemm_tile16_dsp(const rc_rows16_t *x, const int16_t *w, uint32_t n, const int32_t *zero, const float *scale,
                        float *y, uint32_t ldy)
{
    uint32_t r = 0;
    if (n == 4u) {
        for (; r + 2u <= x->rows; r += 2u) {
            tile_2x4(x, r, w, zero, scale, y, ldy);
        }
    }
    for (; r < x->rows; r++) {
        for (uint32_t j = 0; j < n; j++) {
            const int32_t acc = dot(x->q + r * x->ld, w + j * x->ld, x->ld);
            y[r * ldy + j] = finish(acc, zero[j], x->sum[r], x->a[r], scale[j]);
        }
    }
}
