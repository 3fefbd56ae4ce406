/* SPDX-License-Identifier: Apache-2.0 */
#include "recurc/rc_host.h"

#if defined(__x86_64__)
RC_AVX2 int32_t rc_dot_s8_avx2(const int8_t *x, const int8_t *y, uint32_t n)
{
    int32_t acc = 0;
    for (uint32_t i = 0; i < n; i++) {
        acc += (int32_t)x[i] * (int32_t)y[i];
    }
    return acc;
}
#endif
