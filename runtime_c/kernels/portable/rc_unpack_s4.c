#include "recurc/rc_kernels.h"

void rc_unpack_s4(const uint8_t *packed, uint32_t k, int16_t *out)
{
    for (uint32_t i = 0; i < k / 2u; i++) {
        out[2u * i] = (int16_t)(packed[i] & 15u);
        out[2u * i + 1u] = (int16_t)(packed[i] >> 4);
    }
}
