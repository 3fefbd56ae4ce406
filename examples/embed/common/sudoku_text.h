/* SPDX-License-Identifier: Apache-2.0 */
/* Sudokus as text: one character a cell, '.' for an empty one. Their tokens are 1 for empty and digit + 1. */
#ifndef SUDOKU_TEXT_H
#define SUDOKU_TEXT_H

#include <stdint.h>

static inline void tokens_of(const char *text, uint8_t *tokens, uint32_t cells)
{
    for (uint32_t i = 0; i < cells; i++) {
        tokens[i] = (uint8_t)(text[i] == '.' ? 1 : text[i] - '0' + 1);
    }
}

static inline char digit_of(uint8_t token)
{
    return (char)(token > 1u ? '0' + token - 1 : '.');
}

#endif
