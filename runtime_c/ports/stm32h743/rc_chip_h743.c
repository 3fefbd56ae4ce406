/* STM32H743, without any vendor code: clocks, memories and caches, USART3 as the wire, the independent watchdog.
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

uint32_t rc_chip_init(void)
{
    uint32_t qspi = (uintptr_t)rc_image_start >= QSPI_MEMORY_BASE || RC_TABLE_ADDRESS >= QSPI_MEMORY_BASE ? 1u : 0u;
    rc_h743_clocks_t clocks = rc_h743_clocks();
    RC_REG32(RCC_AHB2ENR) |= 7u << 29; /* SRAM1, SRAM2, SRAM3 */
    if (qspi != 0u) {
        qspi =
            rc_h743_qspi(); /* when it does not answer, what lies there is closed: the first read of it is told as a fault */
    }
    rc_h743_caches(qspi);

    RC_REG32(RCC_AHB4ENR) |= 1u << 3;
    RC_REG32(RCC_APB1LENR) |= 1u << 18;
    (void)RC_REG32(RCC_APB1LENR); /* the clock runs after a read back */
    rc_h743_pin(GPIOD, 8, 7);
    rc_h743_pin(GPIOD, 9, 7);
    RC_REG32(USART3_BRR) = (clocks.apb1_hz + RC_UART_BAUD / 2u) / RC_UART_BAUD;
    RC_REG32(USART3_CR1) = (1u << 29) | (1u << 3) | (1u << 2) | 1u; /* FIFO, transmitter, receiver, on */
    return clocks.core_hz;
}

uint32_t rc_chip_receive(uint8_t *byte)
{
    uint32_t status = RC_REG32(USART3_ISR);
    if ((status & ISR_OVERRUN) != 0u) {
        RC_REG32(USART3_ICR) = ISR_OVERRUN;
    }
    if ((status & ISR_RX_READY) == 0u) {
        return 0;
    }
    *byte = (uint8_t)RC_REG32(USART3_RDR);
    return 1;
}

uint32_t rc_chip_send(uint8_t byte)
{
    if (rc_chip_wait(USART3_ISR, ISR_TX_SPACE, ISR_TX_SPACE) == 0u) {
        return 0;
    }
    RC_REG32(USART3_TDR) = byte;
    return 1;
}

void rc_chip_drain(void)
{
    (void)rc_chip_wait(USART3_ISR, ISR_TX_DONE, ISR_TX_DONE);
}

#define LSI_PER_MS   32u /* about 32 kHz */
#define IWDG_DIVIDER 256u
#define IWDG_MOST    0xFFFu /* 32.8 s */
/* Which clocks run on, and which counters stand, while a debugger halts the core (RM0433, "Microcontroller debug unit"). */
#define CR_D3DBGCKEN (1u << 22)
#define FZ_IWDG1     (1u << 18)

void rc_arm_hardware_watchdog_start(uint32_t timeout_ms)
{
    uint32_t count = (timeout_ms > 60000u ? 60000u : timeout_ms) * LSI_PER_MS / IWDG_DIVIDER;
    RC_REG32(DBGMCU_CR) |= CR_D3DBGCKEN;
    RC_REG32(DBGMCU_APB4FZ) |= FZ_IWDG1;
    RC_REG32(IWDG1_KR) = 0xCCCCu; /* start: turns LSI on */
    RC_REG32(IWDG1_KR) = 0x5555u; /* open */
    RC_REG32(IWDG1_PR) = 6u;      /* / 256 */
    RC_REG32(IWDG1_RLR) = count > IWDG_MOST ? IWDG_MOST : count;
    (void)rc_chip_wait(IWDG1_SR, 7u, 0); /* the values are taken over all the same where RVU stays set (revision Y) */
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
