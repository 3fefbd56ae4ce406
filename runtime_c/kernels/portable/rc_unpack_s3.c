/* SPDX-License-Identifier: Apache-2.0 */
#include "recurc/rc_kernels.h"

void rc_unpack_s3(const uint8_t *packed, uint32_t bytes, uint32_t flip, void *w)
{
    const rc_word_t *from = (const rc_word_t *)(const void *)packed;
    const rc_word_t *const end = from + bytes / 4u;
    rc_word_t *to = (rc_word_t *)w;
    for (; from != end; from += 3, to += 4) {
        const uint32_t a = rc_load_word(from), b = rc_load_word(from + 1), c = rc_load_word(from + 2);
        rc_store_word(to, (a & 0x77777777u) ^ flip);
        rc_store_word(to + 1, (b & 0x77777777u) ^ flip);
        rc_store_word(to + 2, (c & 0x77777777u) ^ flip);
        const uint32_t fourth = (a >> 3 & 0x11111111u) | (b >> 2 & 0x22222222u) | (c >> 1 & 0x44444444u);
        rc_store_word(to + 3, fourth ^ flip);
    }
}
