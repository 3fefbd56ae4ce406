#include "recurc/rc_arith.h"
#include "recurc/rc_host.h"

#if defined(__x86_64__)
/* The compiler makes vector instructions of it. */
RC_AVX2 void rc_silu_mul_avx2(const float *g, const float *u, uint32_t ld, uint32_t rows, uint32_t n, float *h,
                              uint32_t ldh)
{
    for (uint32_t r = 0; r < rows; r++, g += ld, u += ld, h += ldh) {
        for (uint32_t i = 0; i < n; i++) {
            h[i] = rc_silu(g[i]) * u[i];
        }
    }
}
#endif
