/* Port of Arm's MPS2 and MPS3 FPGA images (AN386, AN500, AN505, AN547): CMSDK UART and watchdog, FPGAIO counter.
 * The board file gives RC_UART_BASE, RC_FPGAIO_BASE, RC_TICK_HZ, RC_WATCHDOG_BASE and RC_WATCHDOG_HZ. Written for QEMU:
 * exits go through semihosting. */
#include "rc_arm.h"
#include "recurc/rc_port.h"

#define UART_DATA      (RC_UART_BASE + 0x00u)
#define UART_STATE     (RC_UART_BASE + 0x04u)
#define UART_CTRL      (RC_UART_BASE + 0x08u)
#define UART_BAUDDIV   (RC_UART_BASE + 0x10u)
#define STATE_TX_FULL  1u
#define STATE_RX_FULL  2u
#define FPGAIO_COUNTER (RC_FPGAIO_BASE + 0x18u)

#define WATCHDOG_LOAD    (RC_WATCHDOG_BASE + 0x000u)
#define WATCHDOG_CONTROL (RC_WATCHDOG_BASE + 0x008u)
#define WATCHDOG_CLEAR   (RC_WATCHDOG_BASE + 0x00Cu)
#define WATCHDOG_LOCK    (RC_WATCHDOG_BASE + 0xC00u)
#define LOCK_OPEN        0x1ACCE551u

#define SYS_EXIT_EXTENDED            0x20u
#define ADP_STOPPED_APPLICATION_EXIT 0x20026u

void rc_port_init(void)
{
    RC_REG32(UART_BAUDDIV) = 16; /* the smallest allowed; QEMU does not model the rate */
    RC_REG32(UART_CTRL) = 3;     /* transmitter and receiver on */
    rc_arm_start_sampling();
}

int32_t rc_port_read(uint8_t *byte, uint32_t timeout_ms)
{
    uint64_t start = rc_port_ticks();
    uint64_t limit = (uint64_t)timeout_ms * (RC_TICK_HZ / 1000u);
    while ((RC_REG32(UART_STATE) & STATE_RX_FULL) == 0u) {
        if (timeout_ms != RC_PORT_FOREVER && rc_port_ticks() - start > limit) {
            return 0;
        }
    }
    *byte = (uint8_t)RC_REG32(UART_DATA);
    return 1;
}

void rc_port_write(const uint8_t *data, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        while ((RC_REG32(UART_STATE) & STATE_TX_FULL) != 0u) {
        }
        RC_REG32(UART_DATA) = data[i];
    }
}

uint64_t rc_port_ticks(void)
{
    return rc_arm_extend(FPGAIO_COUNTER);
}

uint32_t rc_port_tick_hz(void)
{
    return RC_TICK_HZ;
}

uint32_t rc_port_can_exit(void)
{
    return 1;
}

void rc_port_exit(uint32_t code)
{
    const uint32_t arguments[2] = {ADP_STOPPED_APPLICATION_EXIT, code};
    register uint32_t r0 __asm__("r0") = SYS_EXIT_EXTENDED;
    register const uint32_t *r1 __asm__("r1") = arguments;
    __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
    for (;;) {
    }
}

/* Its first expiry is an NMI, the second one a reset. */
void rc_arm_hardware_watchdog_start(uint32_t timeout_ms)
{
    uint64_t ticks = (uint64_t)timeout_ms * RC_WATCHDOG_HZ / 1000u;
    RC_REG32(WATCHDOG_LOCK) = LOCK_OPEN;
    RC_REG32(WATCHDOG_LOAD) = ticks > 0xFFFFFFFFu ? 0xFFFFFFFFu : (uint32_t)ticks;
    RC_REG32(WATCHDOG_CONTROL) = 3; /* interrupt and counter on, reset on */
}

void rc_arm_hardware_watchdog_feed(void)
{
    RC_REG32(WATCHDOG_CLEAR) = 1; /* any value: reloads */
}

uint32_t rc_port_reset_cause(void)
{
    return RC_RESET_UNKNOWN; /* not modelled */
}

void rc_port_reset(void)
{
    rc_arm_reset();
}
