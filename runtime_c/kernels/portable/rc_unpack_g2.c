/* SPDX-License-Identifier: Apache-2.0 */
#include "recurc/rc_kernels.h"

#define MIDDLES 0x66666666u
#define SIGNS   0x44444444u
#define LOWEST  0x11111111u

/* Eight operands of which the middle bits are there: -3, -1, 1 or 3 in two's complement. */
static inline uint32_t odd(uint32_t middles)
{
    return middles | (middles & SIGNS) << 1 | LOWEST;
}

void rc_unpack_g2(const uint8_t *packed, uint32_t bytes, uint32_t flip, void *w)
{
    const rc_word_t *from = (const rc_word_t *)(const void *)packed;
    const rc_word_t *const end = from + bytes / 4u;
    rc_word_t *to = (rc_word_t *)w;
    for (; from != end; from += 2, to += 4) {
        const uint32_t a = rc_load_word(from), b = rc_load_word(from + 1);
        rc_store_word(to, odd(a << 1 & MIDDLES) ^ flip);
        rc_store_word(to + 1, odd(a >> 1 & MIDDLES) ^ flip);
        rc_store_word(to + 2, odd(b << 1 & MIDDLES) ^ flip);
        rc_store_word(to + 3, odd(b >> 1 & MIDDLES) ^ flip);
    }
}
