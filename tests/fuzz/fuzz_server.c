/* The whole server on a conversation: bytes are taken as requests (type, length, body) that are framed here, so that the
 * fuzzer need not find CRCs; a type of 0xFF passes raw bytes. Every request gets exactly one reply of its number, and the
 * server answers HELLO at the end, whatever went before. READ never sends what lies beyond a tensor. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz_image.h"
#include "recurc/rc_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
void dummy_start(const uint8_t *image, uint32_t image_bytes, const uint8_t *table, uint32_t table_bytes);
uint32_t dummy_take(const uint8_t *data, uint32_t n);
const uint8_t *dummy_said(uint32_t *n);

#define RAW       0xFFu
#define MAX_STEPS 40u /* of all RUNs of one input: a fuzzer must not wait */

static uint8_t encoded[RC_WIRE_MAX_ENCODED];

static rc_frame_t last; /* the reply that was heard last; its body is gone with the next request */

/* Replies of number `seq` among what was said; aborts on anything that is no frame. */
static uint32_t replies(uint8_t seq)
{
    static rc_frame_rx_t rx;
    uint32_t n = 0, found = 0;
    const uint8_t *said = dummy_said(&n);
    rc_frame_t frame = {0, 0, 0, 0};
    for (uint32_t i = 0; i < n; i++) {
        rc_rx_result_t result = rc_frame_push(&rx, said[i], &frame);
        if (result == RC_RX_BAD) {
            abort();
        }
        if (result == RC_RX_FRAME && frame.seq == seq && frame.type != RC_FRAME_STEP) {
            found++;
            last = frame;
        }
    }
    return found;
}

static uint32_t ask(uint8_t type, uint8_t seq, const uint8_t *body, uint32_t n)
{
    uint32_t ended = dummy_take(encoded, rc_frame_build(type, seq, body, n, encoded));
    if (replies(seq) != 1u) {
        abort();
    }
    /* READ: nothing is sent that does not lie in the tensor, and what was asked for. */
    if (last.type == (RC_FRAME_READ | RC_FRAME_REPLY)) {
        uint64_t offset = rc_get_u32(last.body), bytes = rc_get_u32(last.body + 4), sent = last.length - 8u;
        if (n != 7u || offset + sent > bytes || offset != rc_get_u32(body + 1) || sent != rc_get_u16(body + 5)) {
            abort();
        }
    }
    return ended;
}

/* Asks for each tensor's size, and for bytes at its end. */
static void read_around_ends(uint8_t seq)
{
    for (uint8_t id = 0; id < RC_TENSOR_COUNT; id++) {
        uint8_t body[7] = {id, 0, 0, 0, 0, 0, 0};
        (void)ask(RC_FRAME_READ, seq, body, sizeof body);
        if (last.type == RC_FRAME_NAK) {
            continue;
        }
        uint32_t bytes = rc_get_u32(last.body + 4);
        for (uint32_t before = 0; before < 3u; before++) {
            for (uint32_t n = 0; n < 4u; n++) {
                rc_put_u32(body + 1, bytes - before);
                rc_put_u16(body + 5, n);
                (void)ask(RC_FRAME_READ, seq, body, sizeof body);
                if ((last.type == RC_FRAME_NAK) != (n > before)) {
                    abort();
                }
            }
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t zero = 0, version[2] = {RC_WIRE_VERSION, 0};
    uint32_t at = 0, n = (uint32_t)size, steps = 0;
    uint8_t seq = 1;
    dummy_start(fuzz_image, sizeof fuzz_image, 0, 0);
    (void)replies(0);
    while (n - at >= 2u) {
        uint8_t type = data[at];
        uint32_t length = data[at + 1u];
        length = length > 250u ? (length - 250u) * 200u : length; /* bodies up to 1000 bytes */
        at += 2u;
        length = length > n - at ? n - at : length;
        if (type == RAW) {
            (void)dummy_take(data + at, length);
            (void)dummy_take(&zero, 1); /* ends what the raw bytes began */
            (void)replies(0);
        } else {
            if (type == RC_FRAME_RUN && length >= 20u) {
                steps += rc_get_u16(data + at + 2u);
                if (steps > MAX_STEPS) {
                    break;
                }
            }
            if (type == RC_FRAME_SOLVE && length >= 20u) { /* no more restarts than the stand-in has room for */
                steps += rc_get_u16(data + at + 2u) + 4u * rc_get_u16(data + at + 4u);
                if (steps > MAX_STEPS) {
                    break;
                }
            }
            if (ask(type, seq, data + at, length) != 0u) {
                return 0; /* EXIT or RESET */
            }
            seq = seq == 255u ? 1u : (uint8_t)(seq + 1u);
        }
        at += length;
    }
    read_around_ends(seq);
    (void)ask(RC_FRAME_HELLO, seq, version, 2);
    return 0;
}
