/* SPDX-License-Identifier: Apache-2.0 */
#include "rc_rvv.h"

/* Packing 8, int8: the tile's bytes of one k side by side, widened once for all rows. */

#define BLOCK 8u /* k a block; rows are multiples of it */
RC_ASM_CONSTANT(BLOCK, 8u);

#define WEIGHTS "vle8.v v0, (%[w])\n addi %[w], %[w], 32\n vsext.vf2 v2, v0\n"
#define MORE_4                                                                                                         \
    "vwmacc.vx v16, %[t0], v2\n vwmacc.vx v20, %[t1], v2\n vwmacc.vx v24, %[t2], v2\n vwmacc.vx v28, %[t3], v2\n"
#define MORE_1        "vwmacc.vx v16, %[t0], v2\n"
#define STEP(rows, k) WEIGHTS RC_RVV_X_##rows(k) MORE_##rows
#define ALL(rows)                                                                                                      \
    RC_RVV_SET("e32, m4")                                                                                              \
    RC_RVV_CLEAR_##rows RC_RVV_SET("e16, m2") "1:\n" STEP(rows, "0") STEP(rows, "1") STEP(rows, "2") STEP(rows, "3")   \
        STEP(rows, "4") STEP(rows, "5") STEP(rows, "6") STEP(rows, "7") RC_RVV_NEXT_##rows("8") RC_RVV_LOOP("1")       \
            RC_RVV_SET("e32, m4") "vle32.v v0, (%[scale])\n"

static void four_rows(rc_rvv_pass_t s)
{
    const int8_t *p0 = s.x, *p1 = p0 + s.ld, *p2 = p1 + s.ld, *p3 = p2 + s.ld;
    uint32_t blocks = s.ld / BLOCK, t0, t1, t2, t3;
    float f;
    __asm__ volatile(RC_RVV_BEGIN ALL(4) RC_RVV_RESULT("v16", "0") RC_RVV_RESULT("v20", "4") RC_RVV_RESULT("v24", "8")
                         RC_RVV_RESULT("v28", "12") RC_RVV_END
                     : [p0] "+r"(p0), [p1] "+r"(p1), [p2] "+r"(p2), [p3] "+r"(p3), [w] "+r"(s.w), [blocks] "+r"(blocks),
                       [y] "+r"(s.y), [t0] "=&r"(t0), [t1] "=&r"(t1), [t2] "=&r"(t2), [t3] "=&r"(t3), [f] "=&f"(f)
                     : [lanes] "r"(s.lanes), [a] "r"(s.a), [scale] "r"(s.scale), [ldy] "r"(4u * s.ldy)
                     : "memory");
}

static void one_row(rc_rvv_pass_t s)
{
    const int8_t *p0 = s.x;
    uint32_t blocks = s.ld / BLOCK, t0;
    float f;
    __asm__ volatile(RC_RVV_BEGIN ALL(1) RC_RVV_RESULT("v16", "0") RC_RVV_END
                     : [p0] "+r"(p0), [w] "+r"(s.w), [blocks] "+r"(blocks), [y] "+r"(s.y), [t0] "=&r"(t0), [f] "=&f"(f)
                     : [lanes] "r"(s.lanes), [a] "r"(s.a), [scale] "r"(s.scale), [ldy] "r"(4u * s.ldy)
                     : "memory");
}

void rc_tile_s8_rvv(const rc_rows8_t *x, const uint8_t *packed, uint32_t n, const uint8_t *zero, const float *scale,
                    float *y, uint32_t ldy, void *w)
{
    (void)zero;
    (void)w;
    rc_rvv_tile(x, packed, n, 0, scale, y, ldy, four_rows, one_row);
}
