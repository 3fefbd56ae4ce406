#include <immintrin.h>
#include <string.h>

#include "recurc/rc_kernels.h"

/* AVX-512 VNNI: VPDPBUSD multiplies unsigned weight bytes by signed activation bytes, four a lane. Four rows share each
 * weight load. Same bits as rc_gemm_panel8: the sums are exact (weights below 256, no saturation in int32). */

#define ROWS 4u

static inline __m512i quad(const int8_t *p)
{
    int32_t v;
    memcpy(&v, p, sizeof v);
    return _mm512_set1_epi32(v);
}

void rc_gemm_panel8_vnni(const rc_rows8_t *x, const uint8_t *panel, uint32_t n, const uint8_t *zero, const float *scale,
                         float *y, uint32_t ldy, void *scratch)
{
    (void)scratch;
    const __mmask16 live = (__mmask16)((1u << n) - 1u);
    uint8_t zeros[16] = {0};
    memcpy(zeros, zero, n);
    const __m512i zv = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)zeros));
    const __m512 sv = _mm512_maskz_loadu_ps(live, scale);
    for (uint32_t r = 0; r < x->rows; r += ROWS) {
        const uint32_t rows = x->rows - r < ROWS ? x->rows - r : ROWS;
        const int8_t *q[ROWS];
        __m512i acc[ROWS];
        for (uint32_t m = 0; m < ROWS; m++) {
            q[m] = x->q + (r + (m < rows ? m : 0u)) * x->ld;
            acc[m] = _mm512_setzero_si512();
        }
        for (uint32_t i = 0; i < x->ld; i += 4u) {
            const __m512i w = _mm512_loadu_si512(panel + i * 16u);
            for (uint32_t m = 0; m < ROWS; m++) {
                acc[m] = _mm512_dpbusd_epi32(acc[m], w, quad(q[m] + i));
            }
        }
        for (uint32_t m = 0; m < rows; m++) {
            const __m512i sum = _mm512_mullo_epi32(zv, _mm512_set1_epi32(x->sum[r + m]));
            const __m512 value = _mm512_cvtepi32_ps(_mm512_sub_epi32(acc[m], sum));
            const __m512 factor = _mm512_mul_ps(_mm512_set1_ps(x->a[r + m]), sv);
            _mm512_mask_storeu_ps(y + (r + m) * ldy, live, _mm512_mul_ps(value, factor));
        }
    }
}
