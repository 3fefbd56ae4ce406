/* SPDX-License-Identifier: Apache-2.0 */
/* FLASH: starts and answers a puzzle. FLASH install FILE [BYTES]: before that, an update; after so many bytes the power is
 * lost. Exit status: 0 it has answered, 1 no image is good, 2 the command line, 3 the power was lost. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../common/puzzle.h"
#include "../common/sudoku_text.h"
#include "slots.h"

static uint8_t arena[SUDOKU_ARENA_BYTES] __attribute__((aligned(SUDOKU_ARENA_ALIGN)));
static uint8_t update[SIGNED_BYTES + 1u];

static int install(const char *name, const uint8_t *flash)
{
    slots_t slots;
    FILE *const file = fopen(name, "rb");
    if (file == 0) {
        return -1;
    }
    const size_t bytes = fread(update, 1u, sizeof update, file);
    (void)fclose(file);
    (void)slots_choose(&slots, flash, 0);
    return slots_install(&slots, flash, update, (uint32_t)bytes);
}

static sudoku_status_t start(const uint8_t *flash)
{
    /* All has just been checked: the checksums need not be computed once more. A product has a hook here, for its watchdog. */
    const sudoku_options_t options = {SUDOKU_OPEN_UNCHECKED, 0, 0};
    const sudoku_policy_t policy = SUDOKU_POLICY;
    static sudoku_ctx_t model;
    sudoku_solver_t solver;
    uint8_t puzzle[SUDOKU_SEQ_LEN];
    slots_t slots;

    sudoku_status_t status = slots_choose(&slots, flash, 0);
    for (unsigned i = 0; i < 2u; i++) {
        printf("slot %u  %s", i, slots.told[i] == SUDOKU_OK ? "good" : sudoku_status_text(slots.told[i]));
        if (slots.told[i] == SUDOKU_OK) {
            printf(", counter %u", (unsigned)sudoku_counter(flash + i * SLOT_BYTES));
        }
        printf("\n");
    }
    if (status == SUDOKU_OK) {
        status = sudoku_open(&model, slots.image, SUDOKU_IMAGE_BYTES, arena, sizeof arena, &options);
    }
    if (status == SUDOKU_OK) {
        status = sudoku_selftest(&model, 0u);
    }
    tokens_of(PUZZLE, puzzle, SUDOKU_SEQ_LEN);
    if (status == SUDOKU_OK) {
        status = sudoku_solve(&solver, &model, &policy, puzzle, 0u);
    }
    if (status == SUDOKU_OK) {
        printf("answer  ");
        for (uint32_t i = 0; i < SUDOKU_SEQ_LEN; i++) {
            putchar(digit_of(solver.answer[i]));
        }
        printf(" by slot %u\n", (unsigned)slots.slot);
    } else {
        printf("no answer: %s\n", sudoku_status_text(status));
    }
    return status;
}

int main(int argc, char **argv)
{
    const uint8_t *const flash = argc > 1 ? flash_open(argv[1], SLOTS_FLASH) : 0;
    if (flash == 0 || (argc > 2 && (argc < 4 || strcmp(argv[2], "install") != 0))) {
        fprintf(stderr, "usage: product FLASH [install FILE [BYTES]]\n");
        return 2;
    }
    if (argc > 4) {
        flash_power = (uint32_t)strtoul(argv[4], 0, 10);
    }
    if (argc > 3 && install(argv[3], flash) != 0) {
        fprintf(stderr, "%s: no update for this product\n", argv[3]);
        return 2;
    }
    return start(flash) == SUDOKU_OK ? 0 : 1;
}
