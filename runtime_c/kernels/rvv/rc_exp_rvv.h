/* SPDX-License-Identifier: Apache-2.0 */
/* rc_exp of rc_arith.h for vectors, operation by operation: the same bits. At e32, m4, from v8 to v20; uses v8 to v31.
 */
#ifndef RECURC_EXP_RVV_H
#define RECURC_EXP_RVV_H

#include "recurc/rc_arith.h"

#define RC_EXP_RVV                                                                                                     \
    "vfmax.vf v8, v8, %[low]\n vfmin.vf v8, v8, %[high]\n"                                                             \
    "vfmul.vf v12, v8, %[log2e]\n vfadd.vf v12, v12, %[magic]\n"                                                       \
    "vadd.vx v24, v12, %[bias]\n vsll.vi v24, v24, 23\n"                                                               \
    "vfsub.vf v12, v12, %[magic]\n"                                                                                    \
    "vfmul.vf v16, v12, %[ln2]\n vfsub.vv v16, v8, v16\n vfmul.vf v20, v12, %[ln2_rest]\n vfsub.vv v16, v16, v20\n"    \
    "vfmul.vf v20, v16, %[c0]\n vfadd.vf v20, v20, %[c1]\n vfmul.vv v20, v20, v16\n vfadd.vf v20, v20, %[c2]\n"        \
    "vfmul.vv v20, v20, v16\n vfadd.vf v20, v20, %[c3]\n vfmul.vv v20, v20, v16\n vfadd.vf v20, v20, %[c4]\n"          \
    "vfmul.vv v20, v20, v16\n vfadd.vf v20, v20, %[c5]\n"                                                              \
    "vfmul.vv v28, v16, v16\n vfmul.vv v20, v20, v28\n vfadd.vv v20, v20, v16\n vfadd.vf v20, v20, %[one]\n"           \
    "vfmul.vv v20, v20, v24\n"

#define RC_EXP_RVV_OPERANDS                                                                                            \
    [low] "f"(-87.0f), [high] "f"(88.0f), [log2e] "f"(1.44269504088896341f), [magic] "f"(RC_ROUND_MAGIC),              \
        [bias] "r"(127u), [ln2] "f"(0.693359375f), [ln2_rest] "f"(-2.12194440e-4f), [c0] "f"(1.9875691500e-4f),        \
        [c1] "f"(1.3981999507e-3f), [c2] "f"(8.3334519073e-3f), [c3] "f"(4.1665795894e-2f),                            \
        [c4] "f"(1.6666665459e-1f), [c5] "f"(5.0000001201e-1f), [one] "f"(1.0f)

#endif
