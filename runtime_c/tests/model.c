/* A model and a port for tests: 8 cells, a step adds one to every element of the carry, the input is the answer, what
 * is sent is kept. */
#include <stddef.h>
#include <string.h>

#include "model.h"
#include "recurc/rc.h"
#include "recurc/rc_port.h"

const rc_info_t rc_info = {.seq_len = CELLS,
                           .vocab = 4,
                           .rows = CELLS,
                           .hidden = 1,
                           .steps = STEPS,
                           .h_cycles = 2,
                           .l_cycles = 3,
                           .arena_bytes = ARENA_BYTES,
                           .image_bytes = 64,
                           .ops = 1,
                           .forms = FORMS,
                           .forms_offset = 4,
                           .restarts = RESTARTS,
                           .name = "test"};

uint8_t sent[SENT_BYTES];
uint32_t sent_bytes, ended;

typedef struct {
    float z_h[CELLS], z_l[CELLS], logits[CELLS * 4], q[2];
    uint8_t tokens[CELLS], answers[(1u + RESTARTS) * CELLS];
} arena_t;

const uint8_t test_image[64] = {0, 0, 0, 0, 7, 6, 5, 4, 3, 2, 1, 0, 1, 2, 3, 0, 1, 0, 3, 2, 5, 4, 7, 6, 3, 2, 1, 0};

static arena_t *of(const rc_ctx_t *ctx)
{
    return (arena_t *)(void *)ctx->arena;
}

rc_status_t rc_open(rc_ctx_t *ctx, const uint8_t *image, uint32_t image_size, uint8_t *arena, uint32_t arena_size,
                    const rc_options_t *options)
{
    (void)options;
    ctx->image = image;
    ctx->arena = arena;
    ctx->answers = of(ctx)->answers;
    ctx->state = 1;
    return image_size == 64u && arena_size >= sizeof(arena_t) ? RC_OK : RC_ERR_IMAGE_SIZE;
}

rc_status_t rc_table(rc_ctx_t *ctx, const uint8_t *table, uint32_t bytes)
{
    (void)ctx;
    (void)table;
    (void)bytes;
    return RC_ERR_TABLE;
}

rc_status_t rc_row(rc_ctx_t *ctx, uint32_t index, uint32_t offset, const uint8_t *data, uint32_t n)
{
    (void)ctx;
    (void)index;
    (void)offset;
    (void)data;
    (void)n;
    return RC_ERR_COMMAND;
}

rc_status_t rc_begin(rc_ctx_t *ctx, const uint8_t *tokens, uint32_t puzzle)
{
    if (puzzle != 0u) {
        return RC_ERR_PUZZLE;
    }
    for (uint32_t i = 0; i < CELLS; i++) {
        if (tokens[i] >= 4u) {
            return RC_ERR_TOKEN;
        }
    }
    memset(of(ctx), 0, offsetof(arena_t, tokens));
    memmove(of(ctx)->tokens, tokens, CELLS);
    ctx->step = 0;
    ctx->state = RC_BEGUN;
    return RC_OK;
}

rc_status_t rc_step(rc_ctx_t *ctx)
{
    for (uint32_t i = 0; i < CELLS; i++) {
        of(ctx)->z_h[i] += 1.0f;
    }
    of(ctx)->q[0] = of(ctx)->z_h[0];
    ctx->same = ctx->step == 0u ? 0u : ctx->same + 1u;
    ctx->step++;
    return RC_OK;
}

rc_status_t rc_noise(rc_ctx_t *ctx, uint32_t at, float sigma, uint32_t seed, uint32_t run)
{
    (void)at;
    (void)seed;
    of(ctx)->z_h[0] += sigma * (float)run;
    return RC_OK;
}

rc_status_t rc_ops(rc_ctx_t *ctx, uint32_t ops)
{
    return ops == 0u ? RC_OK : rc_step(ctx);
}

const uint8_t *rc_tensor(const rc_ctx_t *ctx, uint32_t id, uint32_t *bytes)
{
    arena_t *a = of(ctx);
    const void *const at[RC_TENSOR_COUNT] = {a->z_h, a->z_l, a->logits, a->q, a->tokens, a->tokens};
    static const uint32_t sizes[RC_TENSOR_COUNT] = {4u * CELLS, 4u * CELLS, 16u * CELLS, 8, CELLS, CELLS};
    *bytes = id < RC_TENSOR_COUNT ? sizes[id] : 0u;
    return id < RC_TENSOR_COUNT ? at[id] : 0;
}

float rc_margin(const rc_ctx_t *ctx)
{
    return of(ctx)->q[0];
}

uint32_t rc_halts(const rc_ctx_t *ctx, float threshold, uint32_t patience)
{
    return (uint32_t)(rc_margin(ctx) > threshold && ctx->same >= patience);
}

void rc_port_write(const uint8_t *data, uint32_t n)
{
    if (n <= SENT_BYTES - sent_bytes) {
        memcpy(sent + sent_bytes, data, n);
        sent_bytes += n;
    }
}

int32_t rc_port_read(uint8_t *byte, uint32_t timeout_ms)
{
    (void)byte;
    (void)timeout_ms;
    return -1;
}

uint64_t rc_port_ticks(void)
{
    return 0;
}

uint32_t rc_port_tick_hz(void)
{
    return 1000;
}

uint32_t rc_port_can_exit(void)
{
    return 1;
}

uint32_t rc_port_reset_cause(void)
{
    return RC_RESET_POWER;
}

uint32_t rc_port_stack_size(void)
{
    return 0;
}

uint32_t rc_port_stack_used(void)
{
    return 0;
}

void rc_port_watchdog_start(uint32_t timeout_ms)
{
    (void)timeout_ms;
}

void rc_port_watchdog_feed(void)
{
}

void rc_port_exit(uint32_t code)
{
    (void)code;
    ended = 1;
}

void rc_port_reset(void)
{
    ended = 1;
}
