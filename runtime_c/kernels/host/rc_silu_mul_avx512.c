#include "recurc/rc_arith.h"
#include "recurc/rc_host.h"

#if defined(__x86_64__)
RC_AVX512 void rc_silu_mul_avx512(const float *g, const float *u, uint32_t n, float *h)
{
    for (uint32_t i = 0; i < n; i++) {
        h[i] = rc_silu(g[i]) * u[i];
    }
}
#endif
