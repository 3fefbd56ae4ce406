/* A conversation with the wire server over a model of eight numbers: replies, refusals, and that a request that is
 * refused changes nothing. */
#include <string.h>

#include "model.h"
#include "recurc/rc_crc32.h"
#include "recurc/rc_solve.h"
#include "recurc/rc_wire.h"
#include "test.h"

static rc_server_t server;
static rc_frame_rx_t heard;
static uint8_t encoded[RC_WIRE_MAX_ENCODED];

/* Sends a request; the frame numbered `which` of the answer. */
static rc_frame_t ask(uint8_t type, const uint8_t *body, uint32_t n, uint32_t which)
{
    static uint8_t seq;
    rc_frame_t frame = {0, 0, 0, 0};
    const uint32_t length = rc_frame_build(type, ++seq, body, n, encoded);
    sent_bytes = 0;
    for (uint32_t i = 0; i < length; i++) {
        rc_server_take(&server, encoded[i]);
    }
    for (uint32_t i = 0; i < sent_bytes; i++) {
        if (rc_frame_push(&heard, sent[i], &frame) == RC_RX_FRAME && which-- == 0u) {
            break;
        }
    }
    CHECK(frame.seq == seq);
    return frame;
}

static uint32_t refused(uint8_t type, const uint8_t *body, uint32_t n)
{
    const rc_frame_t frame = ask(type, body, n, 0);
    CHECK(frame.type == RC_FRAME_NAK && frame.length == 2u && frame.body[1] == type);
    return frame.type == RC_FRAME_NAK ? frame.body[0] : 0u;
}

static void hello(void)
{
    static const uint8_t version[2] = {RC_WIRE_VERSION, 0};
    const rc_frame_t frame = ask(RC_FRAME_HELLO, version, 2, 0);
    CHECK(frame.type == (RC_FRAME_HELLO | RC_FRAME_REPLY) && frame.length == 124u + 6u + 5u);
    CHECK(rc_get_u16(frame.body) == RC_WIRE_VERSION && frame.body[2] == RC_OK && frame.body[3] == 0x11u);
    CHECK(rc_get_u32(frame.body + 52) == CELLS && rc_get_u32(frame.body + 72) == STEPS && frame.body[124] == 5u);
    CHECK(refused(RC_FRAME_HELLO, version, 1) == RC_ERR_ARGUMENT && refused(0x42, version, 2) == RC_ERR_COMMAND);
}

static void run(void)
{
    static const uint8_t load[4 + CELLS] = {0, 0, 0, 0, 1, 2, 3, 0, 1, 2, 3, 0};
    uint8_t request[20] = {RC_RUN_BEGIN, 0, 3, 0};
    rc_frame_t frame = ask(RC_FRAME_LOAD, load, sizeof load, 0);
    CHECK(frame.type == (RC_FRAME_LOAD | RC_FRAME_REPLY) && rc_get_u32(frame.body) == rc_crc32(0, load + 4, CELLS));
    CHECK(refused(RC_FRAME_RUN, request, 20) != RC_OK); /* the input is not what the request says */
    rc_put_u32(request + 12, rc_crc32(0, load + 4, CELLS));
    for (uint32_t step = 0; step < 3u; step++) {
        frame = ask(RC_FRAME_RUN, request, 20, step);
        float carry[2 * CELLS] = {0};
        for (uint32_t i = 0; i < CELLS; i++) {
            carry[i] = (float)(step + 1u);
        }
        CHECK(frame.type == RC_FRAME_STEP && frame.length == 32u && rc_get_u16(frame.body) == step + 1u);
        CHECK(rc_get_u32(frame.body + 2) == rc_crc32(0, carry, sizeof carry));
        CHECK(rc_get_u32(frame.body + 10) == rc_crc32(0, load + 4, CELLS));
    }
    frame = ask(RC_FRAME_RUN, request, 20, 3);
    CHECK(frame.type == (RC_FRAME_RUN | RC_FRAME_REPLY) && frame.length == 20u && frame.body[0] == RC_OK);
    CHECK(rc_get_u16(frame.body + 2) == 3u && rc_get_u16(frame.body + 4) == 3u);
    request[0] = 0;
    rc_put_u16(request + 2, 1);
    CHECK(refused(RC_FRAME_RUN, request, 20) == RC_ERR_STATE); /* at is 0, three steps have been run */
    rc_put_u16(request + 6, 3);
    rc_put_u16(request + 2, 3);
    CHECK(refused(RC_FRAME_RUN, request, 20) != RC_OK); /* six steps of five */
    request[0] = RC_RUN_BEGIN | RC_RUN_HALT;
    rc_put_u16(request + 6, 0);
    rc_put_u32(request + 12, rc_crc32(0, load + 4, CELLS));
    rc_put_f32(request + 16, 1.5f);
    request[1] = 2; /* the tokens never change, so after three steps they have stayed for two */
    frame = ask(RC_FRAME_RUN, request, 20, 3);
    CHECK(frame.type == (RC_FRAME_RUN | RC_FRAME_REPLY) && frame.body[1] == 1u && rc_get_u16(frame.body + 2) == 3u);
    request[1] = 0;
    frame = ask(RC_FRAME_RUN, request, 20, 2);
    CHECK(frame.type == (RC_FRAME_RUN | RC_FRAME_REPLY) && frame.body[1] == 1u && rc_get_u16(frame.body + 2) == 2u);
}

static void read_back(void)
{
    uint8_t request[7] = {RC_TENSOR_Z_H, 4, 0, 0, 0, 4, 0};
    const rc_frame_t frame = ask(RC_FRAME_READ, request, 7, 0);
    CHECK(frame.type == (RC_FRAME_READ | RC_FRAME_REPLY) && frame.length == 12u &&
          rc_get_u32(frame.body + 4) == 4u * CELLS);
    CHECK(rc_get_f32(frame.body + 8) == 2.0f);
    request[0] = RC_TENSOR_COUNT;
    CHECK(refused(RC_FRAME_READ, request, 7) == RC_ERR_ARGUMENT);
    request[0] = RC_TENSOR_Z_H;
    rc_put_u32(request + 1, 0xFFFFFFFEu);
    CHECK(refused(RC_FRAME_READ, request, 7) == RC_ERR_ARGUMENT);
    CHECK(refused(RC_FRAME_ROW, request, 7) == RC_ERR_COMMAND);
}

static void solve(void)
{
    static const uint8_t puzzle[CELLS] = {1, 2, 3, 0, 1, 2, 3, 0};
    uint8_t request[20] = {RC_ACCEPT_AGREEMENT, 0, 2, 0, 3, 0, 2, 0};
    uint8_t read[7] = {RC_TENSOR_ANSWER, 0, 0, 0, 0, CELLS, 0};
    CHECK(refused(RC_FRAME_READ, read, 7) == RC_ERR_ARGUMENT); /* nothing was answered yet */
    CHECK(refused(RC_FRAME_SOLVE, request, 20) == RC_ERR_ARGUMENT);
    rc_put_u32(request + 12, rc_crc32(0, puzzle, CELLS));
    rc_put_f32(request + 16, 99.0f);
    for (uint32_t step = 1; step <= 5u; step++) {
        const rc_frame_t told = ask(RC_FRAME_SOLVE, request, 20, step - 1u);
        CHECK(told.type == RC_FRAME_STEP && rc_get_u16(told.body) == step && rc_get_u16(told.body + 30) == step / 3u);
    }
    rc_frame_t frame = ask(RC_FRAME_SOLVE, request, 20, 5);
    CHECK(frame.type == (RC_FRAME_SOLVE | RC_FRAME_REPLY) && frame.length == RC_SOLVE_REPLY && frame.body[0] == RC_OK);
    CHECK(frame.body[1] == 1u && rc_get_u16(frame.body + 2) == 5u && rc_get_u16(frame.body + 4) == 1u);
    CHECK(rc_get_f32(frame.body + 20) == 3.0f && rc_get_u32(frame.body + 24) == rc_crc32(0, puzzle, CELLS));
    CHECK(rc_get_u16(frame.body + 28) == 2u);
    frame = ask(RC_FRAME_READ, read, 7, 0);
    CHECK(frame.length == 16u && memcmp(frame.body + 8, puzzle, CELLS) == 0);
    rc_put_u16(request + 4, STEPS + 1u);
    CHECK(refused(RC_FRAME_SOLVE, request, 20) == RC_ERR_STEPS);
}

static void noise(void)
{
    rc_frame_t frame = {0, 0, 0, 0};
    sent_bytes = 0;
    for (uint32_t i = 0; i < 5000u; i++) {
        rc_server_take(&server, (uint8_t)random_bits());
    }
    rc_server_take(&server, 0);
    for (uint32_t i = 0; i < sent_bytes; i++) {
        if (rc_frame_push(&heard, sent[i], &frame) == RC_RX_FRAME) {
            CHECK(frame.type == RC_FRAME_NAK && frame.seq == 0u && frame.body[0] == RC_ERR_FRAME);
        }
    }
    hello();
}

int main(void)
{
    static const uint8_t build_id[16] = {1};
    static _Alignas(64) uint8_t arena[ARENA_BYTES];
    static uint8_t input[CELLS];
    server = (rc_server_t){.board = "ctest",
                           .build_id = build_id,
                           .image = test_image,
                           .image_size = sizeof test_image,
                           .arena = arena,
                           .arena_size = sizeof arena,
                           .input = input};
    rc_server_start(&server);
    rc_frame_t boot = {0, 0, 0, 0};
    for (uint32_t i = 0; i < sent_bytes; i++) {
        (void)rc_frame_push(&heard, sent[i], &boot);
    }
    CHECK(boot.type == RC_FRAME_BOOT && boot.seq == 0u && boot.length == 2u);
    hello();
    run();
    read_back();
    solve();
    noise();
    CHECK(ended == 0u);
    (void)ask(RC_FRAME_EXIT, (const uint8_t[4]){0}, 4, 0);
    CHECK(ended == 1u);
    return verdict();
}
