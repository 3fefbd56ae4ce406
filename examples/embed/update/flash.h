/* SPDX-License-Identifier: Apache-2.0 */
/* Flash as a program sees it, here a file: it is read as memory, erased in sectors to 0xFF, and written. */
#ifndef FLASH_H
#define FLASH_H

#include <stdint.h>

#define FLASH_SECTOR 0x20000u

/* Bytes that can still be written before the power is lost, as in a test of what happens then. */
extern uint32_t flash_power;

/* Open the file, or make one of erased flash. Null: it cannot be. */
const uint8_t *flash_open(const char *file, uint32_t bytes);

/* 0: done. Ends the program where the power is lost. */
int flash_erase(uint32_t at, uint32_t bytes);
int flash_write(uint32_t at, const uint8_t *data, uint32_t bytes);

#endif
