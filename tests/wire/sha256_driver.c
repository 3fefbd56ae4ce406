/* Reads cases from standard input: shift, length of a piece (0: all at once), bytes, each u32, then the bytes. Puts them
 * at `shift` from an aligned address, exactly up to the end of their memory, and writes their digest. */
#include "recurc/rc_sha256.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(void)
{
    uint32_t head[3];
    while (fread(head, sizeof head, 1, stdin) == 1) {
        const uint32_t shift = head[0], piece = head[1], n = head[2];
        uint8_t *room = malloc((size_t)shift + n + 1u), digest[RC_SHA256_BYTES];
        rc_sha256_t *hash = malloc(sizeof *hash);
        if (room == NULL || hash == NULL || fread(room + shift, 1, n, stdin) != n) {
            return 1;
        }
        uint8_t *data = realloc(room, (size_t)shift + n != 0u ? (size_t)shift + n : 1u);
        memset(hash, 0xA5, sizeof *hash);
        rc_sha256_init(hash);
        for (uint32_t at = 0, part = 0; at < n; at += part) {
            part = piece == 0u || n - at < piece ? n - at : piece;
            rc_sha256_update(hash, data + shift + at, part);
            rc_sha256_update(hash, data + shift + at, 0u);
        }
        rc_sha256_final(hash, digest);
        fwrite(digest, sizeof digest, 1, stdout);
        free(hash);
        free(data);
    }
    return 0;
}
