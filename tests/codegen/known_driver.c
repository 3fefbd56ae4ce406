/* The self-test of images whose known answer was changed at random, all checksums mended: IMAGE SEED COUNT. Prints how often
 * each status came; a sanitizer says what else happens. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model_config.h"
#include "recurc/rc.h"
#include "recurc/rc_crc32.h"
#include "recurc/rc_image.h"

static uint32_t state;

static uint32_t below(uint32_t n)
{
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state % n;
}

static void mend(uint8_t *image, uint32_t section)
{
    rc_image_header_t header;
    rc_image_entry_t entry;
    uint8_t *table = image + RC_IMAGE_HEADER_BYTES, *place = table + section * RC_IMAGE_ENTRY_BYTES;
    memcpy(&header, image, sizeof header);
    memcpy(&entry, place, sizeof entry);
    entry.crc = rc_crc32(0, image + entry.offset, entry.bytes);
    memcpy(place, &entry, sizeof entry);
    header.table_crc = rc_crc32(0, table, header.section_count * RC_IMAGE_ENTRY_BYTES);
    memcpy(image, &header, sizeof header);
    header.header_crc = rc_crc32(0, image, RC_IMAGE_HEADER_BYTES - 4u);
    memcpy(image, &header, sizeof header);
}

int main(int argc, char **argv)
{
    static _Alignas(64) uint8_t arena[RC_ARENA_BYTES];
    uint32_t told[256] = {0};
    FILE *file = argc == 4 ? fopen(argv[1], "rb") : 0;
    uint8_t *good = aligned_alloc(64, RC_IMAGE_BYTES), *image = aligned_alloc(64, RC_IMAGE_BYTES);
    if (file == 0 || good == 0 || image == 0 || fread(good, 1, RC_IMAGE_BYTES, file) != RC_IMAGE_BYTES) {
        return 2;
    }
    fclose(file);
    state = (uint32_t)strtoul(argv[2], 0, 10) * 2u + 1u;
    rc_image_header_t header;
    rc_image_entry_t entry;
    memcpy(&header, good, sizeof header);
    const uint32_t last = header.section_count - 1u;
    memcpy(&entry, good + RC_IMAGE_HEADER_BYTES + last * RC_IMAGE_ENTRY_BYTES, sizeof entry);
    for (uint32_t left = (uint32_t)strtoul(argv[3], 0, 10); left != 0u; left--) {
        static const uint32_t WORDS[] = {0, 1, 2, 3, 0x7FFFFFFFu, 0x80000000u, 0xFFFFFFFFu};
        memcpy(image, good, RC_IMAGE_BYTES);
        for (uint32_t n = below(3); n != 0u; n--) {
            if (below(2) != 0u) { /* a word of the head */
                memcpy(image + entry.offset + 4u * below(4), &WORDS[below(7)], 4);
            } else {
                image[entry.offset + below(entry.bytes)] = (uint8_t)below(256);
            }
        }
        mend(image, last);
        rc_ctx_t ctx;
        rc_status_t status = rc_open(&ctx, image, RC_IMAGE_BYTES, arena, sizeof arena, 0);
        if (status != RC_OK) {
            return 3;
        }
        status = rc_selftest(&ctx, below(4) != 0u ? below(8) : WORDS[below(7)]);
        told[(uint32_t)status & 255u]++;
        if (status == RC_OK && memcmp(image, good, RC_IMAGE_BYTES) == 0 && rc_step(&ctx) != RC_ERR_STATE) {
            return 4; /* the puzzle has ended */
        }
    }
    for (uint32_t i = 0; i < 256u; i++) {
        if (told[i] != 0u) {
            printf("%u %u\n", i, told[i]);
        }
    }
    free(good);
    free(image);
    return 0;
}
