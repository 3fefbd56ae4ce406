/* The frame receiver and COBS on any bytes, and the way back: what decodes must encode to what was there. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "recurc/rc_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static rc_frame_rx_t rx;
    static uint8_t encoded[RC_WIRE_MAX_ENCODED], held[RC_WIRE_MAX_ENCODED];
    rc_frame_t frame = {0, 0, 0, 0};
    uint32_t length = 0;
    memset(&rx, 0, sizeof rx);
    for (size_t i = 0; i < size; i++) {
        if (length < sizeof held) {
            held[length] = data[i];
        }
        length++;
        rc_rx_result_t result = rc_frame_push(&rx, data[i], &frame);
        if (data[i] != 0u) {
            if (result != RC_RX_MORE) {
                abort();
            }
            continue;
        }
        if (result == RC_RX_FRAME) {
            if (frame.length > RC_WIRE_MAX_BODY) {
                abort();
            }
            uint32_t n = rc_frame_build(frame.type, frame.seq, frame.body, frame.length, encoded);
            if (n != length || memcmp(encoded, held, n) != 0) {
                abort(); /* one payload, one encoding */
            }
        }
        length = 0;
    }
    /* And any bytes as a body. */
    uint32_t n = size > RC_WIRE_MAX_BODY ? RC_WIRE_MAX_BODY : (uint32_t)size;
    uint32_t sent = rc_frame_build(1, 2, data, n, encoded);
    memset(&rx, 0, sizeof rx);
    for (uint32_t i = 0; i < sent; i++) {
        rc_rx_result_t result = rc_frame_push(&rx, encoded[i], &frame);
        if (result != (i + 1u == sent ? RC_RX_FRAME : RC_RX_MORE)) {
            abort();
        }
    }
    if (frame.type != 1u || frame.seq != 2u || frame.length != n || (n != 0u && memcmp(frame.body, data, n) != 0)) {
        abort();
    }
    return 0;
}
