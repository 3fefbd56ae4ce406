/* Frames: type, sequence number, body and CRC, COBS-encoded, each ended by a zero byte. */
#include "recurc/rc_crc32.h"
#include "recurc/rc_wire.h"

#define FRAME_OVERHEAD 6u /* type, seq, crc */

void rc_put_u16(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}

void rc_put_u32(uint8_t *p, uint32_t v)
{
    rc_put_u16(p, v);
    rc_put_u16(p + 2, v >> 16);
}

void rc_put_u64(uint8_t *p, uint64_t v)
{
    rc_put_u32(p, (uint32_t)v);
    rc_put_u32(p + 4, (uint32_t)(v >> 32));
}

typedef union {
    float f;
    uint32_t u;
} rc_float_bits_t;

void rc_put_f32(uint8_t *p, float v)
{
    rc_float_bits_t bits;
    bits.f = v;
    rc_put_u32(p, bits.u);
}

uint32_t rc_get_u16(const uint8_t *p)
{
    return (uint32_t)p[0] | ((uint32_t)p[1] << 8);
}

uint32_t rc_get_u32(const uint8_t *p)
{
    return rc_get_u16(p) | (rc_get_u16(p + 2) << 16);
}

float rc_get_f32(const uint8_t *p)
{
    rc_float_bits_t bits;
    bits.u = rc_get_u32(p);
    return bits.f;
}

uint32_t rc_frame_build(uint8_t type, uint8_t seq, const uint8_t *body, uint32_t n, uint8_t *out)
{
    uint8_t payload[RC_WIRE_MAX_PAYLOAD];
    if (n > RC_WIRE_MAX_BODY) {
        return 0;
    }
    payload[0] = type;
    payload[1] = seq;
    for (uint32_t i = 0; i < n; i++) {
        payload[2u + i] = body[i];
    }
    rc_put_u32(payload + 2u + n, rc_crc32(0, payload, 2u + n));
    uint32_t length = rc_cobs_encode(payload, n + FRAME_OVERHEAD, out);
    out[length] = 0;
    return length + 1u;
}

rc_rx_result_t rc_frame_push(rc_frame_rx_t *rx, uint8_t byte, rc_frame_t *frame)
{
    if (byte != 0u) {
        if (rx->length < RC_WIRE_MAX_ENCODED) {
            rx->bytes[rx->length++] = byte;
        } else {
            rx->overflow = 1;
        }
        return RC_RX_MORE;
    }
    uint32_t length = rx->length, overflow = rx->overflow;
    rx->length = 0;
    rx->overflow = 0;
    if (length == 0u) {
        return RC_RX_MORE; /* repeated delimiters are how a host resynchronises */
    }
    uint32_t n = overflow != 0u ? 0xFFFFFFFFu : rc_cobs_decode(rx->bytes, length);
    if (n == 0xFFFFFFFFu || n < FRAME_OVERHEAD || n > RC_WIRE_MAX_PAYLOAD) {
        return RC_RX_BAD;
    }
    if (rc_get_u32(rx->bytes + n - 4u) != rc_crc32(0, rx->bytes, n - 4u)) {
        return RC_RX_BAD;
    }
    frame->type = rx->bytes[0];
    frame->seq = rx->bytes[1];
    frame->body = rx->bytes + 2;
    frame->length = n - FRAME_OVERHEAD;
    return RC_RX_FRAME;
}
