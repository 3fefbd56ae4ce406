/* The image reader on a good image with changes: pairs of (offset u16, value u8) are written into it, then checksums are
 * made right again as the first byte says, so that changes get past them; a short input cuts the image off instead. A
 * changed image must be refused, and nothing may be read beyond its end. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "recurc/rc_arith.h"
#include "recurc/rc_crc32.h"
#include "recurc/rc_image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SECTIONS 3u
#define BYTES    512u

static const rc_section_t WANTED[SECTIONS] = {{1, 256, 64}, {3, 320, 100}, {4, 448, 64}};
static const uint8_t ARCHITECTURE[RC_ARCHITECTURE_BYTES] = {7, 7, 7};
static const rc_image_spec_t SPEC = {WANTED, SECTIONS, BYTES, 4, ARCHITECTURE};

static void entry_at(uint8_t *image, uint32_t i, rc_image_entry_t *entry)
{
    memcpy(entry, image + RC_IMAGE_HEADER_BYTES + i * RC_IMAGE_ENTRY_BYTES, sizeof *entry);
}

static void fix(uint8_t *image, uint32_t which)
{
    rc_image_header_t header;
    for (uint32_t i = 0; i < SECTIONS && (which & 1u) != 0u; i++) {
        rc_image_entry_t entry;
        entry_at(image, i, &entry);
        if (entry.offset <= BYTES && entry.bytes <= BYTES - entry.offset) {
            entry.crc = rc_crc32(0, image + entry.offset, entry.bytes);
            memcpy(image + RC_IMAGE_HEADER_BYTES + i * RC_IMAGE_ENTRY_BYTES, &entry, sizeof entry);
        }
    }
    memcpy(&header, image, sizeof header);
    if ((which & 2u) != 0u) {
        header.table_crc = rc_crc32(0, image + RC_IMAGE_HEADER_BYTES, SECTIONS * RC_IMAGE_ENTRY_BYTES);
    }
    memcpy(image, &header, sizeof header);
    if ((which & 4u) != 0u) {
        header.header_crc = rc_crc32(0, image, RC_IMAGE_HEADER_BYTES - 4u);
        memcpy(image, &header, sizeof header);
    }
}

static void good(uint8_t *image)
{
    rc_image_header_t header;
    memset(image, 0, BYTES);
    for (uint32_t i = 0; i < SECTIONS; i++) {
        rc_image_entry_t entry = {WANTED[i].kind, i, WANTED[i].offset, WANTED[i].bytes, 0, {0, 0, 0}};
        memset(image + entry.offset, (int)(i + 1u), entry.bytes);
        memcpy(image + RC_IMAGE_HEADER_BYTES + i * RC_IMAGE_ENTRY_BYTES, &entry, sizeof entry);
    }
    memset(&header, 0, sizeof header);
    header.magic = RC_IMAGE_MAGIC;
    header.endian = RC_IMAGE_ENDIAN;
    header.version_major = RC_IMAGE_VERSION;
    header.arithmetic = RC_ARITHMETIC_ID;
    header.packing = SPEC.packing;
    header.section_count = SECTIONS;
    header.total_bytes = BYTES;
    header.table_offset = RC_IMAGE_HEADER_BYTES;
    memcpy(header.architecture, ARCHITECTURE, sizeof ARCHITECTURE);
    memcpy(image, &header, sizeof header);
    fix(image, 7);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t reference[BYTES];
    static int made;
    if (made == 0) {
        good(reference);
        made = 1;
        void *check = aligned_alloc(RC_IMAGE_ALIGN, BYTES);
        memcpy(check, reference, BYTES);
        if (rc_image_check(check, BYTES, &SPEC, 0) != RC_OK) {
            abort();
        }
        free(check);
    }
    uint32_t bytes = size == 1u || size == 2u ? data[0] * 2u : BYTES; /* on the heap: reading too far is seen */
    uint8_t *image = aligned_alloc(RC_IMAGE_ALIGN, BYTES), *cut = 0;
    memcpy(image, reference, BYTES);
    for (size_t i = 1; i + 3u <= size; i += 3u) {
        image[((uint32_t)data[i] | ((uint32_t)data[i + 1u] << 8)) % BYTES] = data[i + 2u];
    }
    if (size > 2u) {
        fix(image, data[0]);
    }
    if (bytes < BYTES) {
        cut = aligned_alloc(RC_IMAGE_ALIGN, (bytes / RC_IMAGE_ALIGN + 1u) * RC_IMAGE_ALIGN);
        memcpy(cut, image, bytes);
    }
    rc_status_t status = rc_image_check(cut != 0 ? cut : image, bytes, &SPEC, 0);
    if (status == RC_OK && memcmp(image, reference, BYTES) != 0) {
        /* Right again by its checksums: then only what no checksum covers (padding, reserved words) or a section's content
         * with its checksum, which the firmware cannot know better, may differ; never what the firmware relies on. */
        rc_image_header_t header;
        memcpy(&header, image, sizeof header);
        if (header.magic != RC_IMAGE_MAGIC || header.flags != 0u || header.total_bytes != BYTES ||
            header.section_count != SECTIONS || memcmp(header.architecture, ARCHITECTURE, sizeof ARCHITECTURE) != 0) {
            abort();
        }
        for (uint32_t i = 0; i < SECTIONS; i++) {
            rc_image_entry_t entry;
            entry_at(image, i, &entry);
            if (entry.kind != WANTED[i].kind || entry.offset != WANTED[i].offset || entry.bytes != WANTED[i].bytes ||
                entry.crc != rc_crc32(0, image + entry.offset, entry.bytes)) {
                abort();
            }
        }
    }
    if (status == RC_OK && bytes != BYTES) {
        abort();
    }
    free(cut);
    free(image);
    return 0;
}
