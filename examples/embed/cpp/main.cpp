/* SPDX-License-Identifier: Apache-2.0 */
/* Two models in one program, in C++: both solve the same 4x4 sudoku, one after the other, in one arena. */
#include <algorithm>
#include <cstdio>
#include <string>

#include "../common/sudoku_text.h"
#include "solver.h"
#include "sudoku.h"

static_assert(SUDOKU_SEQ_LEN == SOLVER_SEQ_LEN, "both are asked the same puzzle");

namespace
{

constexpr std::size_t bytes = SUDOKU_ARENA_BYTES > SOLVER_ARENA_BYTES ? SUDOKU_ARENA_BYTES : SOLVER_ARENA_BYTES;
alignas(SUDOKU_ARENA_ALIGN) std::uint8_t arena[bytes];

std::string text_of(const std::uint8_t *answer)
{
    std::string text(SUDOKU_SEQ_LEN, '.');
    std::transform(answer, answer + SUDOKU_SEQ_LEN, text.begin(), digit_of);
    return text;
}

} // namespace

int main(int argc, char **argv)
{
    const std::string puzzle = argc > 1 ? argv[1] : "..4..4.221....2.";
    if (puzzle.size() != SUDOKU_SEQ_LEN) {
        return 2;
    }
    std::uint8_t tokens[SUDOKU_SEQ_LEN];
    tokens_of(puzzle.c_str(), tokens, SUDOKU_SEQ_LEN);

    sudoku_ctx_t one;
    sudoku_solver_t first;
    const sudoku_policy_t policy = SUDOKU_POLICY;
    if (sudoku_open(&one, sudoku_weights(), SUDOKU_IMAGE_BYTES, arena, sizeof arena, nullptr) != SUDOKU_OK ||
        sudoku_solve(&first, &one, &policy, tokens, 0) != SUDOKU_OK) {
        return 1;
    }
    std::printf("%s %s\n", text_of(first.answer).c_str(), first.solved ? "sure" : "not sure");

    solver_ctx_t two; /* takes the arena: the first model would begin anew */
    solver_solver_t second;
    const solver_policy_t other = SOLVER_POLICY;
    if (solver_open(&two, solver_weights(), SOLVER_IMAGE_BYTES, arena, sizeof arena, nullptr) != SOLVER_OK ||
        solver_solve(&second, &two, &other, tokens, 0) != SOLVER_OK) {
        return 1;
    }
    std::printf("%s %s\n", text_of(second.answer).c_str(), second.solved ? "sure" : "not sure");
    return 0;
}
