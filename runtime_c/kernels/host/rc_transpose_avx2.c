/* SPDX-License-Identifier: Apache-2.0 */
#include "recurc/rc_host.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define LANES 8u

/* 8 by 8: pairs, quads, then halves change places. */
RC_AVX2 static inline void square(const float *x, uint32_t ldx, float *y, uint32_t ldy)
{
    __m256 a[LANES], b[LANES];
    RC_UNROLL(8)
    for (uint32_t i = 0; i < LANES; i++) {
        a[i] = _mm256_loadu_ps(x + i * ldx);
    }
    RC_UNROLL(4)
    for (uint32_t i = 0; i < LANES; i += 2u) {
        b[i] = _mm256_unpacklo_ps(a[i], a[i + 1u]);
        b[i + 1u] = _mm256_unpackhi_ps(a[i], a[i + 1u]);
    }
    RC_UNROLL(2)
    for (uint32_t i = 0; i < LANES; i += 4u) {
        a[i] = _mm256_shuffle_ps(b[i], b[i + 2u], 0x44);
        a[i + 1u] = _mm256_shuffle_ps(b[i], b[i + 2u], 0xEE);
        a[i + 2u] = _mm256_shuffle_ps(b[i + 1u], b[i + 3u], 0x44);
        a[i + 3u] = _mm256_shuffle_ps(b[i + 1u], b[i + 3u], 0xEE);
    }
    RC_UNROLL(4)
    for (uint32_t i = 0; i < 4u; i++) {
        _mm256_storeu_ps(y + i * ldy, _mm256_permute2f128_ps(a[i], a[i + 4u], 0x20));
        _mm256_storeu_ps(y + (i + 4u) * ldy, _mm256_permute2f128_ps(a[i], a[i + 4u], 0x31));
    }
}

RC_AVX2 void rc_transpose_avx2(const float *x, uint32_t ldx, uint32_t rows, uint32_t columns, float *y, uint32_t ldy)
{
    const uint32_t whole_rows = rows / LANES * LANES, whole_columns = columns / LANES * LANES;
    for (uint32_t c = 0; c < whole_columns; c += LANES) {
        for (uint32_t r = 0; r < whole_rows; r += LANES) {
            square(x + r * ldx + c, ldx, y + c * ldy + r, ldy);
        }
    }
    rc_transpose(x + whole_columns, ldx, whole_rows, columns - whole_columns, y + whole_columns * ldy, ldy);
    rc_transpose(x + whole_rows * ldx, ldx, rows - whole_rows, columns, y + whole_rows, ldy);
}
#endif
