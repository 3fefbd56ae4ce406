/* SPDX-License-Identifier: Apache-2.0 */
/* What the AVX2 kernels share: e^x of eight lanes. */
#ifndef RECURC_AVX2_H
#define RECURC_AVX2_H

#include "recurc/rc_host.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include "recurc/rc_arith.h"

#define LANES 8u

/* rc_exp of each lane, operation by operation (rc_arith.h); MAXPS and MINPS give their second operand where the first
 * is not beyond it. */
RC_AVX2 static inline __m256 exp_lanes(__m256 x)
{
    const __m256 magic = _mm256_set1_ps(RC_ROUND_MAGIC);
    x = _mm256_max_ps(_mm256_set1_ps(-87.0f), x);
    x = _mm256_min_ps(_mm256_set1_ps(88.0f), x);
    const __m256 t = _mm256_add_ps(_mm256_mul_ps(x, _mm256_set1_ps(1.44269504088896341f)), magic);
    const __m256 n = _mm256_sub_ps(t, magic);
    const __m256 high = _mm256_sub_ps(x, _mm256_mul_ps(n, _mm256_set1_ps(0.693359375f)));
    const __m256 r = _mm256_sub_ps(high, _mm256_mul_ps(n, _mm256_set1_ps(-2.12194440e-4f)));
    __m256 p = _mm256_set1_ps(1.9875691500e-4f);
    p = _mm256_add_ps(_mm256_mul_ps(p, r), _mm256_set1_ps(1.3981999507e-3f));
    p = _mm256_add_ps(_mm256_mul_ps(p, r), _mm256_set1_ps(8.3334519073e-3f));
    p = _mm256_add_ps(_mm256_mul_ps(p, r), _mm256_set1_ps(4.1665795894e-2f));
    p = _mm256_add_ps(_mm256_mul_ps(p, r), _mm256_set1_ps(1.6666665459e-1f));
    p = _mm256_add_ps(_mm256_mul_ps(p, r), _mm256_set1_ps(5.0000001201e-1f));
    p = _mm256_add_ps(_mm256_mul_ps(p, _mm256_mul_ps(r, r)), r);
    p = _mm256_add_ps(p, _mm256_set1_ps(1.0f));
    const __m256i e = _mm256_sub_epi32(_mm256_castps_si256(t), _mm256_set1_epi32(RC_ROUND_BITS - 127));
    return _mm256_mul_ps(p, _mm256_castsi256_ps(_mm256_slli_epi32(e, 23)));
}

#endif
#endif
