#include "recurc/rc_arith.h"
#include "recurc/rc_kernels.h"

void rc_silu_mul(const float *g, const float *u, uint32_t n, float *h)
{
    for (uint32_t i = 0; i < n; i++) {
        h[i] = rc_silu(g[i]) * u[i];
    }
}
