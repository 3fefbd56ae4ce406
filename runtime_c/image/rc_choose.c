/* SPDX-License-Identifier: Apache-2.0 */
/* Which of two images is opened, and whether either may be. */
#include "recurc/rc_choose.h"

#include <string.h>

#include "recurc/rc_image.h"
#include "recurc/rc_sha256.h"

#define SLOTS 2u

/* Ask whether the image is trusted: it is read once for that. */
static rc_status_t ask(const uint8_t *image, uint32_t slot, uint32_t bytes, const rc_choice_t *choice,
                       const rc_options_t *options)
{
    uint8_t digest[RC_SHA256_BYTES];
    const rc_status_t status = rc_image_hash(image, 0u, bytes, options, digest);
    if (status != RC_OK) {
        return status;
    }
    return choice->trust(choice->user, slot, digest, image, bytes) == 1u ? RC_OK : RC_ERR_IMAGE_SIGNATURE;
}

/* What is wrong with an image; writes its counter where it is good. */
static rc_status_t judge(const uint8_t *image, uint32_t slot, const rc_image_spec_t *spec, const rc_choice_t *choice,
                         const rc_options_t *options, uint32_t *counter)
{
    rc_status_t status = rc_image_check(image, spec->total_bytes, spec, options);
    if (status != RC_OK) {
        return status;
    }
    rc_image_header_t header;
    memcpy(&header, image, sizeof header);
    if (choice != 0 && header.counter < choice->least) {
        return RC_ERR_IMAGE_ROLLBACK;
    }
    if (choice != 0 && choice->trust != 0) {
        status = ask(image, slot, spec->total_bytes, choice, options);
    }
    *counter = header.counter;
    return status;
}

rc_status_t rc_image_choose(const uint8_t *const *slots, const rc_image_spec_t *spec, const rc_choice_t *choice,
                            const rc_options_t *options, const uint8_t **chosen, rc_status_t *told)
{
    if (slots == 0 || spec == 0 || chosen == 0) {
        return RC_ERR_ARGUMENT;
    }
    rc_options_t checked = {0, 0, 0};
    if (options != 0) {
        checked = *options;
        checked.flags = 0;
    }
    rc_status_t status[SLOTS] = {RC_ERR_ARGUMENT, RC_ERR_ARGUMENT};
    uint32_t counter[SLOTS] = {0, 0};
    *chosen = 0;
    for (uint32_t i = 0; i < SLOTS && told != 0; i++) {
        told[i] = slots[i] != 0 ? RC_ERR_CANCELLED : RC_ERR_ARGUMENT; /* until it is judged */
    }
    for (uint32_t i = 0; i < SLOTS; i++) {
        if (slots[i] != 0) {
            status[i] = judge(slots[i], i, spec, choice, &checked, &counter[i]);
        }
        if (told != 0) {
            told[i] = status[i];
        }
        if (status[i] == RC_ERR_CANCELLED) {
            return RC_ERR_CANCELLED;
        }
    }
    if (status[0] != RC_OK && status[1] != RC_OK) {
        return slots[0] != 0 ? status[0] : status[1];
    }
    const uint32_t second = status[0] != RC_OK || (status[1] == RC_OK && counter[1] > counter[0]) ? 1u : 0u;
    *chosen = slots[second];
    return RC_OK;
}
