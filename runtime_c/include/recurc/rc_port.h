/* SPDX-License-Identifier: Apache-2.0 */
/* What a port (one board family's startup, UART and clock) gives the rest of the firmware. Nothing else touches
 * hardware. */
#ifndef RECURC_PORT_H
#define RECURC_PORT_H

#include <stdint.h>

#define RC_PORT_FOREVER 0xFFFFFFFFu

/* Clocks, caches, UART, tick counter. Called once, before main's first use of any other function here. */
void rc_port_init(void);

/* One byte from the wire: 1 read, 0 nothing within `timeout_ms` (RC_PORT_FOREVER waits), -1 the wire is closed. */
int32_t rc_port_read(uint8_t *byte, uint32_t timeout_ms);

/* Send `n` bytes; returns when all are handed to the UART. */
void rc_port_write(const uint8_t *data, uint32_t n);

/* A counter that never wraps in practice. */
uint64_t rc_port_ticks(void);

/* Ticks a second; 0 when the ticks are retired instructions and say nothing about time. */
uint32_t rc_port_tick_hz(void);

/* 1 when rc_port_exit ends the program (emulator, process), 0 when it can only restart the chip. */
uint32_t rc_port_can_exit(void);

/* End the emulator or process with `code`; on a chip: reset it. Never returns. */
void rc_port_exit(uint32_t code);

/* Reset the chip; where that is not possible, end. Never returns. */
void rc_port_reset(void);

/* The watchdog. Once started it cannot be stopped; unless it is fed every `timeout_ms` it reports where the program
 * hangs (FAULT) where the chip can, and resets the chip. Fed where work goes on, the schedule's loops and the server's
 * wait for requests, and never by an interrupt. Feeding costs a few stores. */
void rc_port_watchdog_start(uint32_t timeout_ms);
void rc_port_watchdog_feed(void);

/* Why the program started: one of RC_RESET_*. */
uint32_t rc_port_reset_cause(void);
enum { RC_RESET_UNKNOWN = 0, RC_RESET_POWER = 1, RC_RESET_PIN = 2, RC_RESET_SOFTWARE = 3, RC_RESET_WATCHDOG = 4 };

/* Size of the stack and the most of it that was ever used, in bytes; 0 where the port cannot know. */
uint32_t rc_port_stack_size(void);
uint32_t rc_port_stack_used(void);

/* Registers at a fault, as the port's handler found them (RISC-V: mepc, ra, mcause, 0, mtval, 0), and what it was. */
typedef struct {
    uint32_t pc, lr, cfsr, hfsr, mmfar, bfar;
    uint32_t cause; /* one of RC_FAULT_* */
} rc_fault_t;

enum { RC_FAULT_EXCEPTION = 0, RC_FAULT_WATCHDOG = 1, RC_FAULT_NMI = 2 };

/* The port calls this on a fault; the wire server reports it. Must not return. */
void rc_fault(const rc_fault_t *fault);

#endif
