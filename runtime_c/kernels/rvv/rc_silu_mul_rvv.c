/* SPDX-License-Identifier: Apache-2.0 */
#include "rc_exp_rvv.h"
#include "rc_rvv.h"
#include "recurc/rc_kernels.h"

void rc_silu_mul_rvv(const float *g, const float *u, uint32_t ld, uint32_t rows, uint32_t n, float *h, uint32_t ldh)
{
    for (uint32_t r = 0; r < rows; r++) {
        const float *gi = g + r * ld, *ui = u + r * ld;
        float *hi = h + r * ldh;
        uint32_t left = n, lanes;
        __asm__ volatile(RC_RVV_BEGIN "1:\n vsetvli %[lanes], %[left], e32, m4, ta, ma\n"
                                      "vle32.v v0, (%[g])\n vle32.v v4, (%[u])\n vfneg.v v8, v0\n" RC_EXP_RVV
                                      "vfadd.vf v20, v20, %[one]\n vfdiv.vv v20, v0, v20\n vfmul.vv v20, v20, v4\n"
                                      "vse32.v v20, (%[h])\n"
                                      "sub %[left], %[left], %[lanes]\n slli %[lanes], %[lanes], 2\n"
                                      "add %[g], %[g], %[lanes]\n add %[u], %[u], %[lanes]\n add %[h], %[h], %[lanes]\n"
                                      "bnez %[left], 1b\n" RC_RVV_END
                         : [g] "+r"(gi), [u] "+r"(ui), [h] "+r"(hi), [left] "+r"(left), [lanes] "=&r"(lanes)
                         : RC_EXP_RVV_OPERANDS
                         : "memory");
    }
}
