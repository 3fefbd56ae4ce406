/* SPDX-License-Identifier: Apache-2.0 */
#include "rc_avx2.h"

#if defined(__x86_64__)
/* As rc_softmax; the exponentials are apart from the ordered sum. */
RC_AVX2 void rc_softmax_avx2(float *x, uint32_t n)
{
    float m = x[0];
    for (uint32_t i = 1; i < n; i++) {
        m = x[i] > m ? x[i] : m;
    }
    uint32_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        _mm256_storeu_ps(x + i, exp_lanes(_mm256_sub_ps(_mm256_loadu_ps(x + i), _mm256_set1_ps(m))));
    }
    for (; i < n; i++) {
        x[i] = rc_exp(x[i] - m);
    }
    float s[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    for (i = 0; i + 4u <= n; i += 4u) {
        for (uint32_t k = 0; k < 4u; k++) {
            s[k] += x[i + k];
        }
    }
    for (uint32_t k = 0; i + k < n; k++) {
        s[k] += x[i + k];
    }
    const float inverse = 1.0f / ((s[0] + s[1]) + (s[2] + s[3]));
    for (i = 0; i < n; i++) {
        x[i] *= inverse;
    }
}
#endif
