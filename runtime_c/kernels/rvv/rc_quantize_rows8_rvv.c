/* SPDX-License-Identifier: Apache-2.0 */
#include "rc_rvv.h"
#include "recurc/rc_arith.h"
#include "recurc/rc_kernels.h"

/* Twice the bits of the largest magnitude, as rc_row_scale compares them. */
static uint32_t peak_of(const float *x, uint32_t n)
{
    uint32_t lanes, peak;
    __asm__ volatile(RC_RVV_BEGIN
                     "vsetvli %[lanes], zero, e32, m4, ta, ma\n vmv.v.i v8, 0\n"
                     "1:\n vsetvli %[lanes], %[left], e32, m4, tu, ma\n"
                     "vle32.v v0, (%[x])\n vsll.vi v0, v0, 1\n vmaxu.vv v8, v8, v0\n"
                     "sub %[left], %[left], %[lanes]\n slli %[lanes], %[lanes], 2\n add %[x], %[x], %[lanes]\n"
                     "bnez %[left], 1b\n"
                     "vsetvli %[lanes], zero, e32, m4, ta, ma\n vmv.s.x v4, zero\n vredmaxu.vs v4, v8, v4\n"
                     "vmv.x.s %[peak], v4\n" RC_RVV_END
                     : [x] "+r"(x), [left] "+r"(n), [lanes] "=&r"(lanes), [peak] "=r"(peak)
                     :
                     : "memory");
    return peak;
}

/* Rounded x * inverse to q; their sum. Conversion rounds half to even, as adding RC_ROUND_MAGIC does. */
static int32_t round_row(const float *x, uint32_t n, float inverse, int8_t *q)
{
    uint32_t lanes;
    int32_t total;
    __asm__ volatile(RC_RVV_BEGIN
                     "vsetvli %[lanes], zero, e32, m4, ta, ma\n vmv.v.i v8, 0\n"
                     "1:\n vsetvli %[lanes], %[left], e32, m4, tu, ma\n"
                     "vle32.v v0, (%[x])\n vfmul.vf v0, v0, %[inverse]\n vfcvt.x.f.v v0, v0\n vadd.vv v8, v8, v0\n"
                     "vsetvli zero, %[lanes], e16, m2, ta, ma\n vnsrl.wi v4, v0, 0\n"
                     "vsetvli zero, %[lanes], e8, m1, ta, ma\n vnsrl.wi v6, v4, 0\n vse8.v v6, (%[q])\n"
                     "sub %[left], %[left], %[lanes]\n add %[q], %[q], %[lanes]\n"
                     "slli %[lanes], %[lanes], 2\n add %[x], %[x], %[lanes]\n"
                     "bnez %[left], 1b\n"
                     "vsetvli %[lanes], zero, e32, m4, ta, ma\n vmv.s.x v4, zero\n vredsum.vs v4, v8, v4\n"
                     "vmv.x.s %[total], v4\n" RC_RVV_END
                     : [x] "+r"(x), [q] "+r"(q), [left] "+r"(n), [lanes] "=&r"(lanes), [total] "=r"(total)
                     : [inverse] "f"(inverse)
                     : "memory");
    return total;
}

void rc_quantize_rows8_rvv(const float *x, uint32_t ldx, uint32_t rows, uint32_t n, int8_t *q, uint32_t ld, float *a,
                           int32_t *sum)
{
    for (uint32_t r = 0; r < rows; r++, x += ldx, q += ld) {
        const float inverse = rc_peak_scale(rc_float_of((int32_t)(peak_of(x, n) >> 1)), a + r);
        const uint32_t live = inverse > 0.0f ? n : 0u;
        sum[r] = live != 0u ? round_row(x, n, inverse, q) : 0;
        for (uint32_t i = live; i < ld; i++) {
            q[i] = 0;
        }
    }
}
