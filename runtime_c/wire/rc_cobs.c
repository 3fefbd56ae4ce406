/* Consistent Overhead Byte Stuffing: a zero byte then occurs only as the delimiter between frames. */
#include "recurc/rc_wire.h"

uint32_t rc_cobs_encode(const uint8_t *data, uint32_t n, uint8_t *out)
{
    uint32_t code_at = 0; /* where the current block's length byte goes */
    uint32_t at = 1;
    uint8_t code = 1;
    for (uint32_t i = 0; i < n; i++) {
        if (data[i] != 0u) {
            out[at++] = data[i];
            code++;
            if (code != 0xFFu || i + 1u == n) {
                continue; /* a full block at the very end needs no successor */
            }
        }
        out[code_at] = code;
        code = 1;
        code_at = at++;
    }
    out[code_at] = code;
    return at;
}

uint32_t rc_cobs_decode(uint8_t *data, uint32_t n)
{
    uint32_t from = 0, to = 0;
    while (from < n) {
        uint32_t code = data[from++];
        if (code == 0u || code - 1u > n - from) {
            return 0xFFFFFFFFu;
        }
        for (uint32_t i = 1; i < code; i++) {
            if (data[from] == 0u) {
                return 0xFFFFFFFFu;
            }
            data[to++] = data[from++];
        }
        if (code != 0xFFu && from < n) {
            data[to++] = 0;
        }
    }
    return to;
}
