/* Random sequences of calls of a generated model, wrong ones among them, held to a model of what each has to return. Usage:
 * fuzz_api RUNS SEED. Two contexts share one arena in turn and one image; the hook cancels at random. Ends with status 1 at the
 * first difference. Compiled with the sanitizers by tests/fuzz/test_api.py. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model_config.h"
#include "recurc/rc.h"
#include "recurc/rc_solve.h"

static uint8_t image[RC_IMAGE_BYTES + 64u] __attribute__((aligned(64)));
static uint8_t arenas[2][RC_ARENA_BYTES + 64u] __attribute__((aligned(64)));
static uint64_t seed;
static uint32_t stop_after; /* calls of the hook until it cancels; 0: never */
static rc_ctx_t *current;   /* that is at work */

/* What a context is expected to be. */
typedef struct {
    rc_ctx_t ctx;
    rc_options_t options;
    uint32_t state, step, op, cancelled;
} instance_t;

static uint32_t draw(uint32_t n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)(seed >> 32) % n;
}

static uint32_t rarely(void)
{
    return draw(8) == 0u;
}

static void check(const char *call, rc_status_t got, rc_status_t want);

static uint32_t hook(void *user)
{
    uint32_t *said = user, bytes = 0;
    if (current != 0) { /* what may not be called in between is refused */
        check("step in the hook", rc_step(current), RC_ERR_STATE);
        check("ops in the hook", rc_ops(current, RC_OPS), RC_ERR_STATE);
        check("begin in the hook", rc_begin(current, image, 0u), RC_ERR_STATE);
        if (rc_tensor(current, RC_TENSOR_LOGITS, &bytes) != 0 || rc_tensor(current, RC_TENSOR_Z_H, &bytes) == 0) {
            printf("logits within a step, or no carry\n");
            exit(1);
        }
    }
    if (stop_after != 0u && --stop_after == 0u) {
        *said = 1u;
        return 1u;
    }
    return 0u;
}

static void check(const char *call, rc_status_t got, rc_status_t want)
{
    if (got != want) {
        printf("%s: %s instead of %s\n", call, rc_status_text(got), rc_status_text(want));
        exit(1);
    }
}

static void opens(instance_t *s, uint32_t which, uint32_t *said)
{
    const uint32_t no_ctx = rarely(), no_image = rarely(), no_arena = rarely(), aside = rarely(), small = rarely();
    const uint32_t cut = rarely(), flags = draw(4) == 0u ? draw(4) : 0u, damaged = rarely();
    s->options = (rc_options_t){flags, hook, said};
    const rc_options_t *options = rarely() ? 0 : &s->options;
    const uint32_t told = options != 0 ? flags : 0u;
    uint32_t first; /* where the first section lies: behind header and table, which are always checked */
    memcpy(&first, image + 136, sizeof first);
    const uint32_t at = first + draw(RC_IMAGE_BYTES - first);
    *said = 0u;
    stop_after = 0u;
    image[at] ^= damaged != 0u ? 0x10u : 0u;
    const rc_status_t status =
        rc_open(no_ctx ? 0 : &s->ctx, no_image ? 0 : image, RC_IMAGE_BYTES - (cut ? 64u : 0u),
                no_arena ? 0 : arenas[which] + (aside ? 16u : 0u), RC_ARENA_BYTES - (small ? 1u : 0u), options);
    image[at] ^= damaged != 0u ? 0x10u : 0u;
    rc_status_t want = RC_OK;
    if (no_ctx) {
        check("open", status, RC_ERR_ARGUMENT);
        return; /* nothing has changed */
    }
    s->state = 0u;
    if (no_arena) {
        want = RC_ERR_ARGUMENT;
    } else if (aside) {
        want = RC_ERR_ALIGNMENT;
    } else if (small) {
        want = RC_ERR_ARENA;
    } else if (no_image || told > 1u) {
        want = RC_ERR_ARGUMENT;
    } else if (cut) {
        want = RC_ERR_IMAGE_SIZE;
    } else if (damaged && told == 0u && status != RC_OK) {
        want = status; /* one of several; but a byte between sections is in no checksum */
    }
    check("open", status, want);
    s->state = status == RC_OK ? 1u : 0u;
}

static void begins(instance_t *s)
{
    uint8_t tokens[RC_SEQ_LEN];
    for (uint32_t i = 0; i < RC_SEQ_LEN; i++) {
        tokens[i] = (uint8_t)draw(RC_VOCAB);
    }
    const uint32_t bad = rarely(), none = rarely();
    const uint32_t puzzles = RC_PUZZLES != 0u ? RC_PUZZLES : 1u, puzzle = draw(puzzles + 1u);
    if (bad) {
        tokens[draw(RC_SEQ_LEN)] = (uint8_t)(RC_VOCAB + draw(256u - RC_VOCAB));
    }
    rc_status_t want = RC_OK;
    if (none) {
        want = RC_ERR_ARGUMENT;
    } else if (s->state == 0u) {
        want = RC_ERR_STATE;
    } else if (puzzle >= puzzles) {
        want = RC_ERR_PUZZLE;
    } else if (bad) {
        want = RC_ERR_TOKEN;
    }
    check("begin", rc_begin(&s->ctx, none ? 0 : tokens, puzzle), want);
    if (want == RC_OK) {
        s->state = 2u;
        s->step = s->op = s->cancelled = 0u;
    }
}

static void works(instance_t *s, uint32_t *said)
{
    const uint32_t whole = draw(2), ops = whole ? RC_OPS : draw(RC_OPS + 3u);
    *said = 0u;
    stop_after = s->ctx.options.hook != 0 && rarely() ? 1u + draw(8) : 0u;
    current = &s->ctx;
    const rc_status_t status = whole ? rc_step(&s->ctx) : rc_ops(&s->ctx, ops);
    current = 0;
    stop_after = 0u;
    rc_status_t want = RC_OK;
    if (s->state != 2u) {
        want = RC_ERR_STATE;
    } else if (ops < s->op || ops > RC_OPS) {
        want = RC_ERR_ARGUMENT;
    } else if (s->step >= RC_STEPS) {
        want = RC_ERR_STEPS;
    } else if (s->cancelled || *said) {
        want = RC_ERR_CANCELLED;
    }
    check(whole ? "step" : "ops", status, want);
    if (want == RC_ERR_CANCELLED) {
        s->state = 1u;
    } else if (want == RC_OK) {
        s->op = ops < RC_OPS ? ops : 0u;
        s->step += ops == RC_OPS;
    }
}

static void reads(instance_t *s)
{
    const uint32_t id = draw(RC_TENSOR_COUNT + 2u);
    uint32_t bytes = 0xffffffffu, sum = 0;
    const uint8_t *data = rc_tensor(&s->ctx, id, &bytes);
    const uint32_t there = s->state == 2u && (id <= RC_TENSOR_INPUT) && !(id == RC_TENSOR_LOGITS && s->op != 0u);
    if ((data != 0) != there) {
        printf("tensor %u: %s\n", id, there ? "is not there" : "is there");
        exit(1);
    }
    for (uint32_t i = 0; data != 0 && i < bytes; i++) {
        sum += data[i]; /* the sanitizer looks */
    }
    const float margin = rc_margin(&s->ctx);
    const uint32_t halts = rc_halts(&s->ctx, (float)(int32_t)draw(9) - 4.0f, draw(3));
    if (halts > 1u || ((s->state != 2u || s->step == 0u) && (halts != 0u || margin != 0.0f)) || sum == 1u << 31) {
        printf("halts %u, margin %g\n", halts, (double)margin);
        exit(1);
    }
}

static void solves(instance_t *s)
{
    uint8_t tokens[RC_SEQ_LEN] = {0};
    rc_solver_t solver;
    const rc_policy_t policy = {draw(RC_STEPS + 2u), draw(RC_STEPS + 2u), draw(3), draw(3), 0.0f, draw(3)};
    if (s->state == 0u) {
        return;
    }
    rc_status_t status = rc_solve_begin(&solver, &s->ctx, &policy, tokens, 0u);
    const uint32_t none = policy.steps == 0u || policy.restart_steps == 0u || policy.accept > RC_ACCEPT_VOTE;
    const uint32_t deep = policy.steps > RC_STEPS || policy.restart_steps > RC_STEPS;
    if (none || deep) {
        check("solve", status,
              none && status == RC_ERR_ARGUMENT ? RC_ERR_ARGUMENT
              : deep                            ? RC_ERR_STEPS
                                                : RC_ERR_ARGUMENT);
        return; /* the puzzle under way is as it was */
    }
    check("solve", status, RC_OK);
    s->state = 2u;
    s->step = s->op = s->cancelled = 0u;
    while (solver.done == 0u) {
        const uint32_t event = draw(24);
        if (event == 0u) { /* wherever the procedure is, between two runs too */
            rc_cancel(&s->ctx);
            check("cancelled solve", rc_solve_step(&solver), RC_ERR_CANCELLED);
            check("after it", rc_solve_step(&solver), RC_ERR_STATE);
            s->state = 1u;
            s->cancelled = 1u;
            return;
        }
        if (event == 1u) { /* another puzzle on the same context */
            check("begin", rc_begin(&s->ctx, tokens, 0u), RC_OK);
            check("forgotten solve", rc_solve_step(&solver), RC_ERR_STATE);
            s->step = 0u;
            return;
        }
        check("solve step", rc_solve_step(&solver), RC_OK);
    }
    s->step = solver.run_steps;
}

int main(int argc, char **argv)
{
    FILE *file = fopen(argc > 3 ? argv[3] : "model.rcm", "rb");
    if (argc < 3 || file == 0 || fread(image, 1, RC_IMAGE_BYTES, file) != RC_IMAGE_BYTES) {
        return 2;
    }
    fclose(file);
    const uint32_t runs = (uint32_t)strtoul(argv[1], 0, 10);
    seed = strtoull(argv[2], 0, 10) * 0x9E3779B97F4A7C15u + 1u;
    static instance_t both[2];
    uint32_t said = 0;
    check("step", rc_step(0), RC_ERR_ARGUMENT);
    check("ops", rc_ops(0, 1u), RC_ERR_ARGUMENT);
    check("begin", rc_begin(0, image, 0u), RC_ERR_ARGUMENT);
    rc_cancel(0);
    for (uint32_t run = 0; run < runs; run++) {
        memset(both, 0, sizeof both);
        for (uint32_t left = 4u + draw(16); left != 0u; left--) {
            const uint32_t which = draw(2);
            instance_t *s = &both[which];
            switch (draw(12)) {
            case 0:
                opens(s, which, &said);
                break;
            case 1:
            case 2:
                begins(s);
                break;
            case 3:
                rc_cancel(&s->ctx);
                s->cancelled = s->state != 0u; /* an open begins anew */
                break;
            case 4:
                solves(s);
                break;
            case 5:
            case 6:
                reads(s);
                break;
            default:
                if (s->state == 0u && draw(4) != 0u) {
                    opens(s, which, &said);
                } else {
                    works(s, &said);
                }
            }
        }
    }
    printf("%u runs\n", runs);
    return 0;
}
