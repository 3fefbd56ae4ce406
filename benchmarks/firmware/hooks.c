/* Counts what depends on data: for each of PUZZLES puzzles, for each of MEASURED_STEPS steps, the ticks of the step and the most
 * ticks between two calls of the hook in it (from its begin, to its end), two u64, low word first. */
#include "model_config.h"
#include "recurc/rc.h"
#include "recurc/rc_port.h"

extern const uint8_t rc_image_start[];
extern const uint8_t puzzles[][RC_SEQ_LEN];

__attribute__((section(".recurc_arena"), aligned(64))) static uint8_t arena[RC_ARENA_BYTES];
static rc_ctx_t ctx;
static uint64_t called, longest;

void rc_fault(const rc_fault_t *fault)
{
    (void)fault;
    rc_port_exit(99);
    for (;;) {
    }
}

static uint32_t hook(void *user)
{
    (void)user;
    const uint64_t now = rc_port_ticks();
    longest = now - called > longest ? now - called : longest;
    called = now;
    return 0u;
}

static void send(uint64_t value)
{
    uint8_t bytes[8];
    for (uint32_t i = 0; i < 8u; i++) {
        bytes[i] = (uint8_t)(value >> (8u * i));
    }
    rc_port_write(bytes, sizeof bytes);
}

int main(void)
{
    const rc_options_t options = {0u, hook, 0};
    if (rc_open(&ctx, rc_image_start, RC_IMAGE_BYTES, arena, sizeof arena, &options) != RC_OK) {
        rc_port_exit(1);
    }
    for (uint32_t i = 0; i < PUZZLES; i++) {
        if (rc_begin(&ctx, puzzles[i], 0u) != RC_OK) {
            rc_port_exit(2);
        }
        for (uint32_t step = 0; step < MEASURED_STEPS; step++) {
            const uint64_t start = rc_port_ticks();
            called = start;
            longest = 0u;
            if (rc_step(&ctx) != RC_OK) {
                rc_port_exit(3);
            }
            const uint64_t ticks = rc_port_ticks() - start;
            (void)hook(0);
            send(ticks);
            send(longest);
        }
    }
    rc_port_exit(0);
    return 0;
}
