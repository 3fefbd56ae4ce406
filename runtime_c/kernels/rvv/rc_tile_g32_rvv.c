/* SPDX-License-Identifier: Apache-2.0 */
#include "rc_rvv.h"

/* Packing 8, weights in groups of 32 inputs: a byte holds two k of a channel, two's complement. The sums of a group fit
 * 16 bits, 32 * 8 * 127 < 2^15; then they are multiplied by its scale and added to those of 32 bits. The last group may
 * end after its first half. */

#define HALF 16u /* k of half a group; rows are multiples of it */
RC_ASM_CONSTANT(HALF, 16u);

#define WEIGHTS "vle8.v v0, (%[w])\n addi %[w], %[w], 32\n vsll.vi v1, v0, 4\n vsra.vi v2, v0, 4\n vsra.vi v1, v1, 4\n"
#define FIRST_4 "vwmul.vx v8, v1, %[t0]\n vwmul.vx v10, v1, %[t1]\n vwmul.vx v12, v1, %[t2]\n vwmul.vx v14, v1, %[t3]\n"
#define FIRST_1 "vwmul.vx v8, v1, %[t0]\n"
#define MORE_4(w)                                                                                                      \
    "vwmacc.vx v8, %[t0], " w "\n vwmacc.vx v10, %[t1], " w "\n vwmacc.vx v12, %[t2], " w                              \
    "\n vwmacc.vx v14, %[t3], " w "\n"
#define MORE_1(w) "vwmacc.vx v8, %[t0], " w "\n"
#define SCALE_4   "vwmacc.vv v16, v8, v2\n vwmacc.vv v20, v10, v2\n vwmacc.vv v24, v12, v2\n vwmacc.vv v28, v14, v2\n"
#define SCALE_1   "vwmacc.vv v16, v8, v2\n"

#define PAIR(rows, k, l)  WEIGHTS RC_RVV_X_##rows(k) MORE_##rows("v1") RC_RVV_X_##rows(l) MORE_##rows("v2")
#define START(rows, k, l) WEIGHTS RC_RVV_X_##rows(k) FIRST_##rows RC_RVV_X_##rows(l) MORE_##rows("v2")
#define FIRST_HALF(rows)                                                                                               \
    START(rows, "0", "1")                                                                                              \
    PAIR(rows, "2", "3")                                                                                               \
    PAIR(rows, "4", "5")                                                                                               \
    PAIR(rows, "6", "7")                                                                                               \
    PAIR(rows, "8", "9")                                                                                               \
    PAIR(rows, "10", "11")                                                                                             \
    PAIR(rows, "12", "13")                                                                                             \
    PAIR(rows, "14", "15")
#define SECOND_HALF(rows)                                                                                              \
    PAIR(rows, "16", "17")                                                                                             \
    PAIR(rows, "18", "19")                                                                                             \
    PAIR(rows, "20", "21")                                                                                             \
    PAIR(rows, "22", "23")                                                                                             \
    PAIR(rows, "24", "25")                                                                                             \
    PAIR(rows, "26", "27")                                                                                             \
    PAIR(rows, "28", "29")                                                                                             \
    PAIR(rows, "30", "31")
#define COUNT  "addi %[blocks], %[blocks], -1\n" /* of halves */
#define FACTOR "vle8.v v0, (%[groups])\n addi %[groups], %[groups], 32\n" RC_RVV_SET("e16, m2") "vzext.vf2 v2, v0\n"
#define GROUPS(rows)                                                                                                   \
    "1:\n" RC_RVV_SET("e8, m1") FIRST_HALF(rows) COUNT "beqz %[blocks], 2f\n" SECOND_HALF(rows)                        \
        RC_RVV_NEXT_##rows("32") COUNT "2:\n" FACTOR SCALE_##rows "bnez %[blocks], 1b\n"
#define ALL(rows)                                                                                                      \
    RC_RVV_SET("e32, m4") RC_RVV_CLEAR_##rows GROUPS(rows) RC_RVV_SET("e32, m4") "vle32.v v0, (%[scale])\n"

static void four_rows(rc_rvv_pass_t s)
{
    const int8_t *p0 = s.x, *p1 = p0 + s.ld, *p2 = p1 + s.ld, *p3 = p2 + s.ld;
    uint32_t blocks = s.ld / HALF, t0, t1, t2, t3;
    float f;
    __asm__ volatile(RC_RVV_BEGIN ALL(4) RC_RVV_RESULT("v16", "0") RC_RVV_RESULT("v20", "4") RC_RVV_RESULT("v24", "8")
                         RC_RVV_RESULT("v28", "12") RC_RVV_END
                     : [p0] "+r"(p0), [p1] "+r"(p1), [p2] "+r"(p2), [p3] "+r"(p3), [w] "+r"(s.w), [blocks] "+r"(blocks),
                       [groups] "+r"(s.zero), [y] "+r"(s.y), [t0] "=&r"(t0), [t1] "=&r"(t1), [t2] "=&r"(t2),
                       [t3] "=&r"(t3), [f] "=&f"(f)
                     : [lanes] "r"(s.lanes), [a] "r"(s.a), [scale] "r"(s.scale), [ldy] "r"(4u * s.ldy)
                     : "memory");
}

static void one_row(rc_rvv_pass_t s)
{
    const int8_t *p0 = s.x;
    uint32_t blocks = s.ld / HALF, t0;
    float f;
    __asm__ volatile(RC_RVV_BEGIN ALL(1) RC_RVV_RESULT("v16", "0") RC_RVV_END
                     : [p0] "+r"(p0), [w] "+r"(s.w), [blocks] "+r"(blocks), [groups] "+r"(s.zero), [y] "+r"(s.y),
                       [t0] "=&r"(t0), [f] "=&f"(f)
                     : [lanes] "r"(s.lanes), [a] "r"(s.a), [scale] "r"(s.scale), [ldy] "r"(4u * s.ldy)
                     : "memory");
}

void rc_tile_g32_rvv(const rc_rows8_t *x, const uint8_t *packed, uint32_t n, const uint8_t *groups, const float *scale,
                     float *y, uint32_t ldy, void *w)
{
    (void)w;
    rc_rvv_tile(x, packed, n, groups, scale, y, ldy, four_rows, one_row);
}
