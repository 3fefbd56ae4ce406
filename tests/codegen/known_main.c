/* A program of its own on a board: opens the model, tests itself, and sends what came of it. */
#include "model_config.h"
#include "recurc/rc.h"
#include "recurc/rc_port.h"

extern const uint8_t rc_image_start[], rc_image_end[];

__attribute__((section(".recurc_arena"), aligned(64))) static uint8_t arena[RC_ARENA_BYTES];
static rc_ctx_t ctx;

int main(void)
{
    static const uint32_t STEPS[] = {0, 1, 99};
    uint8_t told[4 + 3 * 4] = {0};
    rc_port_init();
    told[0] = (uint8_t)rc_open(&ctx, rc_image_start, (uint32_t)(rc_image_end - rc_image_start), arena, sizeof arena, 0);
    for (uint32_t i = 0; i < 3u; i++) {
        const uint64_t start = rc_port_ticks();
        told[1u + i] = (uint8_t)rc_selftest(&ctx, STEPS[i]);
        const uint64_t ticks = rc_port_ticks() - start;
        for (uint32_t byte = 0; byte < 4u; byte++) {
            told[4u + 4u * i + byte] = (uint8_t)(ticks >> 8u * byte);
        }
    }
    rc_port_write(told, sizeof told);
    rc_port_exit(0);
    return 0;
}

/* What the ports want of a server. */
void rc_fault(const rc_fault_t *fault)
{
    (void)fault;
    rc_port_exit(1);
}
