/* SPDX-License-Identifier: Apache-2.0 */
/* Two slots for signed images, and the counter behind which there is no way back. Your product has this file and slots.c
 * as they are, with a flash.c of its own. */
#ifndef SLOTS_H
#define SLOTS_H

#include <stdint.h>

#include "flash.h"
#include "sudoku.h"

#define SIGNATURE_BYTES 64u
#define SIGNED_BYTES    (SUDOKU_IMAGE_BYTES + SIGNATURE_BYTES) /* of an update: the image, then its signature */
#define SLOT_BYTES      ((SIGNED_BYTES + FLASH_SECTOR - 1u) / FLASH_SECTOR * FLASH_SECTOR)
#define SLOTS_FLASH     (2u * SLOT_BYTES + 2u * FLASH_SECTOR) /* two slots, two sectors for the least counter */

/* What the program starts with. */
typedef struct {
    const uint8_t *image; /* the good one; null: there is none */
    uint32_t slot;        /* in which it is */
    uint32_t least;       /* of counters: what is below is refused */
    sudoku_status_t told[2];
} slots_t;

/* Look which image is the good one, at every start. `flash` is where SLOTS_FLASH bytes of it can be read. */
sudoku_status_t slots_choose(slots_t *slots, const uint8_t *flash, const sudoku_options_t *options);

/* Write an update into the slot that is not in use; then choose anew. -1: it is no update, or flash failed. */
int slots_install(const slots_t *slots, const uint8_t *flash, const uint8_t *update, uint32_t bytes);

#endif
