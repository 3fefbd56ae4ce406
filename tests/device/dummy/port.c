/* A port that keeps what the server says, for tests and fuzzers that run it in their own process. */
#include <stddef.h>
#include <string.h>

#include "model_config.h"
#include "recurc/rc_port.h"
#include "recurc/rc_wire.h"

#define SAID_BYTES (1u << 20)

static uint8_t said[SAID_BYTES];
static uint32_t said_bytes, ended;
static uint64_t ticks;
static _Alignas(64) uint8_t arena[RC_ARENA_BYTES];
static uint8_t input[RC_SEQ_LEN];
static rc_server_t server;

void rc_port_write(const uint8_t *data, uint32_t n)
{
    if (n <= SAID_BYTES - said_bytes) {
        memcpy(said + said_bytes, data, n);
        said_bytes += n;
    }
}

uint64_t rc_port_ticks(void)
{
    return ticks++;
}

uint32_t rc_port_tick_hz(void)
{
    return 1000;
}

uint32_t rc_port_can_exit(void)
{
    return 1;
}

uint32_t rc_port_reset_cause(void)
{
    return RC_RESET_WATCHDOG;
}

uint32_t rc_port_stack_size(void)
{
    return 0;
}

uint32_t rc_port_stack_used(void)
{
    return 0;
}

void rc_port_watchdog_start(uint32_t timeout_ms)
{
    (void)timeout_ms;
}

void rc_port_watchdog_feed(void)
{
}

int32_t rc_port_read(uint8_t *byte, uint32_t timeout_ms)
{
    (void)byte;
    (void)timeout_ms;
    return -1;
}

void rc_port_exit(uint32_t code)
{
    (void)code;
    ended = 1;
}

void rc_port_reset(void)
{
    ended = 1;
}

/* Start (anew) with an image; the memory-mapped table may be null. */
void dummy_start(const uint8_t *image, uint32_t image_bytes, const uint8_t *table, uint32_t table_bytes)
{
    static const uint8_t build_id[16] = {1, 2, 3};
    memset(&server, 0, sizeof server);
    memset(input, 0, sizeof input);
    ended = 0;
    said_bytes = 0;
    server.board = "in-process";
    server.build_id = build_id;
    server.image = image;
    server.image_size = image_bytes;
    server.arena = arena;
    server.arena_size = sizeof arena;
    server.input = input;
    server.table = table;
    server.table_bytes = table_bytes;
    rc_server_start(&server);
}

/* Give it bytes; returns 1 when it has asked to end or to be reset. */
uint32_t dummy_take(const uint8_t *data, uint32_t n)
{
    for (uint32_t i = 0; i < n && ended == 0u; i++) {
        rc_server_take(&server, data[i]);
    }
    return ended;
}

/* What it said since the last call. */
const uint8_t *dummy_said(uint32_t *n)
{
    *n = said_bytes;
    said_bytes = 0;
    return said;
}
