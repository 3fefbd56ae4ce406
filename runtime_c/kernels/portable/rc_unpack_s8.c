#include "recurc/rc_kernels.h"

void rc_unpack_s8(const uint8_t *packed, uint32_t k, int16_t *out)
{
    for (uint32_t i = 0; i < k; i++) {
        out[i] = (int16_t)((int32_t)(packed[i] ^ 0x80u) - 128); /* two's complement byte, without a narrowing cast */
    }
}
