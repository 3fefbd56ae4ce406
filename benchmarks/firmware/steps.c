/* Counts the ticks of supervision steps of a generated model: opens it, begins, and sends the ticks of each of MEASURED_STEPS steps,
 * u64, low word first. */
#include "model_config.h"
#include "recurc/rc.h"
#include "recurc/rc_port.h"

extern const uint8_t rc_image_start[];

__attribute__((section(".recurc_arena"), aligned(64))) static uint8_t arena[RC_ARENA_BYTES];
static uint8_t tokens[RC_SEQ_LEN];
static rc_ctx_t ctx;

void rc_fault(const rc_fault_t *fault)
{
    (void)fault;
    rc_port_exit(99);
    for (;;) {
    }
}

int main(void)
{
    if (rc_open(&ctx, rc_image_start, RC_IMAGE_BYTES, arena, sizeof arena, 0) != RC_OK ||
        rc_begin(&ctx, tokens, 0u) != RC_OK) {
        rc_port_exit(1);
    }
    for (uint32_t step = 0; step < MEASURED_STEPS; step++) {
        const uint64_t start = rc_port_ticks();
        if (rc_step(&ctx) != RC_OK) {
            rc_port_exit(2);
        }
        const uint64_t ticks = rc_port_ticks() - start;
        uint8_t bytes[8];
        for (uint32_t i = 0; i < 8u; i++) {
            bytes[i] = (uint8_t)(ticks >> (8u * i));
        }
        rc_port_write(bytes, sizeof bytes);
    }
    rc_port_exit(0);
    return 0;
}
