/* A model that says what a test has written down: tokens and margin after each step of each run. With rc_solve.c around it,
 * as a shared library. */
#include <string.h>

#include "recurc/rc.h"

#ifdef ROWS /* forms are grids, each with a row of the puzzle table */
#include "recurc/rc_solve.h"
#define GRIDS &rc_grids
#else
#define ROWS  1u
#define GRIDS 0
#endif

#ifndef RESTARTS
#define RESTARTS 0
#endif
#define RUNS  ((FORMS > RESTARTS ? FORMS : RESTARTS) + 1)
#define STEPS 8

uint8_t script_tokens[RUNS][STEPS][SEQ]; /* in the form of the run */
float script_margins[RUNS][STEPS];
uint8_t script_asked[RUNS][SEQ];     /* what runs were begun with */
uint32_t script_rows[RUNS];          /* and with which row */
uint32_t script_begun, script_steps; /* runs, and steps in all */
float script_noise[RUNS][STEPS];     /* what was added before each step, as rc_noise is told of it */

static uint8_t answers[RUNS][SEQ];

const rc_info_t rc_info = {.seq_len = SEQ,
                           .vocab = VOCAB,
                           .puzzles = ROWS,
                           .steps = STEPS,
                           .forms = FORMS,
                           .forms_offset = 3u,
                           .restarts = RESTARTS,
                           .grids = GRIDS,
                           .name = "script"};

void script_open(rc_ctx_t *ctx, const uint8_t *image)
{
    memset(ctx, 0, sizeof *ctx);
    ctx->image = image;
    ctx->answers = RUNS != 1 ? answers[0] : 0;
    ctx->state = 1u;
    script_begun = 0u;
    script_steps = 0u;
    memset(answers, 0xEE, sizeof answers);
    memset(script_noise, 0, sizeof script_noise);
}

rc_status_t rc_begin(rc_ctx_t *ctx, const uint8_t *tokens, uint32_t puzzle)
{
    if (puzzle >= ROWS) {
        return RC_ERR_PUZZLE;
    }
    for (uint32_t i = 0; i < SEQ; i++) {
        if (tokens[i] >= VOCAB) {
            return RC_ERR_TOKEN;
        }
    }
    memcpy(script_asked[script_begun], tokens, SEQ);
    script_rows[script_begun] = puzzle;
    script_begun++;
    ctx->step = 0u;
    ctx->same = 0u;
    ctx->state = RC_BEGUN;
    return RC_OK;
}

static uint32_t last(const rc_ctx_t *ctx)
{
    return ctx->step - 1u;
}

rc_status_t rc_step(rc_ctx_t *ctx)
{
    const uint32_t run = script_begun - 1u, step = ctx->step;
    const uint32_t stayed = step != 0u && memcmp(script_tokens[run][step], script_tokens[run][step - 1u], SEQ) == 0;
    ctx->same = stayed != 0u ? ctx->same + 1u : 0u;
    ctx->step++;
    script_steps++;
    return RC_OK;
}

rc_status_t rc_noise(rc_ctx_t *ctx, uint32_t at, float sigma, uint32_t seed, uint32_t run)
{
    if (ctx->state != RC_BEGUN || run != script_begun - 1u) {
        return RC_ERR_STATE;
    }
    script_noise[run][ctx->step] += sigma + (float)(seed + 100u * at);
    return RC_OK;
}

const uint8_t *rc_tensor(const rc_ctx_t *ctx, uint32_t id, uint32_t *bytes)
{
    *bytes = SEQ;
    return id == RC_TENSOR_TOKENS ? script_tokens[script_begun - 1u][last(ctx)] : 0;
}

float rc_margin(const rc_ctx_t *ctx)
{
    return script_margins[script_begun - 1u][last(ctx)];
}

uint32_t rc_halts(const rc_ctx_t *ctx, float threshold, uint32_t patience)
{
    return rc_margin(ctx) > threshold && ctx->same >= patience ? 1u : 0u;
}

const char *rc_status_text(rc_status_t status)
{
    (void)status;
    return "";
}
