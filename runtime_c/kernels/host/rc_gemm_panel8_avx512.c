/* SPDX-License-Identifier: Apache-2.0 */
#include "rc_avx512.h"

#if defined(__x86_64__)
/* Up to 6 rows by 4 panels are summed in registers: each weight that is loaded serves 6 rows, each activation 64
 * channels. `rows` and `panels` are constants where this is inlined. */
RC_AVX512 RC_ALWAYS_INLINE void block(const rc_rows8_t *x, uint32_t r0, uint32_t rows, uint32_t panels, const tile_t *t,
                                      float *y, uint32_t ldy)
{
    __m512i acc[ROWS][PANELS];
    block_sums(x, r0, rows, panels, t, acc);
    RC_UNROLL(8)
    for (uint32_t r = 0; r < rows; r++) {
        const __m512 a = _mm512_set1_ps(x->a[r0 + r]);
        float *at = y + (r0 + r) * ldy;
        RC_UNROLL(8)
        for (uint32_t p = 0; p < panels; p++) {
            _mm512_mask_storeu_ps(at + p * RC_PANEL, t->live[p], scaled(acc[r][p], a, t->scale[p]));
        }
    }
}

RC_AVX512 void rc_gemm_panel8_avx512(const rc_rows8_t *x, const uint8_t *panel, uint32_t n, const uint8_t *zero,
                                     const float *scale, float *y, uint32_t ldy, void *w)
{
    (void)w;
    tile_t t;
    const uint32_t panels = (n + RC_PANEL - 1u) / RC_PANEL;
    for (uint32_t p = 0; p < panels; p++) {
        const uint32_t j = p * RC_PANEL;
        set_panel(&t, p, panel + j * x->ld, n - j, zero + j, scale + j);
    }
    switch (panels) {
    case 4:
        FOR_BLOCKS(x, block, 4u, &t, y, ldy)
        break;
    case 3:
        FOR_BLOCKS(x, block, 3u, &t, y, ldy)
        break;
    case 2:
        FOR_BLOCKS(x, block, 2u, &t, y, ldy)
        break;
    default:
        FOR_BLOCKS(x, block, 1u, &t, y, ldy)
        break;
    }
}
#endif
