/* SPDX-License-Identifier: Apache-2.0 */
/* Solves the sudokus that it is given as text. Exit status: 0 sure of all, 1 not sure of one, 2 no sudoku. */
#include <stdio.h>
#include <string.h>

#include "../common/sudoku_text.h"
#include "sudoku.h"

static uint8_t arena[SUDOKU_ARENA_BYTES] __attribute__((aligned(SUDOKU_ARENA_ALIGN)));

int main(int argc, char **argv)
{
    const sudoku_policy_t policy = SUDOKU_POLICY;
    sudoku_ctx_t model;
    int unsure = 0;
    if (sudoku_open(&model, sudoku_weights(), SUDOKU_IMAGE_BYTES, arena, sizeof arena, 0) != SUDOKU_OK) {
        return 2;
    }
    for (int n = 1; n < argc; n++) {
        uint8_t puzzle[SUDOKU_SEQ_LEN];
        sudoku_solver_t solver;
        if (strlen(argv[n]) != SUDOKU_SEQ_LEN || strspn(argv[n], ".123456789") != SUDOKU_SEQ_LEN) {
            fprintf(stderr, "%s: not %u cells of . and digits\n", argv[n], (unsigned)SUDOKU_SEQ_LEN);
            return 2;
        }
        tokens_of(argv[n], puzzle, SUDOKU_SEQ_LEN);
        const sudoku_status_t status = sudoku_solve(&solver, &model, &policy, puzzle, 0u);
        if (status != SUDOKU_OK) {
            fprintf(stderr, "%s: %s\n", argv[n], sudoku_status_text(status));
            return 2;
        }
        for (uint32_t i = 0; i < SUDOKU_SEQ_LEN; i++) {
            putchar(digit_of(solver.answer[i]));
        }
        printf(" %s, %u steps\n", solver.solved != 0u ? "sure" : "not sure", (unsigned)solver.steps);
        unsure |= solver.solved == 0u;
    }
    return unsure;
}
