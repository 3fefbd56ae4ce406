/* SPDX-License-Identifier: Apache-2.0 */
/* The known answer (SPEC.md, "Known answer"): a puzzle in the image, with a checksum of every step. */
#ifndef RECURC_KNOWN_H
#define RECURC_KNOWN_H

#include <stdint.h>

#include "recurc/rc.h"

#ifdef __cplusplus
extern "C" {
#endif

#define RC_KNOWN_HEAD_BYTES 16u

/* What the section "known" begins with; then one CRC-32 for each step that there is room for, and the puzzle's tokens. */
typedef struct {
    uint32_t puzzle;
    uint32_t steps;   /* whose checksums there are; 0: there is no known answer */
    uint32_t ops;     /* of the first step, that the reduced form runs */
    uint32_t reduced; /* CRC-32 of the carry after them */
} rc_known_t;

/* The head of an opened image's known answer. RC_ERR_STATE: not opened. RC_ERR_IMAGE_SECTION: it has none, or one with
 * other numbers of steps or ops than there can be. */
rc_status_t rc_known(const rc_ctx_t *ctx, rc_known_t *known);

/* CRC-32 over the carry as it is stored; within a step, also over the scales that it has only there. */
uint32_t rc_carry_crc(const rc_ctx_t *ctx);

#ifdef __cplusplus
}
#endif

#endif
