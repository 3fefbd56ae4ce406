/* SPDX-License-Identifier: Apache-2.0 */
/* Two slots for an image: an update is written to the one that is not in use, and the better one is opened. */
#ifndef RECURC_CHOOSE_H
#define RECURC_CHOOSE_H

#include <stdint.h>

#include "recurc/rc.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Says whether an image is to be believed: 1 yes, 0 no. `sha256` [32] is that of all `bytes` bytes of it, header included;
 * a signature of it lies where the program has put it, `slot` (0 or 1) says whose. */
typedef uint32_t (*rc_trust_t)(void *user, uint32_t slot, const uint8_t *sha256, const uint8_t *image, uint32_t bytes);

/* What rc_choose asks of an image beyond what rc_open does; all of it may be 0. */
typedef struct {
    uint32_t least;   /* of its counter; the program keeps it, and raises it where there shall be no way back */
    rc_trust_t trust; /* null: none is asked */
    void *user;       /* what it is called with */
} rc_choice_t;

/* Of two images of rc_info.image_bytes bytes, `slots` [2], the one to open: that which is good, and of two good ones that
 * with the higher counter, the first one where they are equal. A slot may be null. Writes the image to `chosen` and, where
 * `told` is no null, what is wrong with each slot to told[2]. `choice` and `options` may be null; flags of `options` count
 * for nothing, all is checked.
 * Else the status of the first slot, of the second one where the first is null: as of rc_open; RC_ERR_IMAGE_ROLLBACK: its
 * counter is below the least; RC_ERR_IMAGE_SIGNATURE: it is not trusted. RC_ERR_ARGUMENT: both are null. RC_ERR_CANCELLED:
 * the hook did. */
rc_status_t rc_choose(const uint8_t *const *slots, const rc_choice_t *choice, const rc_options_t *options,
                      const uint8_t **chosen, rc_status_t *told);

/* The counter of an image that rc_choose has found good. Of other bytes: whatever stands there. */
static inline uint32_t rc_counter(const uint8_t *image)
{
    return (uint32_t)image[88] | (uint32_t)image[89] << 8 | (uint32_t)image[90] << 16 | (uint32_t)image[91] << 24;
}

#ifdef __cplusplus
}
#endif

#endif
