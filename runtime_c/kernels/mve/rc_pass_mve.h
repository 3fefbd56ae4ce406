/* SPDX-License-Identifier: Apache-2.0 */
/* What the tile products of packing 5 share: the loops over channels and rows in assembly, and what surrounds them.
 *
 * Two rows by four channels: eight sums in the eight registers that VMLADAVA can add to (r0, r2 .. r12, lr), 16 k a
 * step. The four sums of a row then make one vector of four results, which lie side by side in y. Helium's float unit
 * flushes subnormals, so results come from it only where scales rule them out (rc_scales_mve), else from `exact`. */
#ifndef RECURC_PASS_MVE_H
#define RECURC_PASS_MVE_H

#include "recurc/rc_arith.h"

#include <arm_mve.h>

#include "recurc/rc_asm.h"
#include "recurc/rc_kernels.h"

#define RC_MVE_TILE       16u
#define RC_MVE_GROUP      4u
#define RC_MVE_STEP       16u
#define RC_MVE_STEPS      8 /* in the loop, all of the same bytes of code, so that it can be entered before any of them */
#define RC_MVE_PAIR_BYTES 56 /* of code a step of RC_MVE_PAIRS */
#define RC_MVE_ROW_BYTES  36 /* of code a step of RC_MVE_ROW */
#define RC_MVE_TURN_BYTES 8  /* of code after the loop's steps */

RC_ASM_CONSTANT(RC_MVE_STEP, 16u);
RC_ASM_CONSTANT(RC_MVE_GROUP, 4u);

/* Assembly reads and changes this by offset. */
typedef struct {
    uint32_t ld;      /* bytes a row: at least two steps */
    const uint8_t *w; /* packed group */
    uint32_t turns;   /* of the loop */
    const int8_t *x;  /* first row */
    uint32_t entry;   /* where the loop's first turn begins: bytes of code plus one (Thumb) */
    float *y;
    uint32_t ldy;       /* bytes */
    const float *end;   /* of a */
    const float *a;     /* scales of the rows */
    const int32_t *sum; /* sums of the rows */
    int32_t n;          /* channels that are left */
    const float *scale; /* of the channels */
    const int32_t *z;   /* what a row's sum is multiplied with before it is added to a channel's */
    uint32_t group_bytes;
    const float *next_a; /* the pair's */
    const int32_t *next_s;
} rc_pass_mve_t;

RC_ASM_FIELD(rc_pass_mve_t, ld, 0);
RC_ASM_FIELD(rc_pass_mve_t, w, 4);
RC_ASM_FIELD(rc_pass_mve_t, turns, 8);
RC_ASM_FIELD(rc_pass_mve_t, x, 12);
RC_ASM_FIELD(rc_pass_mve_t, entry, 16);
RC_ASM_FIELD(rc_pass_mve_t, y, 20);
RC_ASM_FIELD(rc_pass_mve_t, ldy, 24);
RC_ASM_FIELD(rc_pass_mve_t, end, 28);
RC_ASM_FIELD(rc_pass_mve_t, a, 32);
RC_ASM_FIELD(rc_pass_mve_t, sum, 36);
RC_ASM_FIELD(rc_pass_mve_t, n, 40);
RC_ASM_FIELD(rc_pass_mve_t, scale, 44);
RC_ASM_FIELD(rc_pass_mve_t, z, 48);
RC_ASM_FIELD(rc_pass_mve_t, group_bytes, 52);
RC_ASM_FIELD(rc_pass_mve_t, next_a, 56);
RC_ASM_FIELD(rc_pass_mve_t, next_s, 60);
RC_ASM_BYTES(rc_pass_mve_t, 64);

typedef void rc_pass_fn_mve(rc_pass_mve_t *pass);
typedef void rc_exact_fn_mve(const rc_rows8_t *x, const uint8_t *packed, uint32_t n, const uint8_t *zero,
                             const float *scale, float *y, uint32_t ldy);

/* clang-format off */
#define RC_MVE_BEGIN(name) \
    ".section .text." name ", \"ax\", %progbits\n" \
    ".arch_extension mve.fp\n" \
    ".balign 4\n" \
    ".global " name "\n" \
    ".thumb_func\n" \
    ".type " name ", %function\n" \
    name ":\n" \
    "push {r4-r11, lr}\n" \
    "vpush {d8-d15}\n" \
    "mov r9, r0\n" \
    "ldr r0, [r9, #16]\n" \
    "adr.w r1, 1f\n" \
    "add r0, r0, r1\n" \
    "str r0, [r9, #16]\n"

#define RC_MVE_END(name) \
    "vpop {d8-d15}\n" \
    "pop {r4-r11, pc}\n" \
    ".size " name ", . - " name "\n" \
    ".arch_extension nomve.fp\n" \
    ".text\n"

#define RC_MVE_USE(text) text
#define RC_MVE_SKIP(text) ""

/* All steps of a pass: the first sets the sums, the last loads nothing, so no byte beyond rows and group is read. bytes: of
 * code a step. */
#define RC_MVE_ALL(step, bytes) \
    step("", RC_MVE_USE) \
    "ldr pc, [r9, #16]\n" \
    ".balign 4\n" \
    "1:\n" \
    ".rept " RC_ASM_TEXT(RC_MVE_STEPS) "\n" \
    "4:\n" \
    step("a", RC_MVE_USE) \
    RC_ASM_SIZE("4b", bytes) \
    ".endr\n" \
    "4:\n" \
    "subs.w r7, r7, #1\n" \
    "bne.w 1b\n" \
    RC_ASM_SIZE("4b", RC_MVE_TURN_BYTES) \
    step("a", RC_MVE_SKIP)

/* All pairs of rows by all groups of channels. step(add, load): 14 instructions of four bytes with x in q0 and q1 and the
 * group's first vector in q2, which it loads for the next step; join: turns what the steps added up into the sums of four
 * channels, r0, r2, r4, r6 of the first row and r8, r10, r12, lr of the second. zeros: RC_MVE_USE where channels have zero
 * points. Registers else: r1, r3 rows; r5 weights; r7 turns; r9 pass; r11 y; q6 scales; q7 z. */
#define RC_MVE_PAIRS(name, step, join, zeros) \
    __asm__(RC_MVE_BEGIN(name) \
    "3:\n" \
    "ldrd r0, r1, [r9, #40]\n" \
    "vctp.32 r0\n" \
    "ldr r3, [r9, #12]\n" \
    "vpst\n" \
    "vldrwt.u32 q6, [r1], #16\n" \
    "str r1, [r9, #44]\n" \
    zeros("ldr r2, [r9, #48]\n" \
          "vldrw.u32 q7, [r2], #16\n" \
          "str r2, [r9, #48]\n") \
    "ldr r11, [r9, #20]\n" \
    "ldrd r4, r5, [r9, #32]\n" \
    "strd r4, r5, [r9, #56]\n" \
    "2:\n" \
    "ldm r9, {r0, r5, r7}\n" \
    "mov r1, r3\n" \
    "add r3, r3, r0\n" \
    "vldrb.u8 q0, [r1], #16\n" \
    "vldrb.u8 q2, [r5], #16\n" \
    "vldrb.u8 q1, [r3], #16\n" \
    RC_MVE_ALL(step, RC_MVE_PAIR_BYTES) \
    join \
    "vmov q0[2], q0[0], r0, r4\n" \
    "vmov q0[3], q0[1], r2, r6\n" \
    "ldrd r0, r2, [r9, #56]\n" \
    "vmov q1[2], q1[0], r8, r12\n" \
    "vmov q1[3], q1[1], r10, lr\n" \
    zeros("ldrd r5, r7, [r2], #8\n" \
          "vmla.s32 q0, q7, r5\n" \
          "vmla.s32 q1, q7, r7\n") \
    "ldrd r5, r7, [r0], #8\n" \
    "strd r0, r2, [r9, #56]\n" \
    "vmul.f32 q2, q6, r5\n" \
    "vcvt.f32.s32 q0, q0\n" \
    "vmul.f32 q3, q6, r7\n" \
    "vcvt.f32.s32 q1, q1\n" \
    "vmul.f32 q0, q0, q2\n" \
    "ldrd r1, r4, [r9, #24]\n" \
    "vmul.f32 q1, q1, q3\n" \
    "add r2, r11, r1\n" \
    "vpstt\n" \
    "vstrwt.32 q0, [r11]\n" \
    "vstrwt.32 q1, [r2]\n" \
    "add r11, r2, r1\n" \
    "cmp r0, r4\n" \
    "bne.w 2b\n" \
    "ldr r0, [r9, #20]\n" \
    "ldr r1, [r9, #4]\n" \
    "ldr r2, [r9, #52]\n" \
    "ldr r4, [r9, #40]\n" \
    "adds r0, r0, #16\n" \
    "str r0, [r9, #20]\n" \
    "add r1, r1, r2\n" \
    "str r1, [r9, #4]\n" \
    "subs r4, r4, #4\n" \
    "str r4, [r9, #40]\n" \
    "bgt.w 3b\n" \
    RC_MVE_END(name))

/* One row by all groups of channels. step: 9 instructions of four bytes with x in q0 and the group's first vector in q2.
 * Registers: r1 row; r3 channels that are left; r5 weights; r7 turns; r8, r10 the row's scale and sum; r11 y; r12 scales; lr z. */
#define RC_MVE_ROW(name, step, join, zeros) \
    __asm__(RC_MVE_BEGIN(name) \
    "ldrd r3, r12, [r9, #40]\n" \
    "ldr lr, [r9, #48]\n" \
    "ldrd r8, r10, [r9, #32]\n" \
    "ldr r8, [r8]\n" \
    "ldr r10, [r10]\n" \
    "ldr r11, [r9, #20]\n" \
    "ldr r5, [r9, #4]\n" \
    "3:\n" \
    "ldr r1, [r9, #12]\n" \
    "vctp.32 r3\n" \
    "ldr r7, [r9, #8]\n" \
    "vldrb.u8 q0, [r1], #16\n" \
    "vldrb.u8 q2, [r5], #16\n" \
    RC_MVE_ALL(step, RC_MVE_ROW_BYTES) \
    join \
    "vmov q0[2], q0[0], r0, r4\n" \
    "vmov q0[3], q0[1], r2, r6\n" \
    "vpst\n" \
    "vldrwt.u32 q6, [r12], #16\n" \
    zeros("vldrw.u32 q7, [lr], #16\n" \
          "vmla.s32 q0, q7, r10\n") \
    "vmul.f32 q2, q6, r8\n" \
    "vcvt.f32.s32 q0, q0\n" \
    "subs r3, r3, #4\n" \
    "vmul.f32 q0, q0, q2\n" \
    "vpst\n" \
    "vstrwt.32 q0, [r11], #16\n" \
    "bgt.w 3b\n" \
    RC_MVE_END(name))
/* clang-format on */

/* Where the loop is entered: behind it for two steps in all, which the code around it does. */
static inline uint32_t rc_entry_mve(uint32_t steps, uint32_t bytes)
{
    const uint32_t inside = steps - 2u;
    return (inside != 0u ? (0u - inside) % RC_MVE_STEPS * bytes : RC_MVE_STEPS * bytes + RC_MVE_TURN_BYTES) + 1u;
}

/* The least magnitude but zeros, as bits, less one; all bits for zeros only. */
static inline uint32_t rc_least_mve(const float *x, uint32_t n)
{
    uint32_t least = 0xFFFFFFFFu;
    __asm__ volatile("" ::: "memory"); /* floats are read as integers, so what has written them must be done */
    for (uint32_t i = 0; i < n; i += 4u) {
        const mve_pred16_t some = vctp32q(n - i);
        const uint32x4_t bits = vldrwq_z_u32((const uint32_t *)(const void *)(x + i), some);
        least = vminvq_p_u32(least, vsubq_n_u32(vandq_u32(bits, vdupq_n_u32(0x7FFFFFFFu)), 1u), some);
    }
    return least;
}

/* Whether no product of a row's and a channel's scale, times an integer, is subnormal, nor any scale: by exponents. */
static inline uint32_t rc_scales_mve(const float *a, uint32_t rows, const float *scale, uint32_t n)
{
    const uint32_t p = rc_least_mve(a, rows) >> 23, s = rc_least_mve(scale, n) >> 23;
    return (uint32_t)(p != 0u && s != 0u && p + s >= 128u);
}

/* One tile; zero is null where the kernel takes no zero points. */
static inline void rc_tile_mve(const rc_rows8_t *x, const uint8_t *packed, uint32_t n, const uint8_t *zero,
                               const float *scale, float *y, uint32_t ldy, uint32_t group_bytes, rc_pass_fn_mve *pairs,
                               rc_pass_fn_mve *row, rc_exact_fn_mve *exact)
{
    static const int32_t halves[RC_MVE_GROUP] = {0, 8, 0, 8}; /* of odd channels, 8 less is stored */
    const uint32_t even = x->rows & ~1u, steps = x->ld / RC_MVE_STEP,
                   turns = (steps + RC_MVE_STEPS - 3u) / RC_MVE_STEPS;
    int32_t z[RC_MVE_TILE];
    if (rc_scales_mve(x->a, x->rows, scale, n) == 0u) {
        exact(x, packed, n, zero, scale, y, ldy);
        return;
    }
    if (zero != 0) {
        for (uint32_t j = 0; j < n; j += RC_MVE_GROUP) {
            const uint32x4_t stored = vldrbq_z_u32(zero + j, vctp32q(n - j));
            vst1q_s32(z + j, vsubq_s32(vld1q_s32(halves), vreinterpretq_s32_u32(stored)));
        }
    }
    rc_pass_mve_t pass = {x->ld, packed, turns,      x->q,  0, y,           ldy * 4u, x->a + even,
                          x->a,  x->sum, (int32_t)n, scale, z, group_bytes, 0,        0};
    if (even != x->rows) {
        rc_pass_mve_t last = pass;
        last.entry = rc_entry_mve(steps, RC_MVE_ROW_BYTES);
        last.x += even * x->ld;
        last.y += even * ldy;
        last.a += even;
        last.sum += even;
        row(&last);
    }
    if (even != 0u) {
        pass.entry = rc_entry_mve(steps, RC_MVE_PAIR_BYTES);
        pairs(&pass);
    }
}

#endif
