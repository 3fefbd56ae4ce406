/* SPDX-License-Identifier: Apache-2.0 */
#include "recurc/rc_arith.h"
#include "recurc/rc_asm.h"
#include "recurc/rc_kernels.h"

/* Helium's float unit flushes subnormals. For maximum, difference and exponential that changes nothing: what is flushed
 * is too small to make an exponential other than 1, and exponentials are normal numbers. */

/* The largest of n > 0. */
float rc_largest_mve(const float *x, uint32_t n);
__asm__(".section .text.rc_largest_mve, \"ax\", %progbits\n"
        ".arch_extension mve.fp\n"
        ".balign 4\n"
        ".global rc_largest_mve\n"
        ".thumb_func\n"
        ".type rc_largest_mve, %function\n"
        "rc_largest_mve:\n"
        "push {r7, lr}\n"
        "ldr r2, [r0]\n"
        "vdup.32 q1, r2\n"
        "dlstp.32 lr, r1\n"
        "1:\n"
        "vldrw.u32 q0, [r0], #16\n"
        "vmaxnm.f32 q1, q1, q0\n"
        "letp lr, 1b\n"
        "vmaxnmv.f32 r2, q1\n"
        "vmov s0, r2\n"
        "pop {r7, pc}\n"
        ".size rc_largest_mve, . - rc_largest_mve\n"
        ".arch_extension nomve.fp\n"
        ".text\n");

typedef struct {
    float sums[4]; /* by index mod 4 */
    float least;
} exps_t;

/* Assembly writes it by offset. */
RC_ASM_FIELD(exps_t, sums, 0);
RC_ASM_FIELD(exps_t, least, 16);
RC_ASM_BYTES(exps_t, 20);

/* x[i] = exp(x[i] - m) with m the largest, see rc_exp; n > 0. */
void rc_exps_mve(float *x, uint32_t n, exps_t *out, float m);
__asm__(".section .text.rc_exps_mve, \"ax\", %progbits\n"
        ".arch_extension mve.fp\n"
        ".balign 4\n"
        "3:\n"
        ".word 0, 0x3F800000, 0xC2AE0000\n"                                  /* 0, 1, -87 */
        ".word 0x3FB8AA3B, 0x4B400000, 0x3F800000, 0x3F318000, 0xB95E8083\n" /* log2 e, magic, 1, 0.693359375,
                                                                                -2.12194440e-4 */
        ".word 0x39506967, 0x3AB743CE, 0x3C088908, 0x3D2AA9C1, 0x3E2AAAAA, 0x3F000000\n" /* coefficients */
        ".global rc_exps_mve\n"
        ".thumb_func\n"
        ".type rc_exps_mve, %function\n"
        "rc_exps_mve:\n"
        "push {r2, r4-r11, lr}\n"
        "vpush {d8-d15}\n"
        "adr.w r12, 3b\n"
        "ldm r12!, {r2-r4}\n"
        "vdup.32 q7, r2\n"
        "vdup.32 q5, r3\n"
        "vdup.32 q6, r4\n"
        "ldm r12, {r2-r12}\n"
        "dlstp.32 lr, r1\n"
        "vmov r1, s0\n"
        "1:\n"
        "vldrw.u32 q1, [r0]\n"
        "vsub.f32 q1, q1, r1\n"
        "vmaxnm.f32 q1, q1, q6\n"
        "vmul.f32 q2, q1, r2\n"
        "vadd.f32 q2, q2, r3\n"
        "vshl.i32 q3, q2, #23\n"
        "vsub.f32 q2, q2, r3\n"
        "vmul.f32 q4, q2, r5\n"
        "vadd.i32 q3, q3, r4\n" /* 2^n */
        "vsub.f32 q1, q1, q4\n"
        "vmul.f32 q4, q2, r6\n"
        "vsub.f32 q1, q1, q4\n"
        "vmul.f32 q4, q1, r7\n"
        "vadd.f32 q4, q4, r8\n"
        "vmul.f32 q4, q4, q1\n"
        "vadd.f32 q4, q4, r9\n"
        "vmul.f32 q4, q4, q1\n"
        "vadd.f32 q4, q4, r10\n"
        "vmul.f32 q4, q4, q1\n"
        "vadd.f32 q4, q4, r11\n"
        "vmul.f32 q4, q4, q1\n"
        "vmul.f32 q2, q1, q1\n"
        "vadd.f32 q4, q4, r12\n"
        "vmul.f32 q4, q4, q2\n"
        "vadd.f32 q4, q4, q1\n"
        "vadd.f32 q4, q4, r4\n"
        "vmul.f32 q4, q4, q3\n"
        "vstrw.32 q4, [r0], #16\n"
        "vadd.f32 q7, q7, q4\n"
        "vminnm.f32 q5, q5, q4\n"
        "letp lr, 1b\n"
        "mov r1, r4\n"
        "vminnmv.f32 r1, q5\n"
        "ldr r2, [sp, #64]\n"
        "vstrw.32 q7, [r2]\n"
        "str r1, [r2, #16]\n"
        "vpop {d8-d15}\n"
        "pop {r2, r4-r11, pc}\n"
        ".size rc_exps_mve, . - rc_exps_mve\n"
        ".arch_extension nomve.fp\n"
        ".text\n");

void rc_softmax_mve(float *x, uint32_t n)
{
    exps_t e;
    rc_exps_mve(x, n, &e, rc_largest_mve(x, n));
    const float c = 1.0f / ((e.sums[0] + e.sums[1]) + (e.sums[2] + e.sums[3]));
    if (e.least * c >= 0x1p-125f) {
        rc_scale_row_mve(x, n, c);
    } else {
        for (uint32_t i = 0; i < n; i++) {
            x[i] *= c;
        }
    }
}
