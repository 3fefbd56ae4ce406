/* SPDX-License-Identifier: Apache-2.0 */
#include "recurc/rc_guard.h"

#include "recurc/rc_solve.h"

#include <string.h>

/* A grid of colours lies at the upper left of a square canvas, with ends under it and right of it. A row of the puzzle table
 * has a record: the next row of the same task, how it turns the task's grids, and how it calls their colours. Nothing of
 * that is believed: an image with good checksums may be anybody's. */

enum { PAD = 0u, END = 1u, FIRST = 2u, COLOURS = 10u }; /* tokens; colour c is token c + FIRST */
enum { SWAP = 1u, UP = 2u, LEFT = 4u, TURNS = 8u };     /* rows become columns; told from below; told from the right */
enum { TURN_AT = 4u, COLOURS_AT = 5u, RECORD = 16u };

static const uint8_t *record_of(const uint8_t *rows, uint32_t row)
{
    return rows + row * RECORD;
}

static uint32_t side_of_canvas(void)
{
    uint32_t side = 1u;
    while (side * side < rc_info.seq_len) {
        side++;
    }
    return side;
}

static uint32_t is_colour(uint8_t token)
{
    return token >= FIRST && token < FIRST + COLOURS ? 1u : 0u;
}

/* The largest rectangle of colours at the upper left, the first of equal ones. */
static void size_of(const uint8_t *tokens, uint32_t side, uint32_t *rows, uint32_t *columns)
{
    uint32_t width = side;
    *rows = 0u;
    *columns = 0u;
    for (uint32_t i = 0; i < side && width != 0u; i++) {
        uint32_t j = 0;
        while (j < width && is_colour(tokens[i * side + j]) != 0u) {
            j++;
        }
        width = j;
        if ((i + 1u) * width > *rows * *columns) {
            *rows = i + 1u;
            *columns = width;
        }
    }
}

/* How each colour of one row is called by another; both have to call all of them differently. */
static rc_status_t names_of(const uint8_t *from, const uint8_t *to, uint8_t *names)
{
    uint32_t seen = 0;
    for (uint32_t c = 0; c < COLOURS; c++) {
        const uint32_t one = from[COLOURS_AT + c], other = to[COLOURS_AT + c];
        if (one >= COLOURS || other >= COLOURS) {
            return RC_ERR_IMAGE_SECTION;
        }
        names[one] = (uint8_t)other;
        seen |= 1u << one;
        seen |= 1u << (COLOURS + other);
    }
    const uint32_t all = (1u << (2u * COLOURS)) - 1u;
    return seen == all && from[TURN_AT] < TURNS && to[TURN_AT] < TURNS ? RC_OK : RC_ERR_IMAGE_SECTION;
}

static void swap(uint32_t *a, uint32_t *b)
{
    const uint32_t other = *a;
    *a = *b;
    *b = other;
}

/* A place of the task's grid, told from the other ends. */
static void flip(uint32_t turn, uint32_t rows, uint32_t columns, uint32_t *i, uint32_t *j)
{
    *i = (turn & UP) != 0u ? rows - 1u - *i : *i;
    *j = (turn & LEFT) != 0u ? columns - 1u - *j : *j;
}

static rc_status_t grids_lead(const uint8_t *rows, uint32_t from, uint32_t to, const uint8_t *tokens, uint8_t *out)
{
    const uint8_t *one = record_of(rows, from), *other = record_of(rows, to);
    const uint32_t side = side_of_canvas();
    uint8_t names[COLOURS] = {0};
    uint32_t height = 0, width = 0; /* of the task's grid, then of the one that is led to */
    const rc_status_t status = names_of(one, other, names);
    if (status != RC_OK) {
        return status;
    }
    size_of(tokens, side, &height, &width);
    if ((one[TURN_AT] & SWAP) != 0u) {
        swap(&height, &width);
    }
    const uint32_t task_height = height, task_width = width;
    if ((other[TURN_AT] & SWAP) != 0u) {
        swap(&height, &width);
    }
    memset(out, (int)PAD, rc_info.seq_len);
    for (uint32_t i = 0; i < height; i++) {
        for (uint32_t j = 0; j < width; j++) {
            uint32_t a = i, b = j;
            if ((other[TURN_AT] & SWAP) != 0u) {
                swap(&a, &b);
            }
            flip(other[TURN_AT], task_height, task_width, &a, &b);
            flip(one[TURN_AT], task_height, task_width, &a, &b);
            if ((one[TURN_AT] & SWAP) != 0u) {
                swap(&a, &b);
            }
            out[i * side + j] = (uint8_t)(names[tokens[a * side + b] - FIRST] + FIRST);
        }
    }
    for (uint32_t j = 0; j < width && height < side; j++) {
        out[height * side + j] = (uint8_t)END;
    }
    for (uint32_t i = 0; i < height && width < side; i++) {
        out[i * side + width] = (uint8_t)END;
    }
    return RC_OK;
}

static rc_status_t grids_after(const uint8_t *rows, uint32_t row, uint32_t *next)
{
    const uint8_t *r = record_of(rows, row);
    *next = r[0] | (uint32_t)r[1] << 8 | (uint32_t)r[2] << 16 | (uint32_t)r[3] << 24;
    return *next < rc_info.puzzles ? RC_OK : RC_ERR_IMAGE_SECTION;
}

/* Whether a canvas shows a grid with its ends, and nothing beyond. */
static uint32_t is_grid(const uint8_t *tokens)
{
    const uint32_t side = side_of_canvas();
    uint32_t rows = 0, columns = 0;
    size_of(tokens, side, &rows, &columns);
    for (uint32_t i = 0; i < side; i++) {
        for (uint32_t j = 0; j < side; j++) {
            const uint32_t within = i < rows && j < columns ? 1u : 0u;
            const uint32_t end = (i == rows && j < columns) || (j == columns && i < rows) ? END : PAD;
            if (within == 0u && tokens[i * side + j] != end) {
                return 0u;
            }
        }
    }
    return 1u;
}

static rc_status_t grids_count(const uint8_t *rows, const uint8_t *puzzle, uint32_t row, uint32_t most, uint32_t *found)
{
    uint32_t next = row, forms = 0;
    rc_status_t status = is_grid(puzzle) != 0u ? grids_after(rows, row, &next) : RC_OK;
    while (status == RC_OK && next != row && forms < most) {
        forms++;
        status = grids_after(rows, next, &next);
    }
    *found = forms;
    return status;
}

const rc_grids_t rc_grids = {grids_count, grids_after, grids_lead};
