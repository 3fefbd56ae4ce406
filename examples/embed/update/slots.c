/* SPDX-License-Identifier: Apache-2.0 */
#include "slots.h"

#include <sodium.h>
#include <string.h>

#include "public_key.h"

#define LEAST_AT (2u * SLOT_BYTES)

/* A signature lies behind its image and is of the image's sha256. With Monocypher in place of libsodium:
 * crypto_ed25519_check(image + bytes, public_key, sha256, 32) == 0. */
static uint32_t is_signed(void *user, uint32_t slot, const uint8_t *sha256, const uint8_t *image, uint32_t bytes)
{
    (void)user;
    (void)slot;
    return crypto_sign_ed25519_verify_detached(image + bytes, sha256, 32u, public_key) == 0 ? 1u : 0u;
}

/* The least counter is kept twice, each time with its complement: while one is written the other one counts. */
static uint32_t least_in(const uint8_t *flash, uint32_t copy)
{
    uint32_t words[2];
    memcpy(words, flash + LEAST_AT + copy * FLASH_SECTOR, sizeof words);
    return words[0] == ~words[1] ? words[0] : 0u;
}

static int keep_least(const uint8_t *flash, uint32_t least)
{
    const uint32_t copy = least_in(flash, 0u) <= least_in(flash, 1u) ? 0u : 1u; /* the lower one may be lost */
    const uint32_t words[2] = {least, ~least};
    uint8_t bytes[sizeof words];
    memcpy(bytes, words, sizeof words);
    const uint32_t at = LEAST_AT + copy * FLASH_SECTOR;
    return flash_erase(at, FLASH_SECTOR) == 0 && flash_write(at, bytes, sizeof bytes) == 0 ? 0 : -1;
}

sudoku_status_t slots_choose(slots_t *slots, const uint8_t *flash, const sudoku_options_t *options)
{
    const uint8_t *const images[2] = {flash, flash + SLOT_BYTES};
    const uint32_t copies[2] = {least_in(flash, 0u), least_in(flash, 1u)};
    slots->least = copies[0] > copies[1] ? copies[0] : copies[1];
    const sudoku_choice_t choice = {slots->least, is_signed, 0};
    const sudoku_status_t status = sudoku_choose(images, &choice, options, &slots->image, slots->told);
    slots->slot = slots->image == images[1] ? 1u : 0u;
    return status;
}

int slots_install(const slots_t *slots, const uint8_t *flash, const uint8_t *update, uint32_t bytes)
{
    if (bytes != SIGNED_BYTES) {
        return -1;
    }
    /* There is no way back behind the image that runs now: it has proved itself. It stays as the one to fall back to. */
    const uint32_t counter = slots->image != 0 ? sudoku_counter(slots->image) : 0u;
    if (counter > slots->least && keep_least(flash, counter) != 0) {
        return -1;
    }
    const uint32_t at = slots->image != 0 && slots->slot == 0u ? SLOT_BYTES : 0u;
    return flash_erase(at, SLOT_BYTES) == 0 && flash_write(at, update, bytes) == 0 ? 0 : -1;
}
