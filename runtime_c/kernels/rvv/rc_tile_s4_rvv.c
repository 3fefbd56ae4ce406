/* SPDX-License-Identifier: Apache-2.0 */
#include "rc_rvv.h"

/* Packing 8, int4: a byte holds two k of a channel. Sums of 16 products fit 16 bits: 16 * 15 * 127 < 2^15; then they
 * are added to those of 32 bits. */

#define BLOCK 16u /* k a block; rows are multiples of it */
RC_ASM_CONSTANT(BLOCK, 16u);

#define WEIGHTS "vle8.v v0, (%[w])\n addi %[w], %[w], 32\n vand.vi v1, v0, 15\n vsrl.vi v2, v0, 4\n"
#define FIRST_4 "vwmul.vx v8, v1, %[t0]\n vwmul.vx v10, v1, %[t1]\n vwmul.vx v12, v1, %[t2]\n vwmul.vx v14, v1, %[t3]\n"
#define FIRST_1 "vwmul.vx v8, v1, %[t0]\n"
#define MORE_4(w)                                                                                                      \
    "vwmacc.vx v8, %[t0], " w "\n vwmacc.vx v10, %[t1], " w "\n vwmacc.vx v12, %[t2], " w                              \
    "\n vwmacc.vx v14, %[t3], " w "\n"
#define MORE_1(w) "vwmacc.vx v8, %[t0], " w "\n"
#define WIDEN_4   "vwadd.wv v16, v16, v8\n vwadd.wv v20, v20, v10\n vwadd.wv v24, v24, v12\n vwadd.wv v28, v28, v14\n"
#define WIDEN_1   "vwadd.wv v16, v16, v8\n"

#define PAIR(rows, k, l) WEIGHTS RC_RVV_X_##rows(k) MORE_##rows("v1") RC_RVV_X_##rows(l) MORE_##rows("v2")
#define ALL(rows)                                                                                                      \
    RC_RVV_SET("e32, m4")                                                                                              \
    RC_RVV_CLEAR_##rows "1:\n" RC_RVV_SET("e8, m1") WEIGHTS RC_RVV_X_##rows("0") FIRST_##rows RC_RVV_X_##rows("1")     \
        MORE_##rows("v2") PAIR(rows, "2", "3") PAIR(rows, "4", "5") PAIR(rows, "6", "7") PAIR(rows, "8", "9")          \
            PAIR(rows, "10", "11") PAIR(rows, "12", "13") PAIR(rows, "14", "15") RC_RVV_NEXT_##rows("16")              \
                RC_RVV_SET("e16, m2") WIDEN_##rows RC_RVV_LOOP("1")                                                    \
                    RC_RVV_SET("e32, m4") "vle32.v v0, (%[scale])\n vle8.v v8, (%[zero])\n vzext.vf4 v4, v8\n"

static void four_rows(rc_rvv_pass_t s)
{
    const int8_t *p0 = s.x, *p1 = p0 + s.ld, *p2 = p1 + s.ld, *p3 = p2 + s.ld;
    uint32_t blocks = s.ld / BLOCK, t0, t1, t2, t3;
    float f;
    __asm__ volatile(RC_RVV_BEGIN ALL(4) RC_RVV_RESULT_ZERO("v16", "0") RC_RVV_RESULT_ZERO("v20", "4")
                         RC_RVV_RESULT_ZERO("v24", "8") RC_RVV_RESULT_ZERO("v28", "12") RC_RVV_END
                     : [p0] "+r"(p0), [p1] "+r"(p1), [p2] "+r"(p2), [p3] "+r"(p3), [w] "+r"(s.w), [blocks] "+r"(blocks),
                       [y] "+r"(s.y), [t0] "=&r"(t0), [t1] "=&r"(t1), [t2] "=&r"(t2), [t3] "=&r"(t3), [f] "=&f"(f)
                     : [lanes] "r"(s.lanes), [a] "r"(s.a), [sum] "r"(s.sum), [zero] "r"(s.zero), [scale] "r"(s.scale),
                       [ldy] "r"(4u * s.ldy)
                     : "memory");
}

static void one_row(rc_rvv_pass_t s)
{
    const int8_t *p0 = s.x;
    uint32_t blocks = s.ld / BLOCK, t0;
    float f;
    __asm__ volatile(RC_RVV_BEGIN ALL(1) RC_RVV_RESULT_ZERO("v16", "0") RC_RVV_END
                     : [p0] "+r"(p0), [w] "+r"(s.w), [blocks] "+r"(blocks), [y] "+r"(s.y), [t0] "=&r"(t0), [f] "=&f"(f)
                     : [lanes] "r"(s.lanes), [a] "r"(s.a), [sum] "r"(s.sum), [zero] "r"(s.zero), [scale] "r"(s.scale),
                       [ldy] "r"(4u * s.ldy)
                     : "memory");
}

void rc_tile_s4_rvv(const rc_rows8_t *x, const uint8_t *packed, uint32_t n, const uint8_t *zero, const float *scale,
                    float *y, uint32_t ldy, void *w)
{
    (void)w;
    rc_rvv_tile(x, packed, n, zero, scale, y, ldy, four_rows, one_row);
}
