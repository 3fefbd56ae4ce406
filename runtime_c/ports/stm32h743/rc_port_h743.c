/* Port of the STM32H743, without any vendor code: USART3 as the wire, cycle counter as ticks.
 * COMPILED ONLY: it links within the real memory map and has not yet run on a chip. */
#include "rc_h743.h"
#include "recurc/rc_port.h"

#define ISR_OVERRUN  (1u << 3)
#define ISR_RX_READY (1u << 5)
#define ISR_TX_DONE  (1u << 6)
#define ISR_TX_SPACE (1u << 7)

#ifndef RC_TABLE_ADDRESS
#define RC_TABLE_ADDRESS 0u /* no puzzle table in flash */
#endif

extern const uint8_t rc_image_start[];

static uint32_t core_hz;

void rc_port_init(void)
{
    uint32_t qspi = (uintptr_t)rc_image_start >= QSPI_MEMORY_BASE || RC_TABLE_ADDRESS >= QSPI_MEMORY_BASE ? 1u : 0u;
    core_hz = rc_h743_clocks();
    RC_REG32(RCC_AHB2ENR) |= 7u << 29; /* SRAM1, SRAM2, SRAM3 */
    if (qspi != 0u) {
        rc_h743_qspi();
    }
    rc_h743_caches(qspi);

    RC_REG32(RCC_AHB4ENR) |= 1u << 3;
    RC_REG32(RCC_APB1LENR) |= 1u << 18;
    (void)RC_REG32(RCC_APB1LENR); /* the clock runs after a read back */
    rc_h743_pin(GPIOD, 8, 7);
    rc_h743_pin(GPIOD, 9, 7);
    uint32_t kernel_hz = core_hz / 4u; /* APB1 */
    RC_REG32(USART3_BRR) = (kernel_hz + RC_UART_BAUD / 2u) / RC_UART_BAUD;
    RC_REG32(USART3_CR1) = (1u << 29) | (1u << 3) | (1u << 2) | 1u; /* FIFO, transmitter, receiver, on */

    RC_REG32(DEMCR) |= 1u << 24;
    RC_REG32(DWT_LAR) = 0xC5ACCE55u; /* the Cortex-M7's counter is locked until this is written */
    RC_REG32(DWT_CYCCNT) = 0;
    RC_REG32(DWT_CTRL) |= 1u;
    rc_arm_start_sampling();
}

int32_t rc_port_read(uint8_t *byte, uint32_t timeout_ms)
{
    uint64_t start = rc_port_ticks();
    uint64_t limit = (uint64_t)timeout_ms * (core_hz / 1000u);
    while ((RC_REG32(USART3_ISR) & ISR_RX_READY) == 0u) {
        if ((RC_REG32(USART3_ISR) & ISR_OVERRUN) != 0u) {
            RC_REG32(USART3_ICR) = ISR_OVERRUN; /* a byte is lost: the frame's CRC will tell */
        }
        if (timeout_ms != RC_PORT_FOREVER && rc_port_ticks() - start > limit) {
            return 0;
        }
    }
    *byte = (uint8_t)RC_REG32(USART3_RDR);
    return 1;
}

void rc_port_write(const uint8_t *data, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        rc_h743_wait(USART3_ISR, ISR_TX_SPACE, ISR_TX_SPACE);
        RC_REG32(USART3_TDR) = data[i];
    }
}

uint64_t rc_port_ticks(void)
{
    return rc_arm_extend(DWT_CYCCNT);
}

uint32_t rc_port_tick_hz(void)
{
    return core_hz;
}

#define LSI_PER_MS   32u /* about 32 kHz */
#define IWDG_DIVIDER 256u
#define IWDG_MOST    0xFFFu /* 32.8 s */

void rc_arm_hardware_watchdog_start(uint32_t timeout_ms)
{
    uint32_t count = (timeout_ms > 60000u ? 60000u : timeout_ms) * LSI_PER_MS / IWDG_DIVIDER;
    RC_REG32(IWDG1_KR) = 0xCCCCu; /* start: turns LSI on */
    RC_REG32(IWDG1_KR) = 0x5555u; /* open */
    RC_REG32(IWDG1_PR) = 6u;      /* / 256 */
    RC_REG32(IWDG1_RLR) = count > IWDG_MOST ? IWDG_MOST : count;
    rc_h743_wait(IWDG1_SR, 7u, 0);
    RC_REG32(IWDG1_KR) = 0xAAAAu;
}

void rc_arm_hardware_watchdog_feed(void)
{
    RC_REG32(IWDG1_KR) = 0xAAAAu;
}

uint32_t rc_port_reset_cause(void)
{
    static uint32_t flags;
    if (flags == 0u) {
        flags = RC_REG32(RCC_RSR);
        RC_REG32(RCC_RSR) = 1u << 16; /* forget them: they add up otherwise */
    }
    return (flags & (3u << 26)) != 0u   ? RC_RESET_WATCHDOG
           : (flags & (1u << 24)) != 0u ? RC_RESET_SOFTWARE
           : (flags & (5u << 21)) != 0u ? RC_RESET_POWER /* brown-out, power-on */
           : (flags & (1u << 22)) != 0u ? RC_RESET_PIN
                                        : RC_RESET_UNKNOWN;
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
    rc_h743_wait(USART3_ISR, ISR_TX_DONE, ISR_TX_DONE); /* let the last reply out */
    rc_arm_reset();
}
