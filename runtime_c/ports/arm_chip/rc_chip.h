/* What a chip's port gives rc_port_chip.c, which is the same for all real Cortex-M chips: clock, UART, nothing else. */
#ifndef RECURC_CHIP_H
#define RECURC_CHIP_H

#include "rc_arm.h"

/* Core: cycle counter (Arm v7-M Architecture Reference Manual C1.8; the same in v8-M) */
#define RC_DEMCR      0xE000EDFCu
#define RC_DWT_CTRL   0xE0001000u
#define RC_DWT_CYCCNT 0xE0001004u
#define RC_DWT_LAR    0xE0001FB0u

/* Reads of a register after which a wait ends: 10 ms and more on the fastest of these chips, where what is waited for
 * takes 4 ms at most (a crystal), and about a second on the slowest clock after a reset. */
#ifndef RC_CHIP_WAIT_READS
#define RC_CHIP_WAIT_READS 1000000u
#endif

/* Wait until the masked register has a value: 1, or 0 when it has not within RC_CHIP_WAIT_READS reads. */
static inline uint32_t rc_chip_wait(uint32_t address, uint32_t mask, uint32_t value)
{
    for (uint32_t left = RC_CHIP_WAIT_READS; left != 0u; left--) {
        if ((RC_REG32(address) & mask) == value) {
            return 1;
        }
    }
    return 0;
}

/* A wait without whose end there is no UART, or no known clock: the chip starts anew instead. */
static inline void rc_chip_need(uint32_t address, uint32_t mask, uint32_t value)
{
    if (rc_chip_wait(address, mask, value) == 0u) {
        rc_arm_reset();
    }
}

/* Clocks, pins and UART; returns the core clock in Hz. A clock that does not get ready leaves the chip on one that runs
 * without it, with the UART at its rate, and HELLO tells the host the speed; where no such clock is, it resets. */
uint32_t rc_chip_init(void);

/* One received byte: 1, or 0 when none waits. Clears overruns: a byte is lost then, and the frame's CRC tells. */
uint32_t rc_chip_receive(uint8_t *byte);

/* Hand one byte to the transmitter, waiting for room: 1, or 0 when none came. */
uint32_t rc_chip_send(uint8_t byte);

/* Wait until the last byte has left the pin. */
void rc_chip_drain(void);

#endif
