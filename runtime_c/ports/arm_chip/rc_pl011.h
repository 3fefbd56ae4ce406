/* Arm's PL011 UART, which several chips have under their own names (Arm DDI 0183, chapter 3). `base` is its address. */
#ifndef RECURC_PL011_H
#define RECURC_PL011_H

#include "rc_chip.h"

#define PL011_DR   0x00u
#define PL011_FR   0x18u
#define PL011_IBRD 0x24u
#define PL011_FBRD 0x28u
#define PL011_LCRH 0x2Cu
#define PL011_CR   0x30u
#define PL011_ICR  0x44u

#define PL011_BUSY     (1u << 3)
#define PL011_RX_EMPTY (1u << 4)
#define PL011_TX_FULL  (1u << 5)
#define PL011_ENABLE   ((1u << 9) | (1u << 8) | 1u) /* receiver, transmitter, UART */

/* 8 data bits, no parity, FIFOs on; `cr` holds what else the chip wants in the control register. */
static inline void rc_pl011_start(uint32_t base, uint32_t clock_hz, uint32_t baud, uint32_t cr)
{
    uint32_t divider = (clock_hz * 4u + baud / 2u) / baud; /* in 64ths of clock / 16 */
    RC_REG32(base + PL011_CR) = cr;
    RC_REG32(base + PL011_IBRD) = divider >> 6;
    RC_REG32(base + PL011_FBRD) = divider & 63u;
    RC_REG32(base + PL011_LCRH) = (3u << 5) | (1u << 4); /* also what latches the two dividers */
    RC_REG32(base + PL011_ICR) = 0x7FFu;
    RC_REG32(base + PL011_CR) = cr | PL011_ENABLE;
}

static inline uint32_t rc_pl011_receive(uint32_t base, uint8_t *byte)
{
    if ((RC_REG32(base + PL011_FR) & PL011_RX_EMPTY) != 0u) {
        return 0;
    }
    *byte = (uint8_t)RC_REG32(base + PL011_DR);
    return 1;
}

static inline uint32_t rc_pl011_send(uint32_t base, uint8_t byte)
{
    if (rc_chip_wait(base + PL011_FR, PL011_TX_FULL, 0) == 0u) {
        return 0;
    }
    RC_REG32(base + PL011_DR) = byte;
    return 1;
}

static inline void rc_pl011_drain(uint32_t base)
{
    (void)rc_chip_wait(base + PL011_FR, PL011_BUSY, 0);
}

#endif
