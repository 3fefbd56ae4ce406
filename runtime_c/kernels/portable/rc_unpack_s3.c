#include "recurc/rc_kernels.h"

void rc_unpack_s3(const uint8_t *packed, uint32_t bytes, uint32_t flip, void *w)
{
    const uint32_t *from = (const uint32_t *)(const void *)packed;
    const uint32_t *const end = from + bytes / 4u;
    uint32_t *to = (uint32_t *)w;
    for (; from != end; from += 3, to += 4) {
        const uint32_t a = from[0], b = from[1], c = from[2];
        to[0] = (a & 0x77777777u) ^ flip;
        to[1] = (b & 0x77777777u) ^ flip;
        to[2] = (c & 0x77777777u) ^ flip;
        to[3] = ((a >> 3 & 0x11111111u) | (b >> 2 & 0x22222222u) | (c >> 1 & 0x44444444u)) ^ flip;
    }
}
