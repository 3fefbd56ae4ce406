/* Counts the ticks of the sums that a self-test forms over the image: CRC-32, then SHA-256, in its slices. Sends bytes and both
 * counts, each u64, low word first. */
#include "recurc/rc_crc32.h"
#include "recurc/rc_port.h"
#include "recurc/rc_sha256.h"

#define SLICE 4096u

extern const uint8_t rc_image_start[], rc_image_end[];

__attribute__((section(".recurc_arena"), aligned(64))) static struct {
    rc_sha256_t hash;
    uint8_t digest[RC_SHA256_BYTES];
    uint32_t crc;
} m;

void rc_fault(const rc_fault_t *fault)
{
    (void)fault;
    rc_port_exit(99);
    for (;;) {
    }
}

static void put(uint64_t value)
{
    uint8_t bytes[8];
    for (uint32_t i = 0; i < 8u; i++) {
        bytes[i] = (uint8_t)(value >> (8u * i));
    }
    rc_port_write(bytes, sizeof bytes);
}

int main(void)
{
    const uint32_t n = (uint32_t)(rc_image_end - rc_image_start);
    const uint64_t start = rc_port_ticks();
    for (uint32_t at = 0; at < n; at += SLICE) {
        m.crc = rc_crc32(m.crc, rc_image_start + at, SLICE);
    }
    const uint64_t between = rc_port_ticks();
    rc_sha256_init(&m.hash);
    for (uint32_t at = 0; at < n; at += SLICE) {
        rc_sha256_update(&m.hash, rc_image_start + at, SLICE);
    }
    rc_sha256_final(&m.hash, m.digest);
    const uint64_t end = rc_port_ticks();
    put(n);
    put(between - start);
    put(end - between);
    put(((uint64_t)m.crc << 32) | m.digest[0]);
    for (;;) {
    }
}
