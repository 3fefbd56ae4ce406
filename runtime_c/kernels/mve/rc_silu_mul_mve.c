/* SPDX-License-Identifier: Apache-2.0 */
#include "recurc/rc_arith.h"
#include "recurc/rc_asm.h"
#include "recurc/rc_kernels.h"

/* exp(-g) of four elements by Helium's float unit. It flushes subnormals, which changes nothing there: all that could
 * be subnormal is added to something that it is too small to change (see rc_exp_inside), and the result is a normal
 * number. Division and the product with u, whose results may be subnormal, are the scalar unit's. */

typedef struct {
    uint32_t vectors, rows; /* of four elements in a row; both > 0 */
    uint32_t gap, gap_h;    /* bytes from the end of a row to the next: of g and u, of h */
} area_t;

/* Assembly loads it whole, in this order. */
RC_ASM_FIELD(area_t, vectors, 0);
RC_ASM_FIELD(area_t, rows, 4);
RC_ASM_FIELD(area_t, gap, 8);
RC_ASM_FIELD(area_t, gap_h, 12);
RC_ASM_BYTES(area_t, 16);

/* GPRs: log2 e, the rounding constant, 1, the two parts of ln 2, the polynomial but its first coefficient, which lies
 * in q5 beside the clamp's bounds in q6 and q7. g, u, h are 4-byte aligned. */
void rc_silu_area_mve(const float *g, const float *u, float *h, const area_t *area);
__asm__(".section .text.rc_silu_area_mve, \"ax\", %progbits\n"
        ".arch_extension mve.fp\n"
        ".balign 4\n"
        "3:\n"
        ".word 0x39506967, 0xC2AE0000, 0x42B00000\n"                         /* 1.9875691500e-4, -87, 88 */
        ".word 0x3FB8AA3B, 0x4B400000, 0x3F800000, 0x3F318000, 0xB95E8083\n" /* log2 e, magic, 1, 0.693359375,
                                                                                -2.12194440e-4 */
        ".word 0x3AB743CE, 0x3C088908, 0x3D2AA9C1, 0x3E2AAAAA, 0x3F000000\n" /* the other coefficients */
        ".global rc_silu_area_mve\n"
        ".thumb_func\n"
        ".type rc_silu_area_mve, %function\n"
        "rc_silu_area_mve:\n"
        "push {r4-r11, lr}\n"
        "sub sp, sp, #20\n"
        "vpush {d8-d15}\n"
        "ldm r3, {r4-r7}\n"
        "strd r4, r5, [sp, #64]\n"
        "strd r6, r7, [sp, #72]\n"
        "adr.w lr, 3b\n"
        "ldm lr!, {r4-r6}\n"
        "vdup.32 q5, r4\n"
        "vdup.32 q6, r5\n"
        "vdup.32 q7, r6\n"
        "ldm lr, {r3-r12}\n"
        "2:\n"
        "ldr lr, [sp, #64]\n"
        "dls lr, lr\n"
        "1:\n"
        "vldrw.u32 q0, [r0], #16\n"
        "vneg.f32 q1, q0\n"
        "vmaxnm.f32 q1, q1, q6\n"
        "vminnm.f32 q1, q1, q7\n"
        "vmul.f32 q2, q1, r3\n"
        "vadd.f32 q2, q2, r4\n"
        "vshl.i32 q3, q2, #23\n"
        "vsub.f32 q2, q2, r4\n"
        "vmul.f32 q4, q2, r6\n"
        "vadd.i32 q3, q3, r5\n" /* 2^n */
        "vsub.f32 q1, q1, q4\n"
        "vmul.f32 q4, q2, r7\n"
        "vsub.f32 q1, q1, q4\n"
        "vmul.f32 q4, q1, q5\n"
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
        "vadd.f32 q4, q4, r5\n"
        "vmul.f32 q4, q4, q3\n"
        "vadd.f32 q4, q4, r5\n"
        "vldrw.u32 q1, [r1], #16\n"
        "vdiv.f32 s0, s0, s16\n"
        "vdiv.f32 s1, s1, s17\n"
        "vdiv.f32 s2, s2, s18\n"
        "vdiv.f32 s3, s3, s19\n"
        "vmul.f32 s0, s0, s4\n"
        "vmul.f32 s1, s1, s5\n"
        "vmul.f32 s2, s2, s6\n"
        "vmul.f32 s3, s3, s7\n"
        "vstrw.32 q0, [r2], #16\n"
        "le lr, 1b\n"
        "ldr lr, [sp, #72]\n"
        "add r0, r0, lr\n"
        "add r1, r1, lr\n"
        "ldr lr, [sp, #76]\n"
        "add r2, r2, lr\n"
        "ldr lr, [sp, #68]\n"
        "subs lr, lr, #1\n"
        "str lr, [sp, #68]\n"
        "bne 2b\n"
        "vpop {d8-d15}\n"
        "add sp, sp, #20\n"
        "pop {r4-r11, pc}\n"
        ".size rc_silu_area_mve, . - rc_silu_area_mve\n"
        ".arch_extension nomve.fp\n"
        ".text\n");

void rc_silu_mul_mve(const float *g, const float *u, uint32_t ld, uint32_t rows, uint32_t n, float *h, uint32_t ldh)
{
    const uint32_t vectors = n / 4u, whole = vectors * 4u;
    if (vectors != 0u && rows != 0u) {
        const area_t area = {vectors, rows, (ld - whole) * 4u, (ldh - whole) * 4u};
        rc_silu_area_mve(g, u, h, &area);
    }
    if (whole != n) {
        for (uint32_t r = 0; r < rows; r++) {
            const float *const gr = g + r * ld, *const ur = u + r * ld;
            float *const hr = h + r * ldh;
            for (uint32_t i = whole; i < n; i++) {
                hr[i] = rc_silu(gr[i]) * ur[i];
            }
        }
    }
}
