/* SPDX-License-Identifier: Apache-2.0 */
#include "recurc/rc_arith.h"
#include "recurc/rc_asm.h"
#include "recurc/rc_kernels.h"

typedef struct {
    float sums[4];  /* of squares by index mod 4 */
    uint32_t least; /* bits of the least magnitude but zeros, shifted left by one, less one; all bits for zeros only */
} squares_t;

/* Assembly writes it by offset. */
RC_ASM_FIELD(squares_t, sums, 0);
RC_ASM_FIELD(squares_t, least, 16);
RC_ASM_BYTES(squares_t, 20);

void rc_squares_mve(const float *x, uint32_t n, squares_t *out);
__asm__(".section .text.rc_squares_mve, \"ax\", %progbits\n"
        ".arch_extension mve.fp\n"
        ".balign 4\n"
        ".global rc_squares_mve\n"
        ".thumb_func\n"
        ".type rc_squares_mve, %function\n"
        "rc_squares_mve:\n"
        "push {r4, lr}\n"
        "movs r3, #0\n"
        "mvn r4, #0\n"
        "vdup.32 q2, r3\n"
        "vdup.32 q3, r4\n"
        "movs r3, #1\n"
        "dlstp.32 lr, r1\n"
        "1:\n"
        "vldrw.u32 q0, [r0], #16\n"
        "vmul.f32 q1, q0, q0\n"
        "vshl.i32 q0, q0, #1\n"
        "vadd.f32 q2, q2, q1\n"
        "vsub.i32 q0, q0, r3\n"
        "vmin.u32 q3, q3, q0\n"
        "letp lr, 1b\n"
        "vminv.u32 r4, q3\n"
        "vstrw.32 q2, [r2]\n"
        "str r4, [r2, #16]\n"
        "pop {r4, pc}\n"
        ".size rc_squares_mve, . - rc_squares_mve\n"
        ".arch_extension nomve.fp\n"
        ".text\n");

/* No square and no result is subnormal: magnitudes are at least 2^-63, the factor at least 2^-62. */
#define LEAST  ((uint32_t)(127 - 63) << 24)
#define FACTOR 0x1p-62f

void rc_rms_norm_mve(float *x, uint32_t n, float eps)
{
    squares_t s;
    rc_squares_mve(x, n, &s);
    const float r = rc_rms_factor(((s.sums[0] + s.sums[1]) + (s.sums[2] + s.sums[3])) / (float)n, eps);
    if (s.least >= LEAST && r >= FACTOR) {
        rc_scale_row_mve(x, n, r);
    } else {
        rc_rms_norm(x, n, eps);
    }
}
