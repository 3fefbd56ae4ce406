/* SPDX-License-Identifier: Apache-2.0 */
/* The weights image (SPEC.md, "Image"): header, section table, 64-byte aligned sections, a CRC32 on each. */
#ifndef RECURC_IMAGE_H
#define RECURC_IMAGE_H

#include <stdint.h>

#include "recurc/rc.h"
#include "recurc/rc_choose.h"
#include "recurc/rc_compiler.h"
#include "recurc/rc_status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define RC_IMAGE_MAGIC        0x314D4352u /* "RCM1" read little-endian */
#define RC_IMAGE_ENDIAN       0x01020304u
#define RC_IMAGE_VERSION      1u /* major; minors only add optional sections */
#define RC_IMAGE_KNOWN_FLAGS  0u
#define RC_IMAGE_ALIGN        64u
#define RC_IMAGE_HEADER_BYTES 128u
#define RC_IMAGE_ENTRY_BYTES  32u
#define RC_ARCHITECTURE_BYTES 16u

typedef struct {
    uint32_t magic;
    uint32_t endian;
    uint16_t version_major;
    uint16_t version_minor;
    uint32_t flags;
    uint32_t arithmetic;
    uint32_t packing;
    uint32_t section_count;
    uint32_t total_bytes;
    uint32_t table_offset;
    uint32_t table_crc;
    uint8_t body_sha256[32];                     /* of all bytes after the header: the model's identity */
    uint8_t architecture[RC_ARCHITECTURE_BYTES]; /* of the code that can run it; a digest of recurc's */
    uint32_t counter;                            /* of updates: rc_choose takes the highest, and none below a least */
    uint32_t reserved[8];
    uint32_t header_crc; /* of the 124 bytes before it */
} rc_image_header_t;

RC_STATIC_ASSERT(sizeof(rc_image_header_t) == RC_IMAGE_HEADER_BYTES, "image header layout");

typedef struct {
    uint32_t kind;
    uint32_t index;
    uint32_t offset; /* from the start of the image */
    uint32_t bytes;
    uint32_t crc;
    uint32_t reserved[3];
} rc_image_entry_t;

RC_STATIC_ASSERT(sizeof(rc_image_entry_t) == RC_IMAGE_ENTRY_BYTES, "image entry layout");

/* What the generated code expects of a section. */
typedef struct {
    uint32_t kind;
    uint32_t offset;
    uint32_t bytes;
} rc_section_t;

typedef struct {
    const rc_section_t *sections;
    uint32_t section_count;
    uint32_t total_bytes;
    uint32_t packing;
    const uint8_t *architecture; /* RC_ARCHITECTURE_BYTES */
} rc_image_spec_t;

/* Check an image against what the firmware was compiled for: magic, endianness, version, flags, arithmetic, sizes,
 * architecture, and the CRC of header, table and every section. Weights may be any; whether the bytes have the sha256 that
 * the header tells is not computed here. Reads nothing beyond `bytes`. `options` as of rc_open. */
rc_status_t rc_image_check(const uint8_t *image, uint32_t bytes, const rc_image_spec_t *spec,
                           const rc_options_t *options);

/* sha256 of an image's bytes `from` to `bytes`, to digest[32], with calls of the hook. RC_ERR_CANCELLED: it cancelled. */
rc_status_t rc_image_hash(const uint8_t *image, uint32_t from, uint32_t bytes, const rc_options_t *options,
                          uint8_t *digest);

/* rc_image_check, then sha256 over the bytes after the header: RC_ERR_IMAGE_HASH when it is not the header's. */
rc_status_t rc_image_prove(const uint8_t *image, uint32_t bytes, const rc_image_spec_t *spec,
                           const rc_options_t *options);

/* rc_choose (rc_choose.h) for images of `spec`. */
rc_status_t rc_image_choose(const uint8_t *const *slots, const rc_image_spec_t *spec, const rc_choice_t *choice,
                            const rc_options_t *options, const uint8_t **chosen, rc_status_t *told);

#ifdef __cplusplus
}
#endif

#endif
