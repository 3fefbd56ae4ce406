/* SPDX-License-Identifier: Apache-2.0 */
#include "rc_avx512.h"

#if defined(__x86_64__)
/* Two panels of gate and the same two of up at a time: products meet in registers, only SiLU(g) * u is stored. `rows`
 * is a constant where this is inlined. */
RC_AVX512 RC_ALWAYS_INLINE void block(const rc_rows8_t *x, uint32_t r0, uint32_t rows, const tile_t *t, float *h,
                                      uint32_t ldh)
{
    __m512i acc[ROWS][PANELS];
    block_sums(x, r0, rows, PANELS, t, acc);
    /* Two rows at a time; an odd last row goes with itself. */
    RC_UNROLL(8)
    for (uint32_t r = 0; r < rows; r += 2u) {
        const uint32_t other = r + 1u < rows ? r + 1u : r;
        const __m512 a0 = _mm512_set1_ps(x->a[r0 + r]), a1 = _mm512_set1_ps(x->a[r0 + other]);
        __m512 value[TOGETHER] = {
            scaled(acc[r][0], a0, t->scale[0]),
            scaled(acc[r][1], a0, t->scale[1]),
            scaled(acc[other][0], a1, t->scale[0]),
            scaled(acc[other][1], a1, t->scale[1]),
        };
        silu(value);
        float *at = h + (r0 + r) * ldh, *next = h + (r0 + other) * ldh;
        value[0] = _mm512_mul_ps(value[0], scaled(acc[r][2], a0, t->scale[2]));
        value[1] = _mm512_mul_ps(value[1], scaled(acc[r][3], a0, t->scale[3]));
        value[2] = _mm512_mul_ps(value[2], scaled(acc[other][2], a1, t->scale[2]));
        value[3] = _mm512_mul_ps(value[3], scaled(acc[other][3], a1, t->scale[3]));
        _mm512_mask_storeu_ps(at, t->live[0], value[0]);
        _mm512_mask_storeu_ps(at + RC_PANEL, t->live[1], value[1]);
        _mm512_mask_storeu_ps(next, t->live[0], value[2]);
        _mm512_mask_storeu_ps(next + RC_PANEL, t->live[1], value[3]);
    }
}

RC_AVX512 void rc_swiglu_panel8_avx512(const rc_rows8_t *x, const rc_panels_t *gate, const rc_panels_t *up, uint32_t n,
                                       float *h, uint32_t ldh)
{
    tile_t t;
    for (uint32_t j = 0; j < n; j += 2u * RC_PANEL) {
        for (uint32_t p = 0; p < 2u; p++) {
            const uint32_t at =
                j + p * RC_PANEL < n ? j + p * RC_PANEL : j; /* a second panel that is none: the first */
            const uint32_t live = j + p * RC_PANEL < n ? n - at : 0u;
            set_panel(&t, p, gate->panel + at * x->ld, live, gate->zero + at, gate->scale + at);
            set_panel(&t, p + 2u, up->panel + at * x->ld, live, up->zero + at, up->scale + at);
        }
        FOR_BLOCKS(x, block, &t, h + j, ldh)
    }
}
#endif
