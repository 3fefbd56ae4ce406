/* SPDX-License-Identifier: Apache-2.0 */
#include "recurc/rc_guard.h"

#include "recurc/rc_table.h"

#include <string.h>

#include "recurc/rc_crc32.h"

#define SCALE_BYTES  4u
#define CRC_BYTES    4u
#define MAX_DIM      0x10000000u /* keeps 4 * dim + 8 within 32 bits */
#define F32_EXPONENT 0x7F800000u /* all ones: infinity or NaN */
#define F32_LARGEST  0x1.fffffep127f

static uint32_t word_at(const uint8_t *p)
{
    uint32_t word;
    memcpy(&word, p, sizeof word);
    return word;
}

/* Bytes of a record by type and length; 0 for what no table has. */
static uint32_t record_bytes(uint32_t dtype, uint32_t dim)
{
    if (dim == 0u || dim > MAX_DIM) {
        return 0;
    }
    switch (dtype) {
    case RC_TABLE_F32:
        return 4u * dim + CRC_BYTES;
    case RC_TABLE_I8:
        return SCALE_BYTES + (dim + 3u) / 4u * 4u + CRC_BYTES;
    default:
        return 0;
    }
}

static int spec_is_good(const rc_table_spec_t *spec)
{
    return spec != 0 && spec->key != 0 && spec->record_bytes != 0u &&
           spec->record_bytes == record_bytes(spec->dtype, spec->dim);
}

rc_status_t rc_table_check(const uint8_t *table, uint32_t bytes, const rc_table_spec_t *spec)
{
    if (table == 0 || !spec_is_good(spec)) {
        return RC_ERR_ARGUMENT;
    }
    if (bytes < RC_TABLE_HEADER_BYTES) {
        return RC_ERR_TABLE;
    }
    rc_table_header_t h;
    memcpy(&h, table, sizeof h);
    if (h.magic != RC_TABLE_MAGIC || h.endian != RC_TABLE_ENDIAN ||
        h.header_crc != rc_crc32(0, table, RC_TABLE_HEADER_BYTES - CRC_BYTES)) {
        return RC_ERR_TABLE;
    }
    if (h.version_major != RC_TABLE_VERSION || (h.flags & ~RC_TABLE_KNOWN_FLAGS) != 0u) {
        return RC_ERR_TABLE;
    }
    if (h.dtype != spec->dtype || h.rows != spec->rows || h.dim != spec->dim || h.record_bytes != spec->record_bytes ||
        memcmp(h.key, spec->key, sizeof h.key) != 0) {
        return RC_ERR_TABLE;
    }
    const uint64_t total = RC_TABLE_HEADER_BYTES + (uint64_t)spec->rows * spec->record_bytes;
    if (h.total_low != (uint32_t)total || h.total_high != (uint32_t)(total >> 32) || total > bytes) {
        return RC_ERR_TABLE;
    }
    return RC_OK;
}

const uint8_t *rc_table_record(const uint8_t *table, const rc_table_spec_t *spec, uint32_t index)
{
    if (table == 0 || spec == 0 || index >= spec->rows) {
        return 0;
    }
    return table + RC_TABLE_HEADER_BYTES + (size_t)index * spec->record_bytes;
}

static uint32_t record_crc(const uint8_t *record, uint32_t index, const rc_table_spec_t *spec)
{
    uint32_t crc = rc_crc32(0, spec->key, RC_TABLE_KEY_BYTES);
    crc = rc_crc32(crc, &index, sizeof index); /* little-endian, as all targets are */
    return rc_crc32(crc, record, spec->record_bytes - CRC_BYTES);
}

static rc_status_t decode_f32(const uint8_t *values, uint32_t dim, float *row)
{
    for (uint32_t i = 0; i < dim; i++) {
        if ((word_at(values + 4u * i) & F32_EXPONENT) == F32_EXPONENT) {
            return RC_ERR_ROW;
        }
    }
    memcpy(row, values, (size_t)dim * sizeof(float));
    return RC_OK;
}

static rc_status_t decode_i8(const uint8_t *record, uint32_t dim, float *row)
{
    float scale;
    memcpy(&scale, record, sizeof scale);
    if (!(scale >= 0.0f && scale * 128.0f <= F32_LARGEST)) { /* NaN fails every comparison */
        return RC_ERR_ROW;
    }
    const uint8_t *values = record + SCALE_BYTES;
    for (uint32_t i = 0; i < dim; i++) {
        const int32_t q = values[i] < 128u ? (int32_t)values[i] : (int32_t)values[i] - 256;
        row[i] = (float)q * scale;
    }
    return RC_OK;
}

rc_status_t rc_table_decode(const uint8_t *record, uint32_t index, const rc_table_spec_t *spec, float *row)
{
    if (record == 0 || row == 0 || !spec_is_good(spec)) {
        return RC_ERR_ARGUMENT;
    }
    if (index >= spec->rows) {
        return RC_ERR_PUZZLE;
    }
    if (word_at(record + spec->record_bytes - CRC_BYTES) != record_crc(record, index, spec)) {
        return RC_ERR_ROW;
    }
    return spec->dtype == RC_TABLE_F32 ? decode_f32(record, spec->dim, row) : decode_i8(record, spec->dim, row);
}
