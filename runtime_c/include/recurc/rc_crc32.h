/* SPDX-License-Identifier: Apache-2.0 */
/* CRC-32 as zlib computes it (polynomial 0xEDB88320 reflected, initial and final inversion). */
#ifndef RECURC_CRC32_H
#define RECURC_CRC32_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* CRC of `n` bytes, continuing from `crc`; start with 0. */
uint32_t rc_crc32(uint32_t crc, const void *data, uint32_t n);

#ifdef __cplusplus
}
#endif

#endif
