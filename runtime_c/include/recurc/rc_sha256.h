/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256 (FIPS 180-4), a piece at a time: what is hashed may come in any pieces, and work on a piece is bounded by its
 * length. No memory but the caller's. */
#ifndef RECURC_SHA256_H
#define RECURC_SHA256_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define RC_SHA256_BYTES 32u
#define RC_SHA256_BLOCK 64u

/* A hash under way. The fields are private to rc_sha256.c. */
typedef struct {
    uint32_t state[8];
    uint64_t length; /* bytes so far */
    uint8_t block[RC_SHA256_BLOCK];
} rc_sha256_t;

/* Begin a hash. */
void rc_sha256_init(rc_sha256_t *hash);

/* Add `n` bytes, from any address. */
void rc_sha256_update(rc_sha256_t *hash, const void *data, uint32_t n);

/* End the hash; `hash` must be begun anew before it is used again. */
void rc_sha256_final(rc_sha256_t *hash, uint8_t digest[RC_SHA256_BYTES]);

#ifdef __cplusplus
}
#endif

#endif
