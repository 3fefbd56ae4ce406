/* SPDX-License-Identifier: Apache-2.0 */
/* A product that answers a sudoku: what it is sure of, and what it is not. */
#include <stdio.h>

#include "puzzle.h"
#include "sudoku_text.h"

static uint8_t arena[SUDOKU_ARENA_BYTES] __attribute__((aligned(SUDOKU_ARENA_ALIGN)));
static sudoku_ctx_t model;
static uint32_t beats;

/* About every 2 ms of work: a product feeds its watchdog here. */
static uint32_t alive(void *user)
{
    *(uint32_t *)user += 1u;
    return 0u;
}

int main(void)
{
    const sudoku_options_t options = {0u, alive, &beats};
    const sudoku_policy_t policy = SUDOKU_POLICY;
    sudoku_solver_t solver;
    uint8_t puzzle[SUDOKU_SEQ_LEN];

    sudoku_status_t status = sudoku_open(&model, sudoku_weights(), SUDOKU_IMAGE_BYTES, arena, sizeof arena, &options);
    tokens_of(PUZZLE, puzzle, SUDOKU_SEQ_LEN);
    if (status == SUDOKU_OK) {
        status = sudoku_solve(&solver, &model, &policy, puzzle, 0u);
    }
    if (status != SUDOKU_OK) {
        printf("%s\n", sudoku_status_text(status));
        return 1;
    }
    printf("puzzle  %s\nanswer  ", PUZZLE);
    for (uint32_t i = 0; i < SUDOKU_SEQ_LEN; i++) {
        putchar(digit_of(solver.answer[i]));
    }
    printf("\n%s after %u steps, the hook was called %s\n", solver.solved != 0u ? "sure" : "not sure",
           (unsigned)solver.steps, beats > 10u ? "all the time" : "too seldom");
    return 0;
}
