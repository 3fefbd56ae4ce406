/* SPDX-License-Identifier: Apache-2.0 */
#include "recurc/rc_kernels.h"

void rc_unpack_s2(const uint8_t *packed, uint32_t bytes, uint32_t flip, void *w)
{
    const rc_word_t *from = (const rc_word_t *)(const void *)packed;
    const rc_word_t *const end = from + bytes / 4u;
    rc_word_t *to = (rc_word_t *)w;
    for (; from != end; from += 2, to += 4) {
        const uint32_t a = rc_load_word(from), b = rc_load_word(from + 1);
        rc_store_word(to, (a << 1 & 0x66666666u) ^ flip);
        rc_store_word(to + 1, (a >> 1 & 0x66666666u) ^ flip);
        rc_store_word(to + 2, (b << 1 & 0x66666666u) ^ flip);
        rc_store_word(to + 3, (b >> 1 & 0x66666666u) ^ flip);
    }
}
