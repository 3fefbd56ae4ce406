/* The readers of weights images and puzzle tables on small files in data/, and on every damage to them: what is refused
 * has the status that SPEC.md names, and no byte beyond the given ones is read (the sanitizers would tell). */
#include <stdlib.h>
#include <string.h>

#include "recurc/rc_crc32.h"
#include "recurc/rc_image.h"
#include "recurc/rc_sha256.h"
#include "recurc/rc_table.h"
#include "test.h"

#define IMAGE_BYTES 448u
#define TABLE_BYTES 176u
#define DIM         5u

static const rc_section_t SECTIONS[] = {{1, 256, 24}, {3, 320, 40}, {4, 384, 16}};
static _Alignas(64) uint8_t good[IMAGE_BYTES + 1u], image[IMAGE_BYTES + 64u];
static const uint8_t ARCHITECTURE[] = "the tiny model's";

static rc_image_spec_t spec(void)
{
    const rc_image_spec_t s = {SECTIONS, 3, IMAGE_BYTES, 4, ARCHITECTURE};
    return s;
}

static void put(uint8_t *to, uint32_t value)
{
    memcpy(to, &value, sizeof value);
}

/* The header's own checksum over what it now says. */
static void seal(void)
{
    put(image + 124, rc_crc32(0, image, 124));
}

/* Status of the image with one word of it changed, its checksums being right again. */
static rc_status_t with_word(uint32_t at, uint32_t value)
{
    const rc_image_spec_t s = spec();
    memcpy(image, good, IMAGE_BYTES);
    put(image + at, value);
    if (at >= 128u) {
        put(image + 36, rc_crc32(0, image + 128, 3u * RC_IMAGE_ENTRY_BYTES));
    }
    seal();
    return rc_image_check(image, IMAGE_BYTES, &s, 0);
}

static void fields(void)
{
    CHECK(with_word(0, 0x324D4352u) == RC_ERR_IMAGE_MAGIC);
    CHECK(with_word(4, 0x04030201u) == RC_ERR_IMAGE_MAGIC);
    CHECK(with_word(8, 2) == RC_ERR_IMAGE_VERSION);
    CHECK(with_word(8, 1u | 7u << 16) == RC_OK); /* a minor only adds what an older reader may skip */
    CHECK(with_word(12, 1) == RC_ERR_IMAGE_FLAGS && with_word(12, 0x80000000u) == RC_ERR_IMAGE_FLAGS);
    CHECK(with_word(16, 3) == RC_ERR_IMAGE_VERSION);
    CHECK(with_word(20, 5) == RC_ERR_IMAGE_VERSION);
    CHECK(with_word(24, 2) == RC_ERR_IMAGE_SECTION);
    CHECK(with_word(28, IMAGE_BYTES + 64u) == RC_ERR_IMAGE_SIZE);
    CHECK(with_word(32, 192) == RC_ERR_IMAGE_SECTION);
    CHECK(with_word(40, 0) == RC_OK); /* which weights they are is not asked */
    CHECK(with_word(72, 0) == RC_ERR_IMAGE_MODEL && with_word(84, 0) == RC_ERR_IMAGE_MODEL);
    for (uint32_t i = 0; i < 3u; i++) {
        const uint32_t entry = 128u + i * RC_IMAGE_ENTRY_BYTES;
        CHECK(with_word(entry, 6) == RC_ERR_IMAGE_SECTION);
        CHECK(with_word(entry + 4u, i + 1u) == RC_ERR_IMAGE_SECTION);
        CHECK(with_word(entry + 8u, 0xFFFFFFC0u) == RC_ERR_IMAGE_SECTION);
        CHECK(with_word(entry + 12u, 0xFFFFFFFFu) == RC_ERR_IMAGE_SECTION);
        CHECK(with_word(entry + 16u, 0) == RC_ERR_IMAGE_CRC);
    }
}

static void arguments(void)
{
    rc_image_spec_t s = spec();
    CHECK(rc_image_check(0, IMAGE_BYTES, &s, 0) == RC_ERR_ARGUMENT &&
          rc_image_check(image, IMAGE_BYTES, 0, 0) == RC_ERR_ARGUMENT);
    memcpy(image + 4, good, IMAGE_BYTES);
    CHECK(rc_image_check(image + 4, IMAGE_BYTES, &s, 0) == RC_ERR_ALIGNMENT);
    /* A section where the firmware has one, but at no multiple of 64. */
    static const rc_section_t unaligned[] = {{1, 260, 20}, {3, 320, 40}, {4, 384, 16}};
    rc_image_spec_t u = spec();
    u.sections = unaligned;
    memcpy(image, good, IMAGE_BYTES);
    put(image + 128 + 8, 260);
    put(image + 128 + 12, 20);
    put(image + 128 + 16, rc_crc32(0, image + 260, 20));
    put(image + 36, rc_crc32(0, image + 128, 3u * RC_IMAGE_ENTRY_BYTES));
    seal();
    CHECK(rc_image_check(image, IMAGE_BYTES, &u, 0) == RC_ERR_IMAGE_SECTION);
    s.section_count = 0x08000000u; /* times the bytes of an entry is 0 in 32 bits */
    CHECK(rc_image_check(good, IMAGE_BYTES, &s, 0) != RC_OK);
}

/* In a block of its own, so that a sanitizer sees the first byte beyond it. */
static rc_status_t truncated(uint32_t bytes)
{
    const rc_image_spec_t s = spec();
    uint8_t *block = aligned_alloc(64, (bytes + 63u) / 64u * 64u);
    CHECK(block != 0);
    memcpy(block, good, bytes);
    const rc_status_t status = rc_image_prove(block, bytes, &s, 0);
    free(block);
    return status;
}

static void damages(void)
{
    const rc_image_spec_t s = spec();
    for (uint32_t bytes = 1; bytes < IMAGE_BYTES; bytes++) {
        CHECK(truncated(bytes) != RC_OK);
    }
    CHECK(truncated(IMAGE_BYTES) == RC_OK);
    memcpy(image, good, IMAGE_BYTES);
    for (uint32_t bit = 0; bit < 8u * IMAGE_BYTES; bit++) {
        image[bit / 8u] = (uint8_t)(image[bit / 8u] ^ 1u << bit % 8u);
        CHECK(rc_image_prove(image, IMAGE_BYTES, &s, 0) != RC_OK);
        image[bit / 8u] = good[bit / 8u];
    }
    /* An image of this size that says so, and code that has another one. */
    rc_image_spec_t longer = spec();
    longer.total_bytes += 64u;
    CHECK(rc_image_check(image, IMAGE_BYTES, &longer, 0) == RC_ERR_IMAGE_SIZE);
    /* Padding is in no checksum but the sha256. */
    image[IMAGE_BYTES - 1u] = 1;
    CHECK(rc_image_check(image, IMAGE_BYTES, &s, 0) == RC_OK &&
          rc_image_prove(image, IMAGE_BYTES, &s, 0) == RC_ERR_IMAGE_HASH);
    image[40] ^= 1u;
    seal();
    CHECK(rc_image_check(image, IMAGE_BYTES, &s, 0) == RC_OK &&
          rc_image_prove(image, IMAGE_BYTES, &s, 0) == RC_ERR_IMAGE_HASH);
}

static void tables(void)
{
    static const uint8_t key[16] = "the tiny table's";
    static const float want[3][DIM] = {{0.5f, -0.5f, 63.5f, -64.0f, 0.0f}, {0.25f, 0.5f, 0.75f, 1.0f, 1.25f}, {0}};
    uint8_t table[TABLE_BYTES + 1u];
    float row[DIM] = {0};
    rc_table_spec_t t = {3, DIM, RC_TABLE_I8, 16, key};
    CHECK(whole_file(RC_TEST_DATA "/tiny.rct", table, sizeof table) == TABLE_BYTES);
    CHECK(rc_table_check(table, TABLE_BYTES, &t) == RC_OK && rc_table_check(table, TABLE_BYTES + 1u, &t) == RC_OK);
    for (uint32_t i = 0; i < 3u; i++) {
        const uint8_t *record = rc_table_record(table, &t, i);
        CHECK(rc_table_decode(record, i, &t, row) == RC_OK && memcmp(row, want[i], sizeof row) == 0);
        CHECK(rc_table_decode(record, (i + 1u) % 3u, &t, row) == RC_ERR_ROW);
    }
    CHECK(rc_table_record(table, &t, 3) == 0 && rc_table_decode(table, 3, &t, row) == RC_ERR_PUZZLE);
    for (uint32_t bytes = 0; bytes < TABLE_BYTES; bytes++) {
        CHECK(rc_table_check(table, bytes, &t) == RC_ERR_TABLE);
    }
    for (uint32_t bit = 0; bit < 8u * TABLE_BYTES; bit++) {
        const uint32_t index = bit < 1024u ? 0u : (bit / 8u - RC_TABLE_HEADER_BYTES) / 16u;
        table[bit / 8u] = (uint8_t)(table[bit / 8u] ^ 1u << bit % 8u);
        if (bit < 1024u) {
            CHECK(rc_table_check(table, TABLE_BYTES, &t) == RC_ERR_TABLE);
        } else {
            CHECK(rc_table_decode(rc_table_record(table, &t, index), index, &t, row) == RC_ERR_ROW);
        }
        table[bit / 8u] = (uint8_t)(table[bit / 8u] ^ 1u << bit % 8u);
    }
    t.record_bytes = 20;
    CHECK(rc_table_check(table, TABLE_BYTES, &t) == RC_ERR_ARGUMENT);
}

static void digests(void)
{
    static const uint8_t abc[RC_SHA256_BYTES] = {0xBA, 0x78, 0x16, 0xBF, 0x8F, 0x01, 0xCF, 0xEA, 0x41, 0x41, 0x40,
                                                 0xDE, 0x5D, 0xAE, 0x22, 0x23, 0xB0, 0x03, 0x61, 0xA3, 0x96, 0x17,
                                                 0x7A, 0x9C, 0xB4, 0x10, 0xFF, 0x61, 0xF2, 0x00, 0x15, 0xAD};
    rc_sha256_t hash;
    uint8_t digest[RC_SHA256_BYTES];
    rc_sha256_init(&hash);
    rc_sha256_update(&hash, "a", 1);
    rc_sha256_update(&hash, "bc", 2);
    rc_sha256_final(&hash, digest);
    CHECK(memcmp(digest, abc, sizeof abc) == 0);
    CHECK(rc_crc32(0, "123456789", 9) == 0xCBF43926u && rc_crc32(rc_crc32(0, "1234", 4), "56789", 5) == 0xCBF43926u);
}

int main(void)
{
    CHECK(whole_file(RC_TEST_DATA "/tiny.rcm", good, sizeof good) == IMAGE_BYTES);
    fields();
    arguments();
    damages();
    tables();
    digests();
    return verdict();
}
