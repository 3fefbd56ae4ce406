/* rc_table.c under the sanitizers: reads cases from standard input, each in a block of exactly its size so that a byte
 * read beyond it is seen, and writes what came out. A case: 7 words {kind, rows, dim, dtype, record bytes, index, n},
 * key[16], n bytes. Kinds: 0 rc_table_check, 1 rc_table_decode, 2 rc_table_record. An answer: a word (status, or the
 * record's offset, all ones for none), and the row where decoding went well. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "recurc/rc_table.h"

static void put(const void *data, size_t n)
{
    if (fwrite(data, 1, n, stdout) != n) {
        exit(3);
    }
}

int main(void)
{
    uint32_t w[7];
    while (fread(w, 1, sizeof w, stdin) == sizeof w) {
        uint8_t *key = malloc(RC_TABLE_KEY_BYTES), *data = malloc(w[6] + 1u);
        float *row = malloc((w[2] + 1u) * sizeof(float));
        if (fread(key, 1, RC_TABLE_KEY_BYTES, stdin) != RC_TABLE_KEY_BYTES || fread(data + 1, 1, w[6], stdin) != w[6]) {
            return 2;
        }
        const uint8_t *at = data + 1; /* at no alignment at all */
        const rc_table_spec_t spec = {w[1], w[2], w[3], w[4], key};
        uint32_t answer = 0xFFFFFFFFu;
        if (w[0] == 0u) {
            answer = (uint32_t)rc_table_check(at, w[6], &spec);
        } else if (w[0] == 1u) {
            memset(row, 0x5A, w[2] * sizeof(float));
            answer = (uint32_t)rc_table_decode(at, w[5], &spec, row);
        } else {
            const uint8_t *record = rc_table_record(at, &spec, w[5]);
            answer = record == 0 ? answer : (uint32_t)(record - at);
        }
        put(&answer, sizeof answer);
        if (w[0] == 1u) {
            put(row, w[2] * sizeof(float));
        }
        free(key);
        free(data);
        free(row);
    }
    const rc_table_spec_t none = {1, 1, 0, 8, 0};
    float value;
    if (rc_table_check(0, 0, &none) != RC_ERR_ARGUMENT ||
        rc_table_check((const uint8_t *)&none, 4, 0) != RC_ERR_ARGUMENT ||
        rc_table_decode(0, 0, &none, &value) != RC_ERR_ARGUMENT ||
        rc_table_decode((const uint8_t *)&none, 0, &none, &value) != RC_ERR_ARGUMENT ||
        rc_table_record(0, &none, 0) != 0) {
        return 4;
    }
    return 0;
}
