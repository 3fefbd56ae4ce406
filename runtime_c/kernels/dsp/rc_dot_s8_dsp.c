/* SPDX-License-Identifier: Apache-2.0 */
#include "recurc/rc_kernels.h"

#include <arm_acle.h>
#include <string.h>

/* Four products a turn: even bytes, then odd bytes, of a word of each, widened to two half words. Words may lie anywhere. */

static inline uint32_t word_at(const int8_t *p)
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

int32_t rc_dot_s8_dsp(const int8_t *x, const int8_t *y, uint32_t n)
{
    int32_t even = 0, odd = 0;
    const int8_t *const words = x + (n & ~3u), *const end = x + n;
    RC_UNROLL(4)
    for (; x != words; x += 4, y += 4) {
        const uint32_t a = word_at(x), b = word_at(y);
        even = __smlad(__sxtb16((int8x4_t)a), __sxtb16((int8x4_t)b), even);
        odd = __smlad(odd_bytes(a), odd_bytes(b), odd);
    }
    for (; x != end; x++, y++) {
        even += (int32_t)*x * (int32_t)*y;
    }
    return even + odd;
}
