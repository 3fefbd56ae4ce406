/* The puzzle table reader: headers and records of any bytes, their checksums made right when the first byte says so. A row
 * that is accepted is finite, and one that is refused leaves the last row as it was. */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "recurc/rc_crc32.h"
#include "recurc/rc_table.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define DIM  9u
#define ROWS 3u

static const uint8_t KEY[RC_TABLE_KEY_BYTES] = {3, 1, 4, 1, 5, 9};

static void put_crc(uint8_t *p, uint32_t crc)
{
    memcpy(p, &crc, sizeof crc);
}

static void try_record(const rc_table_spec_t *spec, const uint8_t *data, size_t size, uint32_t index, uint32_t right)
{
    uint8_t *record = malloc(spec->record_bytes);
    float row[DIM], before[DIM];
    memset(record, 0, spec->record_bytes);
    memcpy(record, data, size < spec->record_bytes ? size : spec->record_bytes);
    if (right != 0u) {
        uint32_t crc = rc_crc32(0, KEY, sizeof KEY);
        crc = rc_crc32(crc, &index, sizeof index);
        put_crc(record + spec->record_bytes - 4u, rc_crc32(crc, record, spec->record_bytes - 4u));
    }
    for (uint32_t i = 0; i < DIM; i++) {
        row[i] = before[i] = (float)i;
    }
    rc_status_t status = rc_table_decode(record, index, spec, row);
    if (status != RC_OK && memcmp(row, before, sizeof row) != 0) {
        abort();
    }
    for (uint32_t i = 0; i < DIM && status == RC_OK; i++) {
        if (!isfinite(row[i])) {
            abort();
        }
    }
    free(record);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const rc_table_spec_t SPECS[2] = {{ROWS, DIM, RC_TABLE_F32, 4u * DIM + 4u, KEY},
                                             {ROWS, DIM, RC_TABLE_I8, 4u + 12u + 4u, KEY}};
    if (size < 2u) {
        return 0;
    }
    const rc_table_spec_t *spec = &SPECS[data[0] & 1u];
    uint32_t right = data[0] & 2u;
    if ((data[0] & 4u) != 0u) {
        try_record(spec, data + 2, size - 2u, data[1] & 3u, right);
        return 0;
    }
    /* A good header with changes, in memory that ends where it says. */
    uint32_t whole = RC_TABLE_HEADER_BYTES + ROWS * spec->record_bytes;
    uint32_t bytes = data[1] < 200u ? whole : whole - (data[1] - 200u) * 3u;
    uint8_t *table = malloc(whole), *cut = malloc(bytes);
    rc_table_header_t h;
    memset(&h, 0, sizeof h);
    h.magic = RC_TABLE_MAGIC;
    h.endian = RC_TABLE_ENDIAN;
    h.version_major = RC_TABLE_VERSION;
    h.dtype = spec->dtype;
    h.rows = ROWS;
    h.dim = DIM;
    h.record_bytes = spec->record_bytes;
    h.total_low = whole;
    memcpy(h.key, KEY, sizeof KEY);
    memset(table, 0, whole);
    memcpy(table, &h, sizeof h);
    for (size_t i = 2; i + 2u <= size; i += 2u) {
        uint32_t at = data[i] % (RC_TABLE_HEADER_BYTES - 4u);
        table[at] = data[i + 1u];
    }
    rc_table_header_t now;
    memcpy(&now, table, sizeof now);
    now.version_minor = h.version_minor; /* a minor may differ, and so may what is reserved */
    int changed = memcmp(&now, &h, offsetof(rc_table_header_t, reserved)) != 0;
    put_crc(table + RC_TABLE_HEADER_BYTES - 4u, rc_crc32(right != 0u ? 0u : 1u, table, RC_TABLE_HEADER_BYTES - 4u));
    memcpy(cut, table, bytes);
    rc_status_t status = rc_table_check(cut, bytes, spec);
    if (status == RC_OK && (right == 0u || bytes != whole || changed != 0)) {
        abort();
    }
    for (uint32_t index = 0; index < 5u && status == RC_OK; index++) {
        const uint8_t *record = rc_table_record(cut, spec, index);
        if ((record == 0) != (index >= ROWS)) {
            abort();
        }
        float row[DIM];
        if (record != 0) {
            (void)rc_table_decode(record, index, spec, row);
        }
    }
    free(cut);
    free(table);
    return 0;
}
