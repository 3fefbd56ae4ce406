/* The wire server: answers each request with exactly one reply of the same sequence number. */
#include "recurc/rc_wire.h"

#include "recurc/rc_crc32.h"
#include "recurc/rc_known.h"
#include "recurc/rc_port.h"

#define STEP_BODY   32u
#define RESULT_BODY 20u
#define READ_HEADER 8u
#define ROW_HEADER  6u
#define IDLE_MS     500u /* how often the watchdog is fed while no request comes */

static void reply(rc_server_t *s, uint8_t type, uint8_t seq, const uint8_t *body, uint32_t n)
{
    rc_port_write(s->tx, rc_frame_build(type, seq, body, n, s->tx));
}

static void refuse(rc_server_t *s, const rc_frame_t *f, rc_status_t status)
{
    uint8_t body[2];
    body[0] = (uint8_t)status;
    body[1] = f->type;
    reply(s, RC_FRAME_NAK, f->seq, body, sizeof body);
}

/* The one reply of a request that was carried out: a refusal where `status` is one, else its body. */
static void conclude(rc_server_t *s, const rc_frame_t *f, rc_status_t status, const uint8_t *body, uint32_t n)
{
    if (status != RC_OK) {
        refuse(s, f, status);
    } else {
        reply(s, (uint8_t)(f->type | RC_FRAME_REPLY), f->seq, body, n);
    }
}

/* The model's hook: work that goes on feeds the watchdog, never an interrupt, so that work that stands still starves it. */
static uint32_t feed_watchdog(void *user)
{
    (void)user;
    rc_port_watchdog_feed();
    return 0u;
}

void rc_server_open(rc_server_t *s)
{
    static const rc_options_t options = {0u, feed_watchdog, 0};
    s->answer = 0;
    s->image_status = rc_open(&s->ctx, s->image, s->image_size, s->arena, s->arena_size, &options);
    s->table_status = RC_OK;
    if (s->image_status == RC_OK && rc_table_mode(s) == RC_TABLE_MAPPED) {
        s->table_status = rc_table(&s->ctx, s->table, s->table_bytes);
    }
}

/* Whether the carry holds a puzzle: the model says so, and nothing else. */
static uint32_t begun(const rc_server_t *s)
{
    return (uint32_t)(s->image_status == RC_OK && s->ctx.state == RC_BEGUN);
}

static void answer_hello(rc_server_t *s, const rc_frame_t *f)
{
    if (f->length != 2u) {
        refuse(s, f, RC_ERR_ARGUMENT);
        return;
    }
    reply(s, RC_FRAME_HELLO | RC_FRAME_REPLY, f->seq, s->body, rc_hello(s, s->body));
}

/* Body: offset u32, tokens. Reply: CRC of the whole input row as it now is. */
static void answer_load(rc_server_t *s, const rc_frame_t *f)
{
    uint32_t seq_len = rc_info.seq_len;
    if (f->length < 5u) {
        refuse(s, f, RC_ERR_ARGUMENT);
        return;
    }
    uint32_t offset = rc_get_u32(f->body), n = f->length - 4u;
    if (offset > seq_len || n > seq_len - offset) {
        refuse(s, f, RC_ERR_ARGUMENT);
        return;
    }
    for (uint32_t i = 0; i < n; i++) {
        s->input[offset + i] = f->body[4u + i];
    }
    rc_put_u32(s->body, rc_crc32(0, s->input, seq_len));
    reply(s, RC_FRAME_LOAD | RC_FRAME_REPLY, f->seq, s->body, 4);
}

static uint32_t tensor_crc(const rc_server_t *s, uint32_t crc, uint32_t id)
{
    uint32_t bytes = 0;
    const uint8_t *data = rc_tensor(&s->ctx, id, &bytes);
    return data == 0 ? crc : rc_crc32(crc, data, bytes);
}

void rc_send_step(rc_server_t *s, uint8_t seq, uint32_t step, uint32_t run, uint64_t ticks)
{
    uint32_t bytes = 0;
    const uint8_t *q = rc_tensor(&s->ctx, RC_TENSOR_Q, &bytes);
    uint8_t *b = s->body;
    rc_put_u16(b, step);
    rc_put_u32(b + 2, rc_carry_crc(&s->ctx));
    rc_put_u32(b + 6, tensor_crc(s, 0, RC_TENSOR_LOGITS));
    rc_put_u32(b + 10, tensor_crc(s, 0, RC_TENSOR_TOKENS));
    for (uint32_t i = 0; i < 8u; i++) {
        b[14u + i] = (q == 0 || bytes < 8u) ? 0u : q[i];
    }
    rc_put_u64(b + 22, ticks);
    rc_put_u16(b + 30, run);
    reply(s, RC_FRAME_STEP, seq, b, STEP_BODY);
}

/* Everything of RUN that can be refused before a step is run. */
static rc_status_t check_run(rc_server_t *s, const rc_frame_t *f, rc_wire_noise_t *noise)
{
    const uint8_t *b = f->body;
    if (s->image_status != RC_OK) {
        return s->image_status;
    }
    if (rc_wire_noise(f, noise) != RC_OK ||
        (noise->sigma != 0.0f && (noise->run == 0u || (b[0] & RC_RUN_BEGIN) == 0u))) {
        return RC_ERR_ARGUMENT;
    }
    if ((b[0] & (uint32_t)~(RC_RUN_BEGIN | RC_RUN_HALT)) != 0u) {
        return RC_ERR_COMMAND;
    }
    uint32_t steps = rc_get_u16(b + 2), at = rc_get_u16(b + 6);
    if ((b[0] & RC_RUN_BEGIN) != 0u) {
        if (at != 0u || rc_get_u32(b + 12) != rc_crc32(0, s->input, rc_info.seq_len)) {
            return RC_ERR_ARGUMENT;
        }
        if (s->table_status != RC_OK) {
            return s->table_status;
        }
    } else if (begun(s) == 0u || at != s->ctx.step) {
        return RC_ERR_STATE; /* also a repeated request whose first copy was already carried out */
    }
    if (steps == 0u && (b[0] & RC_RUN_BEGIN) == 0u) {
        return RC_ERR_ARGUMENT;
    }
    if (steps > rc_info.steps || at > rc_info.steps - steps) {
        return RC_ERR_STEPS; /* halting can only shorten the compiled schedule */
    }
    return RC_OK;
}

/* The noise that comes before the next step, if any does. */
static rc_status_t add_noise(rc_server_t *s, const rc_wire_noise_t *noise)
{
    if (noise->sigma == 0.0f || (noise->at == RC_NOISE_AT_START && s->ctx.step != 0u)) {
        return RC_OK;
    }
    return rc_noise(&s->ctx, noise->at, noise->sigma, noise->seed, noise->run);
}

static void answer_run(rc_server_t *s, const rc_frame_t *f)
{
    rc_wire_noise_t noise;
    rc_status_t status = check_run(s, f, &noise);
    if (status != RC_OK) {
        refuse(s, f, status);
        return;
    }
    /* The frame lies in the receive buffer, which nothing touches while we run. */
    uint32_t flags = f->body[0], patience = f->body[1];
    uint32_t steps = rc_get_u16(f->body + 2), min_steps = rc_get_u16(f->body + 4);
    float threshold = rc_get_f32(f->body + 16);
    uint32_t run = 0, halted = 0;
    uint64_t total = 0;
    if ((flags & RC_RUN_BEGIN) != 0u) {
        status = rc_begin(&s->ctx, s->input, rc_get_u32(f->body + 8));
        if (status != RC_OK) {
            refuse(s, f, status);
            return;
        }
    }
    s->answer = 0;
    while (run < steps && halted == 0u) {
        uint64_t start = rc_port_ticks();
        status = add_noise(s, &noise);
        if (status == RC_OK) {
            status = rc_step(&s->ctx);
        }
        uint64_t ticks = rc_port_ticks() - start;
        rc_port_watchdog_feed();
        if (status != RC_OK) {
            break;
        }
        run++;
        total += ticks;
        rc_send_step(s, f->seq, s->ctx.step, 0u, ticks);
        if ((flags & RC_RUN_HALT) != 0u && s->ctx.step >= min_steps) {
            halted = rc_halts(&s->ctx, threshold, patience);
        }
    }
    if (status == RC_OK) {
        status = add_noise(s, &noise); /* TRACE goes on from here */
    }
    uint8_t *b = s->body;
    b[0] = (uint8_t)status;
    b[1] = (uint8_t)halted;
    rc_put_u16(b + 2, run);
    rc_put_u16(b + 4, s->ctx.step);
    rc_put_u16(b + 6, 0);
    rc_put_u64(b + 8, total);
    rc_put_u32(b + 16, rc_port_stack_used());
    reply(s, RC_FRAME_RUN | RC_FRAME_REPLY, f->seq, b, RESULT_BODY);
}

/* Body: index u32, offset u16, bytes of the record. Reply: bytes held u16, 1 when the row is whole and good u8, 0 u8.
 * The row is part of the puzzle under way, so that ends with it. */
static void answer_row(rc_server_t *s, const rc_frame_t *f)
{
    const uint32_t record_bytes = rc_info.record_bytes;
    if (rc_table_mode(s) != RC_TABLE_WIRE) {
        refuse(s, f, RC_ERR_COMMAND);
        return;
    }
    if (s->image_status != RC_OK) {
        refuse(s, f, s->image_status);
        return;
    }
    if (f->length <= ROW_HEADER) {
        refuse(s, f, RC_ERR_ARGUMENT);
        return;
    }
    uint32_t offset = rc_get_u16(f->body + 4), n = f->length - ROW_HEADER;
    if (offset > record_bytes || n > record_bytes - offset) {
        refuse(s, f, RC_ERR_ARGUMENT);
        return;
    }
    rc_status_t status = rc_row(&s->ctx, rc_get_u32(f->body), offset, f->body + ROW_HEADER, n);
    s->answer = 0;
    rc_put_u16(s->body, offset + n);
    s->body[2] = (uint8_t)(offset + n == record_bytes ? 1u : 0u);
    s->body[3] = 0;
    conclude(s, f, status, s->body, 4);
}

/* Body: tensor u8, offset u32, length u16. Reply: offset u32, size of the whole tensor u32, bytes. */
static void answer_read(rc_server_t *s, const rc_frame_t *f)
{
    uint32_t bytes = 0;
    if (f->length != 7u) {
        refuse(s, f, RC_ERR_ARGUMENT);
        return;
    }
    if (begun(s) == 0u) {
        refuse(s, f, s->image_status != RC_OK ? s->image_status : RC_ERR_STATE);
        return;
    }
    uint32_t offset = rc_get_u32(f->body + 1), n = rc_get_u16(f->body + 5);
    const uint8_t *data = rc_tensor(&s->ctx, f->body[0], &bytes);
    if (f->body[0] == RC_TENSOR_ANSWER) {
        data = s->answer;
        bytes = rc_info.seq_len;
    }
    if (data == 0 || n > RC_WIRE_MAX_BODY - READ_HEADER || offset > bytes || n > bytes - offset) {
        refuse(s, f, RC_ERR_ARGUMENT);
        return;
    }
    rc_put_u32(s->body, offset);
    rc_put_u32(s->body + 4, bytes);
    for (uint32_t i = 0; i < n; i++) {
        s->body[READ_HEADER + i] = data[offset + i];
    }
    reply(s, RC_FRAME_READ | RC_FRAME_REPLY, f->seq, s->body, READ_HEADER + n);
}

/* The carry after any op of a step; see rc_trace. */
static void answer_trace(rc_server_t *s, const rc_frame_t *f)
{
    rc_status_t status = s->image_status;
    if (status == RC_OK) {
        status = begun(s) == 0u ? RC_ERR_STATE : rc_trace(&s->ctx, f, s->body);
    }
    if (status == RC_OK) {
        s->answer = 0;
    }
    conclude(s, f, status, s->body, RC_TRACE_REPLY);
}

/* Answers the loaded puzzle; see rc_solving. */
static void answer_solve(rc_server_t *s, const rc_frame_t *f)
{
    uint8_t b[RC_SOLVE_REPLY]; /* the server's own body holds the STEPs meanwhile */
    conclude(s, f, rc_solving(s, f, b), b, RC_SOLVE_REPLY);
}

/* Checks image and mapped puzzle table anew; the carry is lost. See rc_server_selftest. */
static void answer_selftest(rc_server_t *s, const rc_frame_t *f)
{
    conclude(s, f, rc_server_selftest(s, f, s->body), s->body, RC_SELFTEST_REPLY);
}

static void answer_exit(rc_server_t *s, const rc_frame_t *f)
{
    if (f->length != 4u) {
        refuse(s, f, RC_ERR_ARGUMENT);
        return;
    }
    if (rc_port_can_exit() == 0u) {
        refuse(s, f, RC_ERR_COMMAND);
        return;
    }
    uint32_t code = rc_get_u32(f->body);
    reply(s, RC_FRAME_EXIT | RC_FRAME_REPLY, f->seq, s->body, 0);
    rc_port_exit(code);
}

void rc_server_answer(rc_server_t *s, const rc_frame_t *f)
{
    switch (f->type) {
    case RC_FRAME_HELLO:
        answer_hello(s, f);
        return;
    case RC_FRAME_LOAD:
        answer_load(s, f);
        return;
    case RC_FRAME_RUN:
        answer_run(s, f);
        return;
    case RC_FRAME_READ:
        answer_read(s, f);
        return;
    case RC_FRAME_ROW:
        answer_row(s, f);
        return;
    case RC_FRAME_TRACE:
        answer_trace(s, f);
        return;
    case RC_FRAME_SOLVE:
        answer_solve(s, f);
        return;
    case RC_FRAME_EXIT:
        answer_exit(s, f);
        return;
    case RC_FRAME_SELFTEST:
        answer_selftest(s, f);
        return;
    case RC_FRAME_RESET:
        if (f->length != 0u) {
            refuse(s, f, RC_ERR_ARGUMENT);
        } else {
            reply(s, RC_FRAME_RESET | RC_FRAME_REPLY, f->seq, s->body, 0);
            rc_port_reset();
        }
        return;
    default:
        refuse(s, f, RC_ERR_COMMAND);
        return;
    }
}

void rc_server_start(rc_server_t *s)
{
    rc_server_open(s);
    s->body[0] = (uint8_t)rc_port_reset_cause();
    s->body[1] = (uint8_t)s->image_status;
    reply(s, RC_FRAME_BOOT, 0, s->body,
          2); /* a host in the middle of something learns at once that all of it is lost */
}

void rc_server_take(rc_server_t *s, uint8_t byte)
{
    rc_frame_t frame = {0, 0, 0, 0};
    rc_rx_result_t result = rc_frame_push(&s->rx, byte, &frame);
    if (result == RC_RX_FRAME) {
        rc_server_answer(s, &frame);
    } else if (result == RC_RX_BAD) {
        rc_frame_t unknown = {0, 0, 0, 0}; /* the sequence number of a broken frame cannot be trusted */
        refuse(s, &unknown, RC_ERR_FRAME);
    }
}

void rc_server_run(rc_server_t *s)
{
    uint8_t byte = 0;
    int32_t got = 0;
    rc_server_start(s);
#ifdef RC_WATCHDOG_MS
    rc_port_watchdog_start(RC_WATCHDOG_MS);
#endif
    while (got >= 0) {
        got = rc_port_read(&byte, IDLE_MS);
        rc_port_watchdog_feed();
        if (got > 0) {
            rc_server_take(s, byte);
        }
    }
}
