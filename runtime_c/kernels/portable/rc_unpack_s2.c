#include "recurc/rc_kernels.h"

void rc_unpack_s2(const uint8_t *packed, uint32_t bytes, uint32_t flip, void *w)
{
    const uint32_t *from = (const uint32_t *)(const void *)packed;
    const uint32_t *const end = from + bytes / 4u;
    uint32_t *to = (uint32_t *)w;
    for (; from != end; from += 2, to += 4) {
        const uint32_t a = from[0], b = from[1];
        to[0] = (a << 1 & 0x66666666u) ^ flip;
        to[1] = (a >> 1 & 0x66666666u) ^ flip;
        to[2] = (b << 1 & 0x66666666u) ^ flip;
        to[3] = (b >> 1 & 0x66666666u) ^ flip;
    }
}
