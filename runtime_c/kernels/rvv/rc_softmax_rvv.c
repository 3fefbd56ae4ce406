/* SPDX-License-Identifier: Apache-2.0 */
#include "rc_exp_rvv.h"
#include "rc_rvv.h"
#include "recurc/rc_kernels.h"

#define STRIP                                                                                                          \
    "sub %[left], %[left], %[lanes]\n slli %[lanes], %[lanes], 2\n add %[x], %[x], %[lanes]\n bnez %[left], 1b\n"

static float largest(const float *x, uint32_t n)
{
    uint32_t lanes;
    float m = x[0];
    __asm__ volatile(RC_RVV_BEGIN "vsetvli %[lanes], zero, e32, m4, ta, ma\n vfmv.s.f v4, %[m]\n"
                                  "1:\n vsetvli %[lanes], %[left], e32, m4, ta, ma\n"
                                  "vle32.v v0, (%[x])\n vfredmax.vs v4, v0, v4\n" STRIP "vfmv.f.s %[m], v4\n" RC_RVV_END
                     : [x] "+r"(x), [left] "+r"(n), [lanes] "=&r"(lanes), [m] "+f"(m)
                     :
                     : "memory");
    return m;
}

static void exponentials(float *x, uint32_t n, float m)
{
    uint32_t lanes;
    __asm__ volatile(RC_RVV_BEGIN "1:\n vsetvli %[lanes], %[left], e32, m4, ta, ma\n"
                                  "vle32.v v8, (%[x])\n vfsub.vf v8, v8, %[m]\n" RC_EXP_RVV
                                  "vse32.v v20, (%[x])\n" STRIP RC_RVV_END
                     : [x] "+r"(x), [left] "+r"(n), [lanes] "=&r"(lanes)
                     : [m] "f"(m), RC_EXP_RVV_OPERANDS
                     : "memory");
}

/* Four partial sums, by index mod 4, each in the order of the index: four lanes, whatever the registers hold. */
static float sum_of(const float *x, uint32_t n)
{
    uint32_t lanes;
    float s[4];
    __asm__ volatile(RC_RVV_BEGIN
                     "vsetivli zero, 4, e32, m1, ta, ma\n vmv.v.i v8, 0\n"
                     "1:\n li %[lanes], 4\n bgeu %[left], %[lanes], 2f\n mv %[lanes], %[left]\n"
                     "2:\n vsetvli zero, %[lanes], e32, m1, tu, ma\n vle32.v v0, (%[x])\n vfadd.vv v8, v8, v0\n" STRIP
                     "vsetivli zero, 4, e32, m1, ta, ma\n vse32.v v8, (%[s])\n" RC_RVV_END
                     : [x] "+r"(x), [left] "+r"(n), [lanes] "=&r"(lanes)
                     : [s] "r"(s)
                     : "memory");
    return (s[0] + s[1]) + (s[2] + s[3]);
}

static void scale(float *x, uint32_t n, float factor)
{
    uint32_t lanes;
    __asm__ volatile(RC_RVV_BEGIN
                     "1:\n vsetvli %[lanes], %[left], e32, m4, ta, ma\n"
                     "vle32.v v0, (%[x])\n vfmul.vf v0, v0, %[factor]\n vse32.v v0, (%[x])\n" STRIP RC_RVV_END
                     : [x] "+r"(x), [left] "+r"(n), [lanes] "=&r"(lanes)
                     : [factor] "f"(factor)
                     : "memory");
}

void rc_softmax_rvv(float *x, uint32_t n)
{
    exponentials(x, n, largest(x, n));
    scale(x, n, 1.0f / sum_of(x, n));
}
