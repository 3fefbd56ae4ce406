/* Frames: known bytes, all lengths there and back, and everything that is no frame. */
#include <string.h>

#include "recurc/rc_crc32.h"
#include "recurc/rc_port.h"
#include "recurc/rc_wire.h"
#include "test.h"

static uint8_t encoded[RC_WIRE_MAX_ENCODED + 64u], data[RC_WIRE_MAX_PAYLOAD + 64u];
static rc_frame_rx_t rx;

/* Cheshire and Baker's encoding, beside its text: {bytes, their encoding}. */
static void known(void)
{
    static const struct {
        uint32_t n, m;
        uint8_t plain[8], coded[8];
    } pairs[] = {{0, 1, {0}, {1}},
                 {1, 2, {0}, {1, 1}},
                 {2, 3, {0, 0}, {1, 1, 1}},
                 {4, 5, {0x11, 0x22, 0x00, 0x33}, {3, 0x11, 0x22, 2, 0x33}},
                 {4, 5, {0x11, 0x22, 0x33, 0x44}, {5, 0x11, 0x22, 0x33, 0x44}},
                 {4, 5, {0x11, 0x00, 0x00, 0x00}, {2, 0x11, 1, 1, 1}}};
    for (uint32_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        CHECK(rc_cobs_encode(pairs[i].plain, pairs[i].n, encoded) == pairs[i].m);
        CHECK(memcmp(encoded, pairs[i].coded, pairs[i].m) == 0);
        CHECK(rc_cobs_decode(encoded, pairs[i].m) == pairs[i].n && memcmp(encoded, pairs[i].plain, pairs[i].n) == 0);
    }
    /* A full block has 254 bytes; at the very end it has no successor. */
    memset(data, 7, 256);
    CHECK(rc_cobs_encode(data, 253, encoded) == 254u && encoded[0] == 254u);
    CHECK(rc_cobs_encode(data, 254, encoded) == 255u && encoded[0] == 255u);
    CHECK(rc_cobs_encode(data, 255, encoded) == 257u && encoded[255] == 2u);
    /* HELLO of version 5, number 1: type, seq, body, CRC-32, no zero among them but the version's. */
    const uint8_t body[2] = {5, 0};
    const uint32_t n = rc_frame_build(RC_FRAME_HELLO, 1, body, 2, encoded);
    CHECK(n == 10u && encoded[0] == 4u && encoded[1] == 1u && encoded[2] == 1u && encoded[3] == 5u && encoded[4] == 5u);
    CHECK(encoded[9] == 0u);
}

/* What becomes of bytes: the last result that is not RC_RX_MORE. */
static rc_rx_result_t push(const uint8_t *bytes, uint32_t n, rc_frame_t *frame)
{
    rc_rx_result_t last = RC_RX_MORE;
    for (uint32_t i = 0; i < n; i++) {
        const rc_rx_result_t result = rc_frame_push(&rx, bytes[i], frame);
        last = result != RC_RX_MORE ? result : last;
    }
    return last;
}

static void there_and_back(void)
{
    rc_frame_t frame = {0, 0, 0, 0};
    for (uint32_t n = 0; n <= RC_WIRE_MAX_BODY; n++) {
        const uint32_t kind = n % 3u; /* no zeros, all zeros, some */
        for (uint32_t i = 0; i < n; i++) {
            data[i] = kind == 0u ? (uint8_t)random_int(1, 255) : kind == 1u ? 0u : (uint8_t)random_int(0, 3);
        }
        const uint32_t length = rc_frame_build((uint8_t)n, (uint8_t)(n >> 2), data, n, encoded);
        CHECK(length != 0u && length <= RC_WIRE_MAX_ENCODED && memchr(encoded, 0, length) == encoded + length - 1u);
        CHECK(push(encoded, length, &frame) == RC_RX_FRAME);
        CHECK(frame.type == (uint8_t)n && frame.seq == (uint8_t)(n >> 2) && frame.length == n);
        CHECK(frame.length == n && memcmp(frame.body, data, n) == 0);
    }
    CHECK(rc_frame_build(1, 1, data, RC_WIRE_MAX_BODY + 1u, encoded) == 0u);
}

static void no_frames(void)
{
    rc_frame_t frame = {0, 0, 0, 0};
    static const uint8_t body[4] = {1, 2, 0, 4};
    const uint32_t n = rc_frame_build(RC_FRAME_READ, 7, body, 4, encoded);
    for (uint32_t bit = 0; bit < 8u * (n - 1u); bit++) {
        memcpy(data, encoded, n);
        data[bit / 8u] = (uint8_t)(data[bit / 8u] ^ 1u << bit % 8u);
        CHECK(push(data, n, &frame) == RC_RX_BAD);
        CHECK(push(encoded, n, &frame) == RC_RX_FRAME && frame.seq == 7u);
    }
    for (uint32_t cut = 1; cut < n - 1u; cut++) {
        memcpy(data, encoded, cut);
        data[cut] = 0;
        CHECK(push(data, cut + 1u, &frame) == RC_RX_BAD);
    }
    memset(data, 0, 8);
    CHECK(push(data, 8, &frame) == RC_RX_MORE);
    memset(data, 7, sizeof data);
    CHECK(push(data, sizeof data, &frame) == RC_RX_MORE && push(data, sizeof data, &frame) == RC_RX_MORE);
    data[0] = 0;
    CHECK(push(data, 1, &frame) == RC_RX_BAD); /* one, however long it was */
    CHECK(push(encoded, n, &frame) == RC_RX_FRAME);
}

static void numbers(void)
{
    uint8_t b[8];
    rc_put_u64(b, 0x0102030405060708u);
    CHECK(b[0] == 8u && b[7] == 1u && rc_get_u32(b) == 0x05060708u && rc_get_u16(b + 6) == 0x0102u);
    rc_put_f32(b, -2.0f);
    CHECK(rc_get_u32(b) == 0xC0000000u && rc_get_f32(b) == -2.0f);
}

int main(void)
{
    known();
    there_and_back();
    no_frames();
    numbers();
    return verdict();
}
