/* What a chip's port gives rc_port_chip.c, which is the same for all real Cortex-M chips: clock, UART, nothing else. */
#ifndef RECURC_CHIP_H
#define RECURC_CHIP_H

#include "rc_arm.h"

/* Core: cycle counter (Arm v7-M Architecture Reference Manual C1.8; the same in v8-M) */
#define RC_DEMCR      0xE000EDFCu
#define RC_DWT_CTRL   0xE0001000u
#define RC_DWT_CYCCNT 0xE0001004u
#define RC_DWT_LAR    0xE0001FB0u

static inline void rc_chip_wait(uint32_t address, uint32_t mask, uint32_t value)
{
    while ((RC_REG32(address) & mask) != value) {
    }
}

/* Clocks, pins and UART; returns the core clock in Hz. */
uint32_t rc_chip_init(void);

/* One received byte: 1, or 0 when none waits. Clears overruns: a byte is lost then, and the frame's CRC tells. */
uint32_t rc_chip_receive(uint8_t *byte);

/* Hand one byte to the transmitter, waiting for room. */
void rc_chip_send(uint8_t byte);

/* Wait until the last byte has left the pin. */
void rc_chip_drain(void);

#endif
