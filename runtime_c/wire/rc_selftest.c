/* SELFTEST: what lies in the firmware's memory, told so that the host can tell whether it is what was built. The digests
 * begin with the host's nonce, so they cannot be known beforehand: only who holds the bytes can compute them. */
#include "recurc/rc_crc32.h"
#include "recurc/rc_port.h"
#include "recurc/rc_sha256.h"
#include "recurc/rc_wire.h"

#define SLICE 4096u /* bytes between two feedings of the watchdog */

/* Writes size, CRC-32 and sha256(nonce, bytes) of `n` bytes of memory: 4 and 4 bytes to `sums`, 32 to `digest`. */
static void measure(const uint8_t *data, uint32_t n, const uint8_t *nonce, uint8_t *sums, uint8_t *digest)
{
    rc_sha256_t hash;
    uint32_t crc = 0;
    rc_sha256_init(&hash);
    rc_sha256_update(&hash, nonce, RC_SELFTEST_NONCE);
    for (uint32_t at = 0, part = 0; at < n; at += part) {
        part = n - at < SLICE ? n - at : SLICE;
        crc = rc_crc32(crc, data + at, part);
        rc_sha256_update(&hash, data + at, part);
        rc_port_watchdog_feed();
    }
    rc_put_u32(sums, n);
    rc_put_u32(sums + 4, crc);
    rc_sha256_final(&hash, digest);
}

rc_status_t rc_server_selftest(rc_server_t *s, const rc_frame_t *f, uint8_t *reply)
{
    if (f->length != RC_SELFTEST_NONCE) {
        return RC_ERR_ARGUMENT;
    }
    rc_server_open(s);
    for (uint32_t i = 0; i < RC_SELFTEST_REPLY; i++) {
        reply[i] = 0;
    }
    rc_put_u32(reply, (uint32_t)s->image_status);
    measure(s->image, s->image_size, f->body, reply + 4, reply + 20);
    if (s->table != 0) {
        measure(s->table, s->table_bytes, f->body, reply + 12, reply + 52);
    }
    return RC_OK;
}
