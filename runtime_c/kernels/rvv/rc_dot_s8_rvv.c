/* SPDX-License-Identifier: Apache-2.0 */
#include "rc_rvv.h"
#include "recurc/rc_kernels.h"

int32_t rc_dot_s8_rvv(const int8_t *x, const int8_t *y, uint32_t n)
{
    uint32_t left = n, lanes;
    int32_t total;
    __asm__ volatile(RC_RVV_BEGIN "vsetvli zero, zero, e32, m1, ta, ma\n vmv.s.x v24, zero\n"
                                  "1:\n vsetvli %[lanes], %[left], e8, m2, ta, ma\n"
                                  "vle8.v v0, (%[x])\n vle8.v v2, (%[y])\n vwmul.vv v4, v0, v2\n"
                                  "vsetvli zero, %[lanes], e16, m4, ta, ma\n vwredsum.vs v24, v4, v24\n"
                                  "sub %[left], %[left], %[lanes]\n"
                                  "add %[x], %[x], %[lanes]\n add %[y], %[y], %[lanes]\n"
                                  "bnez %[left], 1b\n"
                                  "vsetvli zero, zero, e32, m8, ta, ma\n vmv.x.s %[total], v24\n" RC_RVV_END
                     : [x] "+r"(x), [y] "+r"(y), [left] "+r"(left), [lanes] "=&r"(lanes), [total] "=r"(total)
                     :
                     : "memory");
    return total;
}
