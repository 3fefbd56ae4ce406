/* The procedure that answers puzzles, over a model whose answer is what it is asked: led back, every run agrees. */
#include <string.h>

#include "model.h"
#include "recurc/rc_solve.h"
#include "test.h"

static const uint8_t puzzle[CELLS] = {1, 2, 3, 0, 1, 2, 3, 0};

/* Answer the puzzle; whether it came out as told. */
static int answered(rc_ctx_t *ctx, const rc_policy_t *policy, uint32_t solved, uint32_t steps, uint32_t run,
                    float margin)
{
    rc_solver_t solver;
    CHECK(rc_solve(&solver, ctx, policy, puzzle, 0) == RC_OK && solver.done == 1u);
    CHECK(memcmp(solver.answer, puzzle, CELLS) == 0);
    CHECK(rc_solve_step(&solver) == RC_ERR_STATE);
    return solver.solved == solved && solver.steps == steps && solver.answer_run == run && solver.margin == margin;
}

int main(void)
{
    static _Alignas(64) uint8_t arena[ARENA_BYTES];
    rc_ctx_t ctx = {0};
    rc_solver_t solver;
    rc_policy_t policy = {.steps = 3, .restart_steps = 2, .restarts = 9, .patience = 0, .threshold = 1.5f};
    CHECK(rc_open(&ctx, test_image, sizeof test_image, arena, sizeof arena, 0) == RC_OK);
    CHECK(answered(&ctx, &policy, 1, 2, 0, 2.0f)); /* the margin is the number of steps of the run */
    policy.patience = 2;
    CHECK(answered(&ctx, &policy, 1, 3, 0, 3.0f));
    policy.threshold = 3.0f;
    CHECK(answered(&ctx, &policy, 0, 3u + FORMS * 2u, 0, 3.0f)); /* unsure: the surest run answers */
    policy.restart_steps = STEPS;
    CHECK(answered(&ctx, &policy, 1, 3u + 4u, 1, 4.0f));
    policy.accept = RC_ACCEPT_AGREEMENT;
    policy.threshold = 99.0f;
    CHECK(answered(&ctx, &policy, 1, 3u + STEPS, 1, (float)STEPS));
    policy.accept = RC_ACCEPT_VOTE; /* two of three runs are more than half */
    CHECK(answered(&ctx, &policy, 1, 3u + STEPS, 1, (float)STEPS));
    policy.restarts = 0;
    CHECK(answered(&ctx, &policy, 0, 3, 0, 3.0f));
    policy.steps = STEPS + 1u;
    CHECK(rc_solve_begin(&solver, &ctx, &policy, puzzle, 0) == RC_ERR_STEPS);
    policy.steps = 0;
    CHECK(rc_solve_begin(&solver, &ctx, &policy, puzzle, 0) == RC_ERR_ARGUMENT);
    policy.steps = 1;
    CHECK(rc_solve_begin(&solver, &ctx, &policy, puzzle, 1) == RC_ERR_PUZZLE);
    return verdict();
}
