/* SPDX-License-Identifier: Apache-2.0 */
#include "recurc/rc_image.h"

#include <string.h>

#include "recurc/rc_arith.h"
#include "recurc/rc_crc32.h"
#include "recurc/rc_sha256.h"

#define SLICE 4096u /* bytes between two calls of the hook */

/* Whether to stop. */
static uint32_t told(const rc_options_t *options)
{
    return options != 0 && options->hook != 0 ? options->hook(options->user) : 0u;
}

static rc_status_t check_header(const rc_image_header_t *h, uint32_t bytes, const rc_image_spec_t *spec)
{
    if (h->magic != RC_IMAGE_MAGIC || h->endian != RC_IMAGE_ENDIAN) {
        return RC_ERR_IMAGE_MAGIC;
    }
    if (h->header_crc != rc_crc32(0, h, RC_IMAGE_HEADER_BYTES - 4u)) {
        return RC_ERR_IMAGE_CRC;
    }
    if (h->version_major != RC_IMAGE_VERSION || h->arithmetic != RC_ARITHMETIC_ID || h->packing != spec->packing) {
        return RC_ERR_IMAGE_VERSION;
    }
    if ((h->flags & ~RC_IMAGE_KNOWN_FLAGS) != 0u) {
        return RC_ERR_IMAGE_FLAGS;
    }
    if (h->total_bytes != bytes) {
        return RC_ERR_IMAGE_SIZE;
    }
    if (memcmp(h->architecture, spec->architecture, sizeof h->architecture) != 0) {
        return RC_ERR_IMAGE_MODEL;
    }
    if (bytes != spec->total_bytes) {
        return RC_ERR_IMAGE_SIZE;
    }
    if (h->section_count != spec->section_count || h->table_offset != RC_IMAGE_HEADER_BYTES) {
        return RC_ERR_IMAGE_SECTION;
    }
    return RC_OK;
}

/* The CRC of a section, with calls of the hook. */
static rc_status_t check_section(const uint8_t *section, const rc_image_entry_t *entry, const rc_options_t *options)
{
    uint32_t crc = 0;
    for (uint32_t at = 0, part = 0; at < entry->bytes; at += part) {
        part = entry->bytes - at < SLICE ? entry->bytes - at : SLICE;
        crc = rc_crc32(crc, section + at, part);
        if (told(options) != 0u) {
            return RC_ERR_CANCELLED;
        }
    }
    return crc == entry->crc ? RC_OK : RC_ERR_IMAGE_CRC;
}

rc_status_t rc_image_check(const uint8_t *image, uint32_t bytes, const rc_image_spec_t *spec,
                           const rc_options_t *options)
{
    const uint32_t flags = options != 0 ? options->flags : 0u;
    if (image == 0 || spec == 0 || (flags & ~RC_OPEN_UNCHECKED) != 0u) {
        return RC_ERR_ARGUMENT;
    }
    if (((uintptr_t)image % RC_IMAGE_ALIGN) != 0u) {
        return RC_ERR_ALIGNMENT;
    }
    if (bytes < RC_IMAGE_HEADER_BYTES) {
        return RC_ERR_IMAGE_SIZE;
    }
    rc_image_header_t header;
    memcpy(&header, image, sizeof header);
    const rc_status_t status = check_header(&header, bytes, spec);
    if (status != RC_OK) {
        return status;
    }
    if (spec->section_count > (bytes - RC_IMAGE_HEADER_BYTES) / RC_IMAGE_ENTRY_BYTES) {
        return RC_ERR_IMAGE_SIZE;
    }
    const uint8_t *table = image + RC_IMAGE_HEADER_BYTES;
    if (header.table_crc != rc_crc32(0, table, spec->section_count * RC_IMAGE_ENTRY_BYTES)) {
        return RC_ERR_IMAGE_CRC;
    }
    for (uint32_t i = 0; i < spec->section_count; i++) {
        rc_image_entry_t entry;
        memcpy(&entry, table + i * RC_IMAGE_ENTRY_BYTES, sizeof entry);
        const rc_section_t *want = &spec->sections[i];
        if (entry.kind != want->kind || entry.index != i || entry.offset != want->offset ||
            entry.bytes != want->bytes || entry.offset > bytes || entry.bytes > bytes - entry.offset ||
            entry.offset % RC_IMAGE_ALIGN != 0u) {
            return RC_ERR_IMAGE_SECTION;
        }
        const rc_status_t found = flags == 0u ? check_section(image + entry.offset, &entry, options) : RC_OK;
        if (found != RC_OK) {
            return found;
        }
    }
    return RC_OK;
}

rc_status_t rc_image_hash(const uint8_t *image, uint32_t from, uint32_t bytes, const rc_options_t *options,
                          uint8_t *digest)
{
    rc_sha256_t hash;
    rc_sha256_init(&hash);
    for (uint32_t at = from, part = 0; at < bytes; at += part) {
        part = bytes - at < SLICE ? bytes - at : SLICE;
        rc_sha256_update(&hash, image + at, part);
        if (told(options) != 0u) {
            return RC_ERR_CANCELLED;
        }
    }
    rc_sha256_final(&hash, digest);
    return RC_OK;
}

rc_status_t rc_image_prove(const uint8_t *image, uint32_t bytes, const rc_image_spec_t *spec,
                           const rc_options_t *options)
{
    rc_status_t status = rc_image_check(image, bytes, spec, options);
    if (status != RC_OK) {
        return status;
    }
    uint8_t digest[RC_SHA256_BYTES];
    status = rc_image_hash(image, RC_IMAGE_HEADER_BYTES, bytes, options, digest);
    if (status != RC_OK) {
        return status;
    }
    rc_image_header_t header;
    memcpy(&header, image, sizeof header);
    return memcmp(digest, header.body_sha256, sizeof digest) == 0 ? RC_OK : RC_ERR_IMAGE_HASH;
}
