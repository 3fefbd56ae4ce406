/* What the tile products of packing 5 share: the loops over rows in assembly, and the loop over groups of four
 * channels.
 *
 * Two rows by four channels: eight sums in the eight registers that VMLADAVA can add to (r0, r2 .. r12, lr), 16 k a
 * step. The four sums of a row then make one vector of four results, which lie side by side in y. Helium's float unit
 * flushes subnormals, so results come from it only where scales rule them out (rc_scales_mve), else from `exact`. */
#ifndef RECURC_PASS_MVE_H
#define RECURC_PASS_MVE_H

#include <arm_mve.h>

#include "recurc/rc_arith.h"
#include "recurc/rc_kernels.h"

/* Assembly reads and changes this by offset. */
typedef struct {
    const int8_t *x;       /* 0 first row */
    uint32_t ld;           /* 4 bytes a row: at least two steps */
    const uint8_t *w;      /* 8 a packed group */
    uint32_t turns, entry; /* 12 turns of the loop; 16 where its first one begins: bytes of code plus one (Thumb) */
    float *y;              /* 20 */
    uint32_t ldy;          /* 24 bytes */
    const float *a, *end;  /* 28 scales of the rows, 32 their end */
    const int32_t *sum;    /* 36 */
    uint32_t n;            /* 40 channels of the group, at most four */
    const float *scale;    /* 44 */
    int32_t z[4];          /* 48 what a row's sum is multiplied with before it is added */
} rc_pass_mve_t;

typedef void rc_pass_fn_mve(rc_pass_mve_t *pass);
typedef void rc_exact_fn_mve(const rc_rows8_t *x, const uint8_t *packed, uint32_t n, const uint8_t *zero,
                             const float *scale, float *y, uint32_t ldy);

#define RC_MVE_GROUP 4u
#define RC_MVE_STEP  16u
#define RC_MVE_STEPS 8u /* in the loop, all of the same bytes of code, so that it can be entered before any of them */

#define RC_MVE_BEGIN(name)                                                                                             \
    ".section .text." name ", \"ax\", %progbits\n"                                                                     \
    ".arch_extension mve.fp\n"                                                                                         \
    ".balign 4\n"                                                                                                      \
    ".global " name "\n"                                                                                               \
    ".thumb_func\n"                                                                                                    \
    ".type " name ", %function\n" name ":\n"                                                                           \
    "push {r4-r11, lr}\n"                                                                                              \
    "vpush {d8-d15}\n"                                                                                                 \
    "mov r9, r0\n"                                                                                                     \
    "ldr r0, [r9, #16]\n"                                                                                              \
    "adr.w r1, 1f\n"                                                                                                   \
    "add r0, r0, r1\n"                                                                                                 \
    "str r0, [r9, #16]\n"                                                                                              \
    "ldr r0, [r9, #40]\n"                                                                                              \
    "ldr r1, [r9, #44]\n"                                                                                              \
    "add r2, r9, #48\n"                                                                                                \
    "vctp.32 r0\n"                                                                                                     \
    "vpst\n"                                                                                                           \
    "vldrwt.u32 q6, [r1]\n"                                                                                            \
    "vldrw.u32 q7, [r2]\n"

#define RC_MVE_END(name)                                                                                               \
    "vpop {d8-d15}\n"                                                                                                  \
    "pop {r4-r11, pc}\n"                                                                                               \
    ".size " name ", . - " name "\n"                                                                                   \
    ".arch_extension nomve.fp\n"                                                                                       \
    ".text\n"

/* The steps of one pass: the first sets the sums, the last loads nothing, so no byte beyond rows and group is read. */
#define RC_MVE_STEPS_OF(step, loads)                                                                                   \
    step("", loads) "ldr pc, [r9, #16]\n"                                                                              \
                    ".balign 4\n"                                                                                      \
                    "1:\n"                                                                                             \
                    ".rept 8\n" step("a", loads) ".endr\n"                                                             \
                                                 "subs.w r7, r7, #1\n"                                                 \
                                                 "bne.w 1b\n" step("a", RC_MVE_NO_LOADS)

#define RC_MVE_LOAD(text)     text
#define RC_MVE_NO_LOADS(text) ""

/* All pairs of rows by one group. step: 14 instructions of four bytes over x in q0 and q1 and w in q2, which it loads
 * for the next step; join: makes the four channels' sums of the two rows of what the steps added up. */
#define RC_MVE_PAIRS(name, step, join)                                                                                 \
    __asm__(RC_MVE_BEGIN(name) "ldr r3, [r9]\n"                                                                        \
                               "ldr r11, [r9, #20]\n"                                                                  \
                               "2:\n"                                                                                  \
                               "mov r1, r3\n"                                                                          \
                               "ldrd r7, r5, [r9, #4]\n"                                                               \
                               "add r3, r3, r7\n"                                                                      \
                               "ldr r7, [r9, #12]\n"                                                                   \
                               "vldrb.u8 q0, [r1], #16\n"                                                              \
                               "vldrb.u8 q2, [r5], #16\n"                                                              \
                               "vldrb.u8 q1, [r3], #16\n" RC_MVE_STEPS_OF(step, RC_MVE_LOAD) join                      \
            "vmov q0[2], q0[0], r0, r4\n"                                                                              \
            "vmov q0[3], q0[1], r2, r6\n"                                                                              \
            "ldr r1, [r9, #36]\n"                                                                                      \
            "vmov q1[2], q1[0], r8, r12\n"                                                                             \
            "vmov q1[3], q1[1], r10, lr\n"                                                                             \
            "ldrd r5, r7, [r1], #8\n"                                                                                  \
            "str r1, [r9, #36]\n"                                                                                      \
            "ldr r1, [r9, #28]\n"                                                                                      \
            "vmla.s32 q0, q7, r5\n"                                                                                    \
            "vmla.s32 q1, q7, r7\n"                                                                                    \
            "ldrd r5, r7, [r1], #8\n"                                                                                  \
            "str r1, [r9, #28]\n"                                                                                      \
            "vmul.f32 q2, q6, r5\n"                                                                                    \
            "vcvt.f32.s32 q0, q0\n"                                                                                    \
            "vmul.f32 q3, q6, r7\n"                                                                                    \
            "vcvt.f32.s32 q1, q1\n"                                                                                    \
            "vmul.f32 q0, q0, q2\n"                                                                                    \
            "ldr r0, [r9, #24]\n"                                                                                      \
            "vmul.f32 q1, q1, q3\n"                                                                                    \
            "add r2, r11, r0\n"                                                                                        \
            "vpstt\n"                                                                                                  \
            "vstrwt.32 q0, [r11]\n"                                                                                    \
            "vstrwt.32 q1, [r2]\n"                                                                                     \
            "ldr r4, [r9, #32]\n"                                                                                      \
            "add r11, r2, r0\n"                                                                                        \
            "cmp r1, r4\n"                                                                                             \
            "bne.w 2b\n" RC_MVE_END(name))

/* One row by one group. step: 9 instructions of four bytes over x in q0 and w in q2. */
#define RC_MVE_ROW(name, step, join)                                                                                   \
    __asm__(RC_MVE_BEGIN(name) "ldr r1, [r9]\n"                                                                        \
                               "ldr r5, [r9, #8]\n"                                                                    \
                               "ldr r7, [r9, #12]\n"                                                                   \
                               "vldrb.u8 q0, [r1], #16\n"                                                              \
                               "vldrb.u8 q2, [r5], #16\n" RC_MVE_STEPS_OF(step, RC_MVE_LOAD) join                      \
            "vmov q0[2], q0[0], r0, r4\n"                                                                              \
            "vmov q0[3], q0[1], r2, r6\n"                                                                              \
            "ldr r1, [r9, #36]\n"                                                                                      \
            "ldr r3, [r9, #28]\n"                                                                                      \
            "ldr r5, [r1]\n"                                                                                           \
            "ldr r7, [r3]\n"                                                                                           \
            "vmla.s32 q0, q7, r5\n"                                                                                    \
            "vmul.f32 q2, q6, r7\n"                                                                                    \
            "vcvt.f32.s32 q0, q0\n"                                                                                    \
            "ldr r11, [r9, #20]\n"                                                                                     \
            "vmul.f32 q0, q0, q2\n"                                                                                    \
            "vpst\n"                                                                                                   \
            "vstrwt.32 q0, [r11]\n" RC_MVE_END(name))

#define RC_MVE_PAIR_BYTES 56u
#define RC_MVE_ROW_BYTES  36u

/* Where the loop is entered: behind it for two steps in all, which the code around it does. */
static inline uint32_t rc_entry_mve(uint32_t steps, uint32_t bytes)
{
    const uint32_t inside = steps - 2u;
    return (inside != 0u ? (0u - inside) % RC_MVE_STEPS * bytes : RC_MVE_STEPS * bytes + 8u) + 1u;
}

/* The least magnitude but zeros, as bits, less one; all bits for zeros only. */
static inline uint32_t rc_least_mve(const float *x, uint32_t n)
{
    uint32_t least = 0xFFFFFFFFu;
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

/* One tile: `group_bytes` from one group of four channels to the next. pass.z is {0} where zero is null; else the zero
 * points, negative, the odd channels' eight more. */
static inline void rc_tile_mve(const rc_rows8_t *x, const uint8_t *packed, uint32_t n, const uint8_t *zero,
                               const float *scale, float *y, uint32_t ldy, uint32_t group_bytes, rc_pass_fn_mve *pairs,
                               rc_pass_fn_mve *row, rc_exact_fn_mve *exact)
{
    static const int32_t halves[4] = {0, 8, 0, 8};
    const uint32_t even = x->rows & ~1u, steps = x->ld / RC_MVE_STEP,
                   turns = (steps + RC_MVE_STEPS - 3u) / RC_MVE_STEPS;
    if (rc_scales_mve(x->a, x->rows, scale, n) == 0u) {
        exact(x, packed, n, zero, scale, y, ldy);
        return;
    }
    for (uint32_t j = 0; j < n; j += RC_MVE_GROUP, packed += group_bytes) {
        rc_pass_mve_t pass = {x->q, x->ld,       packed, turns, 0u,        y + j,       ldy * 4u,
                              x->a, x->a + even, x->sum, n - j, scale + j, {0, 0, 0, 0}};
        if (zero != 0) {
            const uint32x4_t stored = vldrbq_z_u32(zero + j, vctp32q(n - j));
            vst1q_s32(pass.z, vsubq_s32(vld1q_s32(halves), vreinterpretq_s32_u32(stored)));
        }
        if (even != 0u) {
            pass.entry = rc_entry_mve(steps, RC_MVE_PAIR_BYTES);
            pairs(&pass);
        }
        if (even != x->rows) {
            pass.x = x->q + even * x->ld;
            pass.y = y + even * ldy + j;
            pass.a = x->a + even;
            pass.sum = x->sum + even;
            pass.entry = rc_entry_mve(steps, RC_MVE_ROW_BYTES);
            row(&pass);
        }
    }
}

#endif
