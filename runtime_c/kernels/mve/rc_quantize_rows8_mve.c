/* SPDX-License-Identifier: Apache-2.0 */
#include "recurc/rc_arith.h"
#include "recurc/rc_asm.h"
#include "recurc/rc_kernels.h"

/* Helium's float unit flushes subnormals. Here that changes nothing: an inverse is below 2^104, so what is flushed
 * rounds to zero, and magnitudes are compared as integers. Loops are tail-predicated, n > 0. */

/* Bits of the largest magnitude, shifted left by one. */
uint32_t rc_peak_mve(const float *x, uint32_t n);
__asm__(".section .text.rc_peak_mve, \"ax\", %progbits\n"
        ".balign 4\n"
        ".global rc_peak_mve\n"
        ".thumb_func\n"
        ".type rc_peak_mve, %function\n"
        "rc_peak_mve:\n"
        "push {r7, lr}\n"
        "movs r2, #0\n"
        "vdup.32 q1, r2\n"
        "dlstp.32 lr, r1\n"
        "1:\n"
        "vldrw.u32 q0, [r0], #16\n"
        "vshl.i32 q0, q0, #1\n"
        "vmax.u32 q1, q1, q0\n"
        "letp lr, 1b\n"
        "vmaxv.u32 r2, q1\n"
        "mov r0, r2\n"
        "pop {r7, pc}\n"
        ".size rc_peak_mve, . - rc_peak_mve\n"
        ".text\n");

RC_ASM_CONSTANT(RC_ROUND_BITS, 0x4B400000);

/* Rounds n elements to q; the sum of all, each RC_ROUND_BITS too large. */
uint32_t rc_rounded_mve(const float *x, uint32_t n, int8_t *q, float inverse);
__asm__(".section .text.rc_rounded_mve, \"ax\", %progbits\n"
        ".arch_extension mve.fp\n"
        ".balign 4\n"
        ".global rc_rounded_mve\n"
        ".thumb_func\n"
        ".type rc_rounded_mve, %function\n"
        "rc_rounded_mve:\n"
        "push {r4, lr}\n"
        "vmov r3, s0\n"
        "movs r4, #0\n"
        "movt r4, #0x4B40\n" /* RC_ROUND_MAGIC */
        "mov.w r12, #0\n"
        "dlstp.32 lr, r1\n"
        "1:\n"
        "vldrw.u32 q0, [r0], #16\n"
        "vmul.f32 q0, q0, r3\n"
        "vadd.f32 q0, q0, r4\n"
        "vstrb.32 q0, [r2], #4\n"
        "vaddva.u32 r12, q0\n"
        "letp lr, 1b\n"
        "mov r0, r12\n"
        "pop {r4, pc}\n"
        ".size rc_rounded_mve, . - rc_rounded_mve\n"
        ".arch_extension nomve.fp\n"
        ".text\n");

void rc_quantize_rows8_mve(const float *x, uint32_t ldx, uint32_t rows, uint32_t n, int8_t *q, uint32_t ld, float *a,
                           int32_t *sum)
{
    const uint32_t bias = n * (uint32_t)RC_ROUND_BITS;
    for (uint32_t r = 0; r < rows; r++, x += ldx, q += ld) {
        const float inverse = rc_peak_scale(rc_float_of((int32_t)(rc_peak_mve(x, n) >> 1)), a + r);
        const uint32_t live = inverse > 0.0f ? n : 0u;
        sum[r] = live != 0u ? (int32_t)(rc_rounded_mve(x, n, q, inverse) - bias) : 0;
        for (uint32_t i = live; i < ld; i++) {
            q[i] = 0;
        }
    }
}
