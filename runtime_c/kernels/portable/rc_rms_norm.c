#include "recurc/rc_arith.h"
#include "recurc/rc_kernels.h"

void rc_rms_norm(float *x, uint32_t n, float eps)
{
    const float mean = rc_dot_f32(x, x, n) / (float)n;
    const float r = 1.0f / rc_sqrt(mean + eps);
    for (uint32_t i = 0; i < n; i++) {
        x[i] *= r;
    }
}
