#include "recurc/rc_host.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

/* AVX-512 VNNI: VPDPBUSD multiplies unsigned weight bytes by signed activation bytes, four a lane, exactly (it does not
 * saturate). Up to 6 rows by 4 panels are summed in registers: each weight that is loaded serves 6 rows, each
 * activation 64 channels. */

#define ROWS   6u
#define PANELS 4u

typedef struct {
    const uint8_t *panel;
    uint32_t panel_bytes;
    uint32_t n;
    __m512i minus_zero[PANELS];
    __m512 scale[PANELS];
} tile_t;

RC_AVX512 static inline __m512i quad(const int8_t *p)
{
    int32_t v;
    memcpy(&v, p, sizeof v);
    return _mm512_set1_epi32(v);
}

/* One instruction, spelled out: around the intrinsic GCC 12 copies every accumulator in every turn. */
RC_AVX512 static inline void multiply_add(__m512i *acc, __m512i w, __m512i x)
{
    __asm__("vpdpbusd %2, %1, %0" : "+v"(*acc) : "v"(w), "v"(x));
}

/* `rows` and `panels` are constants where this is inlined. */
RC_AVX512 __attribute__((always_inline)) static inline void
block(const rc_rows8_t *x, uint32_t r0, uint32_t rows, uint32_t panels, const tile_t *t, float *y, uint32_t ldy)
{
    __m512i acc[ROWS][PANELS];
#pragma GCC unroll 8
    for (uint32_t r = 0; r < rows; r++) {
        const __m512i sum = _mm512_set1_epi32(x->sum[r0 + r]);
#pragma GCC unroll 8
        for (uint32_t p = 0; p < panels; p++) {
            acc[r][p] = _mm512_mullo_epi32(t->minus_zero[p], sum);
        }
    }
    const int8_t *q = x->q + r0 * x->ld;
    for (uint32_t i = 0; i < x->ld; i += 4u) {
        __m512i w[PANELS];
#pragma GCC unroll 8
        for (uint32_t p = 0; p < panels; p++) {
            w[p] = _mm512_loadu_si512(t->panel + p * t->panel_bytes + i * RC_PANEL);
        }
#pragma GCC unroll 8
        for (uint32_t r = 0; r < rows; r++) {
            const __m512i v = quad(q + r * x->ld + i);
#pragma GCC unroll 8
            for (uint32_t p = 0; p < panels; p++) {
                multiply_add(&acc[r][p], w[p], v);
            }
        }
    }
#pragma GCC unroll 8
    for (uint32_t r = 0; r < rows; r++) {
        const __m512 a = _mm512_set1_ps(x->a[r0 + r]);
#pragma GCC unroll 8
        for (uint32_t p = 0; p < panels; p++) {
            const __m512 value = _mm512_mul_ps(_mm512_cvtepi32_ps(acc[r][p]), _mm512_mul_ps(a, t->scale[p]));
            float *at = y + (r0 + r) * ldy + p * RC_PANEL;
            if (t->n - p * RC_PANEL >= RC_PANEL) {
                _mm512_storeu_ps(at, value);
            } else {
                _mm512_mask_storeu_ps(at, (__mmask16)((1u << (t->n - p * RC_PANEL)) - 1u), value);
            }
        }
    }
}

RC_AVX512 __attribute__((always_inline)) static inline void rows_of(const rc_rows8_t *x, uint32_t panels,
                                                                    const tile_t *t, float *y, uint32_t ldy)
{
    const uint32_t blocks = (x->rows + ROWS - 1u) / ROWS; /* as even as they come: no block of one row at the end */
    for (uint32_t b = 0, r = 0; b < blocks; b++) {
        const uint32_t rows = (x->rows - r + blocks - b - 1u) / (blocks - b);
        switch (rows) {
        case 6:
            block(x, r, 6u, panels, t, y, ldy);
            break;
        case 5:
            block(x, r, 5u, panels, t, y, ldy);
            break;
        case 4:
            block(x, r, 4u, panels, t, y, ldy);
            break;
        case 3:
            block(x, r, 3u, panels, t, y, ldy);
            break;
        case 2:
            block(x, r, 2u, panels, t, y, ldy);
            break;
        default:
            block(x, r, 1u, panels, t, y, ldy);
            break;
        }
        r += rows;
    }
}

RC_AVX512 void rc_gemm_panel8_avx512(const rc_rows8_t *x, const uint8_t *panel, uint32_t n, const uint8_t *zero,
                                     const float *scale, float *y, uint32_t ldy, void *w)
{
    (void)w;
    tile_t t = {.panel = panel, .panel_bytes = RC_PANEL * x->ld, .n = n};
    const uint32_t panels = (n + RC_PANEL - 1u) / RC_PANEL;
#pragma GCC unroll 8
    for (uint32_t p = 0; p < panels; p++) {
        const uint32_t live = n - p * RC_PANEL;
        const __mmask16 mask = (__mmask16)(live < RC_PANEL ? (1u << live) - 1u : 0xFFFFu);
        const __m512i z = _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask, zero + p * RC_PANEL));
        t.minus_zero[p] = _mm512_sub_epi32(_mm512_setzero_si512(), z);
        t.scale[p] = _mm512_maskz_loadu_ps(mask, scale + p * RC_PANEL);
    }
    switch (panels) {
    case 4:
        rows_of(x, 4u, &t, y, ldy);
        break;
    case 3:
        rows_of(x, 3u, &t, y, ldy);
        break;
    case 2:
        rows_of(x, 2u, &t, y, ldy);
        break;
    default:
        rows_of(x, 1u, &t, y, ldy);
        break;
    }
}
#endif
