/* SPDX-License-Identifier: Apache-2.0 */
/* The puzzle that the programs on a microcontroller answer, for the model that the library is of. */
#ifndef PUZZLE_H
#define PUZZLE_H

#include "sudoku.h"

#if SUDOKU_SEQ_LEN == 81u
#define PUZZLE "53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79"
#elif SUDOKU_SEQ_LEN == 16u
#define PUZZLE "..4..4.221....2."
#else
#error "give a puzzle of your own"
#endif

#endif
