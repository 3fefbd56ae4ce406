/* The port functions that all real Cortex-M chips share: time from the cycle counter, bytes from rc_chip.h.
 * COMPILED ONLY: not yet run on a chip. */
#include "rc_chip.h"
#include "recurc/rc_port.h"

static uint32_t core_hz;
static uint32_t wire_on; /* the UART has its clock: before that its registers answer nothing */

void rc_port_init(void)
{
    core_hz = rc_chip_init();
    wire_on = 1;
    RC_REG32(RC_DEMCR) |= 1u << 24;     /* TRCENA: trace and cycle counter powered */
    RC_REG32(RC_DWT_LAR) = 0xC5ACCE55u; /* the Cortex-M7's counter is locked until this is written; others ignore it */
    RC_REG32(RC_DWT_CYCCNT) = 0;
    RC_REG32(RC_DWT_CTRL) |= 1u;
    rc_arm_start_sampling();
}

int32_t rc_port_read(uint8_t *byte, uint32_t timeout_ms)
{
    uint64_t start = rc_port_ticks();
    uint64_t limit = (uint64_t)timeout_ms * (core_hz / 1000u);
    while (rc_chip_receive(byte) == 0u) {
        if (timeout_ms != RC_PORT_FOREVER && rc_port_ticks() - start > limit) {
            return 0;
        }
    }
    return 1;
}

void rc_port_write(const uint8_t *data, uint32_t n)
{
    for (uint32_t i = 0; i < n && wire_on != 0u; i++) {
        if (rc_chip_send(data[i]) == 0u) {
            return; /* what the UART does not take within the bound is lost, and the frame's CRC tells */
        }
    }
}

uint64_t rc_port_ticks(void)
{
    return rc_arm_extend(RC_DWT_CYCCNT);
}

uint32_t rc_port_tick_hz(void)
{
    return core_hz;
}

uint32_t rc_port_can_exit(void)
{
    return 0;
}

void rc_port_exit(uint32_t code)
{
    (void)code;
    rc_port_reset();
}

void rc_port_reset(void)
{
    if (wire_on != 0u) {
        rc_chip_drain(); /* let the last reply out */
    }
    rc_arm_reset();
}
