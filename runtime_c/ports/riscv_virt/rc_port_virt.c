/* Port of QEMU's RISC-V virt machine: ns16550 UART, retired instructions as ticks, exit through the test device. */
#include "recurc/rc_port.h"

#define REG8(address)  (*(volatile uint8_t *)(uintptr_t)(address))
#define REG32(address) (*(volatile uint32_t *)(uintptr_t)(address))

#define UART_DATA      (RC_UART_BASE + 0u)
#define UART_IER       (RC_UART_BASE + 1u)
#define UART_LCR       (RC_UART_BASE + 3u)
#define UART_LSR       (RC_UART_BASE + 5u)
#define LSR_DATA_READY 0x01u
#define LSR_THR_EMPTY  0x20u

#define MTIME_LOW     0x0200BFF8u /* CLINT, 10 MHz; only for timeouts */
#define MTIME_HIGH    0x0200BFFCu
#define MTIMECMP_LOW  0x02004000u
#define MTIMECMP_HIGH 0x02004004u
#define MTIME_PER_MS  10000u
#define MCAUSE_TIMER  0x80000007u
#define TEST_DEVICE   0x00100000u
#define TEST_PASS     0x5555u
#define TEST_FAIL     0x3333u
#define TEST_RESET    0x7777u

#define PMP_LOCKED_NAPOT_READ_EXECUTE 0x9Du

_Static_assert((RC_FLASH_BYTES & (RC_FLASH_BYTES - 1u)) == 0u && (RC_FLASH_BASE & (RC_FLASH_BYTES - 1u)) == 0u,
               "the flash region must be a naturally aligned power of two to be protected");

void rc_trap_c(uint32_t epc, uint32_t ra, uint32_t cause, uint32_t value);

void rc_port_init(void)
{
    /* What stands for flash is RAM in this machine. Make it behave like flash, and a stack overflow into it a fault. */
    uint32_t range = (RC_FLASH_BASE >> 2) | ((RC_FLASH_BYTES >> 3) - 1u);
    __asm__ volatile("csrw pmpaddr0, %0\n\tcsrw pmpcfg0, %1" ::"r"(range), "r"(PMP_LOCKED_NAPOT_READ_EXECUTE)
                     : "memory");

    /* The FIFOs stay off: turning them on empties them, and the host may have sent its first bytes already.
     * In QEMU the receiver then even stalls. */
    REG8(UART_IER) = 0; /* polled */
    REG8(UART_LCR) = 3; /* 8N1 */
}

int32_t rc_port_read(uint8_t *byte, uint32_t timeout_ms)
{
    uint32_t start = REG32(MTIME_LOW);
    while ((REG8(UART_LSR) & LSR_DATA_READY) == 0u) {
        if (timeout_ms != RC_PORT_FOREVER && (REG32(MTIME_LOW) - start) / MTIME_PER_MS > timeout_ms) {
            return 0;
        }
    }
    *byte = REG8(UART_DATA);
    return 1;
}

void rc_port_write(const uint8_t *data, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        while ((REG8(UART_LSR) & LSR_THR_EMPTY) == 0u) {
        }
        REG8(UART_DATA) = data[i];
    }
}

/* The machine has no watchdog of its own: its timer interrupt ends in the trap handler, which tells where the program
 * hangs.
 */
static uint64_t watchdog_limit;

void rc_port_watchdog_feed(void)
{
    if (watchdog_limit == 0u) {
        return;
    }
    uint32_t high, low;
    do {
        high = REG32(MTIME_HIGH);
        low = REG32(MTIME_LOW);
    } while (high != REG32(MTIME_HIGH));
    uint64_t due = (((uint64_t)high << 32) | low) + watchdog_limit;
    REG32(MTIMECMP_HIGH) = 0xFFFFFFFFu; /* never while the halves do not belong together */
    REG32(MTIMECMP_LOW) = (uint32_t)due;
    REG32(MTIMECMP_HIGH) = (uint32_t)(due >> 32);
}

void rc_port_watchdog_start(uint32_t timeout_ms)
{
    watchdog_limit = (uint64_t)timeout_ms * MTIME_PER_MS;
    rc_port_watchdog_feed();
    __asm__ volatile("csrs mie, %0\n\tcsrsi mstatus, 8" ::"r"(1u << 7) : "memory"); /* MTIE, MIE */
}

uint32_t rc_port_reset_cause(void)
{
    return RC_RESET_UNKNOWN; /* the machine does not tell */
}

uint64_t rc_port_ticks(void)
{
    uint32_t high, low, again;
    do { /* the halves are read one after the other; take them again when the low one wrapped in between */
        __asm__ volatile("csrr %0, minstreth" : "=r"(high));
        __asm__ volatile("csrr %0, minstret" : "=r"(low));
        __asm__ volatile("csrr %0, minstreth" : "=r"(again));
    } while (high != again);
    return ((uint64_t)high << 32) | low;
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
    REG32(TEST_DEVICE) = code == 0u ? TEST_PASS : (code << 16) | TEST_FAIL;
    for (;;) {
    }
}

void rc_port_reset(void)
{
    REG32(TEST_DEVICE) = TEST_RESET;
    for (;;) {
    }
}

void rc_trap_c(uint32_t epc, uint32_t ra, uint32_t cause, uint32_t value)
{
    rc_fault_t fault = {epc, ra, cause, 0, value, 0, cause == MCAUSE_TIMER ? RC_FAULT_WATCHDOG : RC_FAULT_EXCEPTION};
    rc_fault(&fault);
    for (;;) {
    }
}
