/* SPDX-License-Identifier: Apache-2.0 */
/* What the tile functions for RISC-V's vector extension share. Compilers without its intrinsics are served (GCC 12),
 * so all of it is assembly, and the C around it is compiled without the extension: no compiler touches a vector
 * register.
 *
 * Lanes are output channels, as many as a register of bytes holds or the tile has. v16, v20, v24, v28: int32 sums of up
 * to four rows; v8, v10, v12, v14: int16 sums; v0 to v7: weights, then zero points and scales. */
#ifndef RECURC_RVV_H
#define RECURC_RVV_H

#include <stdint.h>

#include "recurc/rc_asm.h"
#include "recurc/rc_kernels.h"

/* Assembly is longer than the strings that C99 asks of every compiler. */
#pragma GCC diagnostic ignored "-Woverlength-strings"

#define RC_RVV_TILE 32u /* channels a packed tile, bytes from one k (or pair of k) to the next */
#define RC_RVV_ROWS 4u

RC_ASM_CONSTANT(RC_RVV_TILE, 32u);
RC_ASM_CONSTANT(RC_RVV_ROWS, 4u);

/* One pass: up to four rows by `lanes` channels; pointers move while it runs. */
typedef struct {
    const int8_t *x; /* first row */
    uint32_t ld;
    const uint8_t *w;
    uint32_t lanes;
    const float *a, *scale;
    const int32_t *sum;
    const uint8_t *zero; /* zero points, or the groups' scales */
    float *y;
    uint32_t ldy;
} rc_rvv_pass_t;

/* Lanes for n channels. */
static inline uint32_t rc_rvv_lanes(uint32_t n)
{
    uint32_t lanes;
    __asm__ volatile(".option push\n.option arch, +v\nvsetvli %0, %1, e8, m1, ta, ma\n.option pop"
                     : "=r"(lanes)
                     : "r"(n));
    return lanes;
}

/* A whole tile: `four` computes a pass of RC_RVV_ROWS rows, `one` that of one row. */
RC_ALWAYS_INLINE void rc_rvv_tile(const rc_rows8_t *x, const uint8_t *packed, uint32_t n, const uint8_t *zero,
                                  const float *scale, float *y, uint32_t ldy, void (*four)(rc_rvv_pass_t),
                                  void (*one)(rc_rvv_pass_t))
{
    for (uint32_t j = 0, lanes; j < n; j += lanes) {
        lanes = rc_rvv_lanes(n - j);
        rc_rvv_pass_t pass = {x->q, x->ld, packed + j, lanes, x->a, scale + j, x->sum, zero, y + j, ldy};
        uint32_t left = x->rows;
        while (left != 0u) {
            const uint32_t rows = left < RC_RVV_ROWS ? 1u : RC_RVV_ROWS;
            if (rows == 1u) {
                one(pass);
            } else {
                four(pass);
            }
            left -= rows;
            if (left != 0u) {
                pass.x += rows * x->ld;
                pass.a += rows;
                pass.sum += rows;
                pass.y += rows * ldy;
            }
        }
        zero += zero != 0 ? lanes : 0u;
    }
}

#define RC_RVV_BEGIN     ".option push\n.option arch, +v\n"
#define RC_RVV_END       ".option pop\n"
#define RC_RVV_SET(type) "vsetvli zero, %[lanes], " type ", ta, ma\n"

#define RC_RVV_CLEAR_4 "vmv.v.i v16, 0\n vmv.v.i v20, 0\n vmv.v.i v24, 0\n vmv.v.i v28, 0\n"
#define RC_RVV_CLEAR_1 "vmv.v.i v16, 0\n"
#define RC_RVV_X_4(k)                                                                                                  \
    "lb %[t0], " k "(%[p0])\n lb %[t1], " k "(%[p1])\n lb %[t2], " k "(%[p2])\n lb %[t3], " k "(%[p3])\n"
#define RC_RVV_X_1(k) "lb %[t0], " k "(%[p0])\n"
#define RC_RVV_NEXT_4(n)                                                                                               \
    "addi %[p0], %[p0], " n "\n addi %[p1], %[p1], " n "\n addi %[p2], %[p2], " n "\n addi %[p3], %[p3], " n "\n"
#define RC_RVV_NEXT_1(n)   "addi %[p0], %[p0], " n "\n"
#define RC_RVV_LOOP(label) "addi %[blocks], %[blocks], -1\n bnez %[blocks], " label "b\n"

/* Results of one row: y = float(sum) * (a * scale); scales in v0, v8 is free. `offset`: bytes to the row's a and sum.
 */
#define RC_RVV_RESULT(acc, offset)                                                                                     \
    "vfcvt.f.x.v " acc ", " acc "\n flw %[f], " offset "(%[a])\n vfmul.vf v8, v0, %[f]\n vfmul.vv " acc ", " acc       \
    ", v8\n"                                                                                                           \
    "vse32.v " acc ", (%[y])\n add %[y], %[y], %[ldy]\n"
/* The same with zero points, int32 in v4: sum - zero * (sum of the row). */
#define RC_RVV_RESULT_ZERO(acc, offset)                                                                                \
    "lw %[t0], " offset "(%[sum])\n vnmsac.vx " acc ", %[t0], v4\n" RC_RVV_RESULT(acc, offset)

#endif
