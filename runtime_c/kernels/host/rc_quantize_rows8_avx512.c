#include "recurc/rc_host.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include "recurc/rc_arith.h"

#define LANES 16u

RC_AVX512 static inline __mmask16 first(uint32_t n)
{
    return (__mmask16)(n < LANES ? (1u << n) - 1u : 0xFFFFu);
}

/* MAXPS keeps its second operand unless the first is greater, as the portable kernel does; conversion rounds half to
 * even. Lanes beyond the row are loaded as zeros. */
RC_AVX512 void rc_quantize_rows8_avx512(const float *x, uint32_t ldx, uint32_t rows, uint32_t n, int8_t *q, uint32_t ld,
                                        float *a, int32_t *sum)
{
    for (uint32_t r = 0; r < rows; r++, x += ldx, q += ld) {
        __m512 m[4];
        for (uint32_t k = 0; k < 4u; k++) {
            m[k] = _mm512_setzero_ps();
        }
        uint32_t i = 0;
        for (; i + 4u * LANES <= n; i += 4u * LANES) {
            for (uint32_t k = 0; k < 4u; k++) {
                m[k] = _mm512_max_ps(_mm512_abs_ps(_mm512_loadu_ps(x + i + k * LANES)), m[k]);
            }
        }
        for (; i < n; i += LANES) {
            m[0] = _mm512_max_ps(_mm512_abs_ps(_mm512_maskz_loadu_ps(first(n - i), x + i)), m[0]);
        }
        const float peak = _mm512_reduce_max_ps(_mm512_max_ps(_mm512_max_ps(m[0], m[1]), _mm512_max_ps(m[2], m[3])));
        const float scale = peak < RC_ROW_TINY ? 0.0f : peak / 127.0f;
        const uint32_t live = peak < RC_ROW_TINY ? 0u : n;
        const __m512 inverse = _mm512_set1_ps(live != 0u ? 1.0f / scale : 0.0f);
        __m512i total = _mm512_setzero_si512();
        for (i = 0; i < ld; i += LANES) {
            const __mmask16 in = first(live > i ? live - i : 0u);
            const __m512i v = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_maskz_loadu_ps(in, x + i), inverse));
            total = _mm512_add_epi32(total, v);
            if (ld - i >= LANES) {
                _mm_storeu_si128((__m128i *)(void *)(q + i), _mm512_cvtepi32_epi8(v));
            } else {
                _mm_mask_storeu_epi8(q + i, first(ld - i), _mm512_cvtepi32_epi8(v));
            }
        }
        a[r] = scale;
        sum[r] = _mm512_reduce_add_epi32(total);
    }
}
#endif
