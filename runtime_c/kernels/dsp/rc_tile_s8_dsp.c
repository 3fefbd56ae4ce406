/* SPDX-License-Identifier: Apache-2.0 */
#include "recurc/rc_kernels.h"

#include <arm_acle.h>
#include <string.h>

#include "recurc/rc_asm.h"

/* Packing 3, int8: a half word holds (w0 + 128) + 256 w1 of one k, the next word's (w2 + 128) + 256 w3. SMLAD with the
 * whole word, then with its odd bytes, gives sums that make up two channels' sums: four operands cost two instructions, in
 * place, so that two rows by four channels fit the 14 registers. Arithmetic is modulo 2^32. */

typedef struct {
    /* Addresses, which may lie outside of what they belong to, as pointers may not. */
    uintptr_t x;    /* two rows, interleaved by words: where they would begin if the loop began at its first step */
    uintptr_t w;    /* a packed tile, likewise */
    uintptr_t last; /* the two rows' last step */
    uint32_t skip, code; /* steps of the loop that its first turn leaves out, their bytes of code plus one (Thumb) */
    int32_t sums[8];     /* of the first row, of the second: by the first word, w1, by the second, w3 */
} pass_t;

/* Assembly reads and changes a pass by offset. */
RC_ASM_FIELD(pass_t, x, 0);
RC_ASM_FIELD(pass_t, w, 4);
RC_ASM_FIELD(pass_t, last, 8);
RC_ASM_FIELD(pass_t, skip, 12);
RC_ASM_FIELD(pass_t, code, 16);
RC_ASM_FIELD(pass_t, sums, 20);
RC_ASM_BYTES(pass_t, 52);

/* clang-format off */
/* One step of two k; its loads are for the step after it, `rc_round` counts them within the loop. */
#define WORDS "smlad r4, r3, r2, r4\n smlad r8, r12, r2, r8\n sxtb16 r2, r2, ror #8\n smlad r6, r3, lr, r6\n"
#define ODD_BYTES_1 "smlad r10, r12, lr, r10\n sxtb16 lr, lr, ror #8\n smlad r5, r3, r2, r5\n smlad r9, r12, r2, r9\n"
#define ODD_BYTES_2 "smlad r7, r3, lr, r7\n smlad r11, r12, lr, r11\n"
#define STEP WORDS ODD_BYTES_1 ODD_BYTES_2 "ldrd r2, lr, [r1, #8 * rc_round]\n ldrd r3, r12, [r0, #8 * rc_round]\n"
#define STEP_BYTES 48
#define STEPS 16 /* in the loop, all of STEP_BYTES, so that it can be entered before any of them */

/* All steps of two rows by one tile; sums to `pass`. A function in assembly, so that its use of the stack is counted as all
 * other. The loop ends before the last step, which loads nothing: no byte beyond rows and tile is read. */
void rc_pass_s8_dsp(pass_t *pass);
__asm__(".section .text.rc_pass_s8_dsp, \"ax\", %progbits\n"
        ".balign 4\n"
        ".global rc_pass_s8_dsp\n"
        ".thumb_func\n"
        ".type rc_pass_s8_dsp, %function\n"
        "rc_pass_s8_dsp:\n"
        "ldr r1, [r0, #8]\n"
        "push {r0, r1, r4-r11, lr}\n"
        "ldrd r12, lr, [r0, #12]\n"
        "adr.w r3, 1f\n"
        "add lr, lr, r3\n"
        "ldrd r0, r1, [r0]\n"
        "movs r4, #0\n movs r5, #0\n movs r6, #0\n movs r7, #0\n"
        "mov r8, r4\n mov r9, r4\n mov r10, r4\n mov r11, r4\n"
        "push {lr}\n"
        "add r2, r1, r12, lsl #3\n"
        "ldrd r2, lr, [r2]\n"
        "add r12, r0, r12, lsl #3\n"
        "ldrd r3, r12, [r12]\n"
        "pop {pc}\n"
        ".balign 4\n"
        "1:\n"
        ".set rc_round, 1\n"
        ".rept " RC_ASM_TEXT(STEPS) "\n"
        "4:\n" STEP ".set rc_round, rc_round + 1\n" RC_ASM_SIZE("4b", STEP_BYTES)
        ".endr\n"
        "ldr lr, [sp, #4]\n"
        "add r0, r0, #8 * " RC_ASM_TEXT(STEPS) "\n"
        "add r1, r1, #8 * " RC_ASM_TEXT(STEPS) "\n"
        "cmp r0, lr\n"
        "ldr lr, [r1, #4]\n"
        "bne.w 1b\n" WORDS ODD_BYTES_1 ODD_BYTES_2 "pop {r0, r1}\n"
        "add r0, r0, #20\n"
        "stm r0, {r4-r11}\n"
        "pop {r4-r11, pc}\n"
        ".balign 4\n"
        ".size rc_pass_s8_dsp, . - rc_pass_s8_dsp\n"
        ".text\n");
/* clang-format on */

static inline uint32_t word_at(const void *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline int16x2_t odd_bytes(uint32_t word)
{
    int16x2_t v;
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(v) : "r"(word)); /* GCC 12 makes two instructions of the intrinsic */
    return v;
}

/* A row without a partner: plain, not interleaved. */
static void one_row(const int16_t *x, const uint8_t *w, uint32_t k, int32_t *sums)
{
    int32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
    for (const int16_t *const end = x + k; x != end; x += 8, w += 32) {
        for (uint32_t i = 0; i < 4u; i++) {
            const int16x2_t pair = (int16x2_t)word_at(x + 2u * i);
            const uint32_t low = word_at(w + 8u * i), high = word_at(w + 8u * i + 4u);
            s0 = __smlad(pair, (int16x2_t)low, s0);
            s1 = __smlad(pair, odd_bytes(low), s1);
            s2 = __smlad(pair, (int16x2_t)high, s2);
            s3 = __smlad(pair, odd_bytes(high), s3);
        }
    }
    sums[0] = s0;
    sums[1] = s1;
    sums[2] = s2;
    sums[3] = s3;
}

/* The four channels' sums from a row's four. */
static inline void finish(const int32_t *sums, int32_t sum, int32_t *acc)
{
    const uint32_t offset = (uint32_t)sum << 7;
    acc[0] = (int32_t)((uint32_t)sums[0] - ((uint32_t)sums[1] << 8) - offset);
    acc[1] = sums[1];
    acc[2] = (int32_t)((uint32_t)sums[2] - ((uint32_t)sums[3] << 8) - offset);
    acc[3] = sums[3];
}

/* One row's results; all is known at compile time where n is, and stays in registers. */
static inline void results(const int32_t *sums, const float *s, float a, int32_t sum, float *y, uint32_t n)
{
    int32_t acc[4];
    finish(sums, sum, acc);
    for (uint32_t j = 0; j < n; j++) {
        y[j] = (float)acc[j] * (a * s[j]);
    }
}

static inline void all_rows(const rc_rows16_t *x, const uint8_t *packed, const float *s, float *y, uint32_t ldy,
                            uint32_t n)
{
    const uint32_t pair = 2u * x->ld, skip = STEPS - (x->ld / 2u - 1u) % STEPS; /* ld is a multiple of 8 */
    const int16_t *q = x->q;
    const float *const a = x->a;
    const int32_t *const sum = x->sum;
    uint32_t r = 0;
    pass_t pass = {
        .x = (uintptr_t)q - 8u * skip,
        .w = (uintptr_t)packed - 8u * skip,
        .last = (uintptr_t)q + 2u * pair - 8u,
        .skip = skip,
        .code = skip * STEP_BYTES + 1u,
    };
    for (; r + 2u <= x->rows; r += 2u) {
        rc_pass_s8_dsp(&pass);
        pass.x += 2u * pair;
        pass.last += 2u * pair;
        results(pass.sums, s, a[r], sum[r], y + r * ldy, n);
        results(pass.sums + 4, s, a[r + 1u], sum[r + 1u], y + (r + 1u) * ldy, n);
    }
    if (r < x->rows) {
        one_row(q + r * x->ld, packed, x->ld, pass.sums);
        results(pass.sums, s, a[r], sum[r], y + r * ldy, n);
    }
}

void rc_tile_s8_dsp(const rc_rows16_t *x, const uint8_t *packed, uint32_t n, const uint8_t *zero, const float *scale,
                    float *y, uint32_t ldy, void *w)
{
    (void)zero;
    (void)w;
    if (n == 4u) {
        const float s[4] = {scale[0], scale[1], scale[2], scale[3]};
        all_rows(x, packed, s, y, ldy, 4u);
    } else {
        all_rows(x, packed, scale, y, ldy, n);
    }
}
