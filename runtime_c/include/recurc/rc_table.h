/* SPDX-License-Identifier: Apache-2.0 */
/* The puzzle table (SPEC.md, "Puzzle table file"): one record a puzzle, each with a CRC over the model's key, the
 * puzzle's index and the row, so that a flipped bit, another model's record and a swapped record are all found. */
#ifndef RECURC_TABLE_H
#define RECURC_TABLE_H

#include <stdint.h>

#include "recurc/rc_compiler.h"
#include "recurc/rc_status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define RC_TABLE_MAGIC        0x31544352u /* "RCT1" read little-endian */
#define RC_TABLE_ENDIAN       0x01020304u
#define RC_TABLE_VERSION      1u /* major; minors only use bytes that are reserved now */
#define RC_TABLE_KNOWN_FLAGS  0u
#define RC_TABLE_HEADER_BYTES 128u
#define RC_TABLE_KEY_BYTES    16u

/* Stored type of a row. */
#define RC_TABLE_F32 0u
#define RC_TABLE_I8  1u /* int8 values with one f32 scale before them */

typedef struct {
    uint32_t magic;
    uint32_t endian;
    uint16_t version_major;
    uint16_t version_minor;
    uint32_t flags;
    uint32_t dtype;
    uint32_t rows;
    uint32_t dim;
    uint32_t record_bytes;
    uint32_t total_low, total_high; /* size of the file, 64 bits */
    uint8_t key[RC_TABLE_KEY_BYTES];
    uint32_t reserved[17];
    uint32_t header_crc; /* of the 124 bytes before it */
} rc_table_header_t;

RC_STATIC_ASSERT(sizeof(rc_table_header_t) == RC_TABLE_HEADER_BYTES, "table header layout");

/* What the generated code expects of its table. */
typedef struct {
    uint32_t rows, dim;
    uint32_t dtype;        /* RC_TABLE_F32 or RC_TABLE_I8 */
    uint32_t record_bytes; /* [scale f32 with int8][row, padded to 4 bytes][crc u32] */
    const uint8_t *key;    /* RC_TABLE_KEY_BYTES bytes: which checkpoint, storage and factor */
} rc_table_spec_t;

/* Check the header of a memory-mapped table of at most `bytes` bytes (flash beyond the table's end may follow it):
 * RC_ERR_TABLE when it is not whole or not the one of `spec`. Records are checked when they are decoded. */
rc_status_t rc_table_check(const uint8_t *table, uint32_t bytes, const rc_table_spec_t *spec);

/* Address of a record in a table that rc_table_check found good; null when the index is out of range. */
const uint8_t *rc_table_record(const uint8_t *table, const rc_table_spec_t *spec, uint32_t index);

/* Check a record of spec->record_bytes bytes (any alignment) and write its row[spec->dim]. Nothing is written unless
 * all is well: RC_ERR_PUZZLE when the index is out of range; RC_ERR_ROW when the CRC is wrong for this key and index,
 * the scale is negative or not finite, or a value is not finite. */
rc_status_t rc_table_decode(const uint8_t *record, uint32_t index, const rc_table_spec_t *spec, float *row);

#ifdef __cplusplus
}
#endif

#endif
