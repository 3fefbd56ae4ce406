/* HELLO: what a firmware says of itself. */
#include <stddef.h>

#include "recurc/rc_image.h"
#include "recurc/rc_port.h"
#include "recurc/rc_wire.h"

#define HELLO_FIXED 124u
#define NAME_MAX    31u

uint32_t rc_table_mode(const rc_server_t *s)
{
    if (rc_info.table_dtype == 0u) {
        return RC_TABLE_NONE;
    }
    return s->table != 0 ? RC_TABLE_MAPPED : RC_TABLE_WIRE;
}

/* `n` bytes of the image from `offset` on, zeros where it has none there. */
static void put_of_image(uint8_t *p, const rc_server_t *s, uint32_t offset, uint32_t n)
{
    const uint32_t there = s->image_size >= n && offset <= s->image_size - n ? 1u : 0u;
    for (uint32_t i = 0; i < n; i++) {
        p[i] = there != 0u ? s->image[offset + i] : 0u;
    }
}

/* A length byte and at most NAME_MAX characters. */
static uint32_t put_name(uint8_t *p, const char *text)
{
    uint32_t n = 0;
    while (text[n] != '\0' && n < NAME_MAX) {
        p[1u + n] = (uint8_t)text[n];
        n++;
    }
    p[0] = (uint8_t)n;
    return n + 1u;
}

uint32_t rc_hello(const rc_server_t *s, uint8_t *b)
{
    const rc_info_t *m = &rc_info;
    const uint32_t numbers[11] = {m->seq_len,       m->vocab,    m->rows,     m->hidden,      m->puzzles,
                                  m->steps,         m->h_cycles, m->l_cycles, m->arena_bytes, rc_port_stack_size(),
                                  rc_port_tick_hz()};
    rc_put_u16(b, RC_WIRE_VERSION);
    b[2] = (uint8_t)s->image_status;
    b[3] = (uint8_t)((rc_port_can_exit() != 0u ? RC_HELLO_CAN_EXIT : 0u) |
                     (rc_port_reset_cause() << RC_HELLO_RESET_SHIFT));
    for (uint32_t i = 0; i < 16u; i++) {
        b[4u + i] = s->build_id[i];
    }
    put_of_image(b + 20, s, (uint32_t)offsetof(rc_image_header_t, body_sha256), 32);
    for (uint32_t i = 0; i < 11u; i++) {
        rc_put_u32(b + 52u + 4u * i, numbers[i]);
    }
    rc_put_u32(b + 96, s->image_size);
    b[100] = (uint8_t)m->carry;
    b[101] = (uint8_t)rc_table_mode(s);
    b[102] = (uint8_t)s->table_status;
    b[103] = (uint8_t)m->table_dtype;
    rc_put_u32(b + 104, m->record_bytes);
    put_of_image(b + 108, s, m->table_dtype != 0u ? m->key_offset : 0xffffffffu, 16); /* none: zeros */
    uint32_t n = HELLO_FIXED;
    n += put_name(b + n, s->board);
    n += put_name(b + n, m->name);
    return n;
}
