/* SPDX-License-Identifier: Apache-2.0 */
#include "recurc/rc_guard.h"

#include "recurc/rc_solve.h"

#include <string.h>

/* The forms lie in the image one after the other: the numbers of seq_len cells, each of one byte or of two where there
 * are more than 256 cells, then the new names of all tokens. Nothing of them is believed: an image with good checksums
 * may be anybody's. */

static uint32_t cell_bytes(void)
{
    return rc_info.seq_len > 256u ? 2u : 1u;
}

/* The form of run i, from 1 to as many as there are. */
static const uint8_t *form_of(const rc_ctx_t *ctx, uint32_t run)
{
    const uint32_t bytes = rc_info.seq_len * cell_bytes() + rc_info.vocab;
    return ctx->image + rc_info.forms_offset + (run - 1u) * bytes;
}

/* The records of a model whose forms have rows of their own. */
static const uint8_t *rows_of(const rc_ctx_t *ctx)
{
    return ctx->image + rc_info.forms_offset;
}

static uint32_t cell_of(const uint8_t *form, uint32_t i)
{
    return cell_bytes() == 1u ? form[i] : form[2u * i] | (uint32_t)form[2u * i + 1u] << 8;
}

static const uint8_t *tokens_of(const uint8_t *form)
{
    return form + rc_info.seq_len * cell_bytes();
}

/* Where the answer of a run is kept, led back; before that, what it is asked. */
static uint8_t *place_of(const rc_ctx_t *ctx, uint32_t run)
{
    return ctx->answers + run * rc_info.seq_len;
}

/* The puzzle in another form. Its tokens are below the vocabulary: the first run has begun with them. */
static rc_status_t present(const uint8_t *form, const uint8_t *puzzle, uint8_t *out)
{
    const uint8_t *names = tokens_of(form);
    for (uint32_t i = 0; i < rc_info.seq_len; i++) {
        const uint32_t cell = cell_of(form, i);
        if (cell >= rc_info.seq_len) {
            return RC_ERR_IMAGE_SECTION;
        }
        out[i] = names[puzzle[cell]];
    }
    return RC_OK;
}

/* An answer in that form, as one of the puzzle. Its cells are in bounds: `present` has seen them. */
static rc_status_t lead_back(const uint8_t *form, const uint8_t *answer, uint8_t *out)
{
    const uint8_t *names = tokens_of(form);
    for (uint32_t i = 0; i < rc_info.seq_len; i++) {
        uint32_t token = 0;
        while (token < rc_info.vocab && names[token] != answer[i]) {
            token++;
        }
        if (token == rc_info.vocab) {
            return RC_ERR_IMAGE_SECTION;
        }
        out[cell_of(form, i)] = (uint8_t)token;
    }
    return RC_OK;
}

/* What the run that comes next is asked: its tokens, where its answer will be, and the row of the puzzle table. */
static rc_status_t ask(rc_solver_t *s, uint8_t *out)
{
    if (rc_info.grids == 0) {
        return present(form_of(s->ctx, s->run), s->puzzle, out);
    }
    const rc_status_t status = rc_info.grids->after(rows_of(s->ctx), s->row, &s->row);
    return status != RC_OK ? status : rc_info.grids->lead(rows_of(s->ctx), s->puzzle_id, s->row, s->puzzle, out);
}

/* Keep how the run under way has ended, in the puzzle's own form. */
static rc_status_t keep(const rc_solver_t *s)
{
    uint32_t bytes = 0;
    const uint8_t *tokens = rc_tensor(s->ctx, RC_TENSOR_TOKENS, &bytes);
    if (s->ctx->answers == 0) {
        return RC_OK; /* there is no other run: its tokens stay where they are */
    }
    if (rc_info.grids != 0 && s->forms != 0u) { /* the first run too: what is no grid does not count */
        return rc_info.grids->lead(rows_of(s->ctx), s->row, s->puzzle_id, tokens, place_of(s->ctx, s->run));
    }
    if (s->run != 0u && s->run <= s->forms) {
        return lead_back(form_of(s->ctx, s->run), tokens, place_of(s->ctx, s->run));
    }
    memcpy(place_of(s->ctx, s->run), tokens, bytes);
    return RC_OK;
}

/* How many runs up to this one, itself counted, have ended with its answer. */
static uint32_t votes_of(const rc_solver_t *s)
{
    uint32_t votes = 1u;
    for (uint32_t run = 0; run < s->run; run++) {
        if (memcmp(place_of(s->ctx, run), place_of(s->ctx, s->run), rc_info.seq_len) == 0) {
            votes++;
        }
    }
    return votes;
}

static uint32_t believed(const rc_solver_t *s, uint32_t halted, uint32_t votes)
{
    if (s->policy.accept == RC_ACCEPT_MARGIN) {
        return halted;
    }
    const uint32_t least = s->policy.accept == RC_ACCEPT_VOTE ? (s->policy.restarts + 1u) / 2u : 1u;
    return votes > 1u && votes > least ? 1u : 0u;
}

/* Whether the run that has ended answers rather than the best one before it. A step leaves no NaN. */
static uint32_t better(const rc_solver_t *s, float margin, uint32_t votes)
{
    if (s->policy.accept == RC_ACCEPT_VOTE && votes != s->votes) {
        return votes > s->votes ? 1u : 0u;
    }
    return margin > s->margin ? 1u : 0u;
}

/* A run has ended: believe its answer, or remember it as far as it is the best so far. */
static rc_status_t end_run(rc_solver_t *s, uint32_t halted)
{
    const float margin = rc_margin(s->ctx);
    const rc_status_t status = keep(s);
    if (status != RC_OK) {
        return status;
    }
    const uint32_t votes = votes_of(s);
    s->solved = believed(s, halted, votes);
    if (s->solved != 0u || s->run == 0u || better(s, margin, votes) != 0u) {
        s->margin = margin;
        s->votes = votes;
        s->answer_run = s->run;
    }
    s->ended = 1u;
    s->done = s->solved != 0u || s->run >= s->policy.restarts ? 1u : 0u;
    if (s->done != 0u) {
        uint32_t bytes = 0;
        s->answer =
            s->ctx->answers == 0 ? rc_tensor(s->ctx, RC_TENSOR_TOKENS, &bytes) : place_of(s->ctx, s->answer_run);
    }
    return RC_OK;
}

rc_status_t rc_solve_begin(rc_solver_t *s, rc_ctx_t *ctx, const rc_policy_t *policy, const uint8_t *puzzle,
                           uint32_t puzzle_id)
{
    if (s == 0 || ctx == 0 || policy == 0 || puzzle == 0) {
        return RC_ERR_ARGUMENT;
    }
    if (policy->steps == 0u || policy->restart_steps == 0u || policy->accept > RC_ACCEPT_VOTE ||
        !(policy->threshold - policy->threshold == 0.0f)) {
        return RC_ERR_ARGUMENT;
    }
    const uint32_t noisy = policy->noise == 0.0f ? 0u : 1u;
    if (policy->noise_at > RC_NOISE_AT_STEP || !(policy->noise - policy->noise == 0.0f) || policy->noise < 0.0f ||
        (noisy != 0u && rc_info.restarts == 0u)) {
        return RC_ERR_ARGUMENT;
    }
    const uint32_t most = rc_info.steps < RC_POLICY_STEPS ? rc_info.steps : RC_POLICY_STEPS;
    if (policy->steps > most || policy->restart_steps > most) {
        return RC_ERR_STEPS;
    }
    memset(s, 0, sizeof *s);
    const rc_status_t status = rc_begin(ctx, puzzle, puzzle_id);
    if (status != RC_OK) {
        return status;
    }
    s->ctx = ctx;
    s->epoch = ctx->epoch;
    s->policy = *policy;
    const uint32_t runs = noisy != 0u ? rc_info.restarts : rc_info.forms;
    s->policy.restarts = policy->restarts < runs ? policy->restarts : runs;
    s->puzzle = puzzle;
    s->puzzle_id = puzzle_id;
    s->row = puzzle_id;
    s->forms = s->policy.restarts < rc_info.forms ? s->policy.restarts : rc_info.forms;
    rc_status_t counted = RC_OK;
    if (rc_info.grids != 0) {
        counted = rc_info.grids->count(rows_of(ctx), puzzle, puzzle_id, s->forms, &s->forms);
        s->policy.restarts = noisy != 0u ? s->policy.restarts : s->forms;
        s->ctx = counted == RC_OK ? ctx : 0;
    }
    return counted;
}

/* Begin the run that comes next. */
static rc_status_t begin_run(rc_solver_t *s)
{
    s->run++;
    s->run_steps = 0u;
    s->ended = 0u;
    const uint8_t *asked = s->puzzle;
    s->row = s->run <= s->forms ? s->row : s->puzzle_id;
    if (s->run <= s->forms) {
        uint8_t *form = place_of(s->ctx, s->run);
        const rc_status_t status = ask(s, form);
        if (status != RC_OK) {
            return status;
        }
        asked = form;
    }
    s->ctx->again = 1u; /* a puzzle that was cancelled between two runs stays so */
    const rc_status_t status = rc_begin(s->ctx, asked, s->row);
    s->ctx->again = 0u;
    s->epoch = s->ctx->epoch;
    return status;
}

/* The noise that a run has before its next step, if it has any. */
static rc_status_t add_noise(const rc_solver_t *s)
{
    const rc_policy_t *p = &s->policy;
    if (s->run == 0u || p->noise == 0.0f || (p->noise_at == RC_NOISE_AT_START && s->run_steps != 0u)) {
        return RC_OK;
    }
    return rc_noise(s->ctx, p->noise_at, p->noise, p->seed, s->run);
}

rc_status_t rc_solve_step(rc_solver_t *s)
{
    if (s == 0) {
        return RC_ERR_ARGUMENT;
    }
    if (s->ctx == 0 || s->done != 0u || s->epoch != s->ctx->epoch) {
        return RC_ERR_STATE; /* it has ended, or its context has begun another puzzle */
    }
    rc_status_t status = s->ended != 0u ? begin_run(s) : RC_OK;
    if (status == RC_OK) {
        status = add_noise(s);
    }
    if (status == RC_OK) {
        status = rc_step(s->ctx);
    }
    if (status == RC_OK) {
        s->run_steps++;
        s->steps++;
        const uint32_t halted = rc_halts(s->ctx, s->policy.threshold, s->policy.patience);
        if (halted != 0u || s->run_steps == (s->run == 0u ? s->policy.steps : s->policy.restart_steps)) {
            status = end_run(s, halted);
        }
    }
    if (status != RC_OK) {
        s->ctx = 0;
    }
    return status;
}

rc_status_t rc_solve(rc_solver_t *s, rc_ctx_t *ctx, const rc_policy_t *policy, const uint8_t *puzzle,
                     uint32_t puzzle_id)
{
    rc_status_t status = rc_solve_begin(s, ctx, policy, puzzle, puzzle_id);
    while (status == RC_OK && s->done == 0u) {
        status = rc_solve_step(s);
    }
    return status;
}
