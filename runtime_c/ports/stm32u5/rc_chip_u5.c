/* STM32U5A5 (and its family): 160 MHz from the internal 16 MHz oscillator, USART1 on PA9 and PA10, which a Nucleo's
 * ST-LINK passes on. COMPILED ONLY: not yet run on a chip.
 *
 * Registers: ST RM0456 chapters PWR, RCC, FLASH, GPIO, USART; addresses and bits compared with ST's public device
 * header (stm32u5a5xx.h). TrustZone off (TZEN = 0, the delivery state): non-secure addresses. Supply: the regulator
 * that is active after reset (LDO). */
#include "rc_chip.h"
#include "recurc/rc_port.h"

#define FLASH_ACR    0x40022000u
#define ICACHE_CR    0x40030400u
#define GPIOA_MODER  0x42020000u
#define GPIOA_OSPEED 0x42020008u
#define GPIOA_AFRH   0x42020024u
#define PWR_VOSR     0x4602080Cu
#define RCC_CR       0x46020C00u
#define RCC_CFGR1    0x46020C1Cu
#define RCC_CFGR2    0x46020C20u
#define RCC_PLL1CFGR 0x46020C28u
#define RCC_PLL1DIVR 0x46020C34u
#define RCC_AHB1ENR  0x46020C88u
#define RCC_AHB2ENR1 0x46020C8Cu
#define RCC_AHB2ENR2 0x46020C90u
#define RCC_AHB3ENR  0x46020C94u
#define RCC_APB2ENR  0x46020CA4u
#define RCC_CSR      0x46020CF4u
#define DBGMCU_FZ1   0xE0044008u
#define IWDG_KR      0x40003000u
#define IWDG_PR      0x40003004u
#define IWDG_RLR     0x40003008u
#define IWDG_SR      0x4000300Cu
#define USART1_CR1   0x40013800u
#define USART1_BRR   0x4001380Cu
#define USART1_ISR   0x4001381Cu
#define USART1_ICR   0x40013820u
#define USART1_RDR   0x40013824u
#define USART1_TDR   0x40013828u

#define CORE_HZ 160000000u
#define HSI_HZ  16000000u

#define SETTLE_READS 160u /* of a register, one or more cycles each: more than the 1 us of that step at 80 MHz */

#define CR_HSION    (1u << 8)
#define CR_HSIRDY   (1u << 10)
#define CR_PLL1ON   (1u << 24)
#define CR_PLL1RDY  (1u << 25)
#define VOSRDY      (1u << 15)
#define VOS_RANGE1  (3u << 16)
#define BOOSTRDY    (1u << 14)
#define BOOSTEN     (1u << 18)
#define HPRE_HALF   8u
#define ISR_OVERRUN (1u << 3)
#define ISR_READY   (1u << 5)
#define ISR_DONE    (1u << 6)
#define ISR_SPACE   (1u << 7)

/* From the internal oscillator to the PLL: 1, or 0 when something did not get ready within the bound of rc_chip_wait. */
static uint32_t full_speed(void)
{
    /* PLL1: 16 MHz x 20 / 2; input 8-16 MHz, output R; the booster's clock is the input itself. */
    RC_REG32(RCC_PLL1CFGR) = 2u | (3u << 2) | (1u << 18);
    RC_REG32(RCC_PLL1DIVR) = (20u - 1u) | ((2u - 1u) << 9) | ((2u - 1u) << 16) | ((2u - 1u) << 24);
    /* Range 1, then the booster, which more than 55 MHz needs. */
    RC_REG32(PWR_VOSR) |= VOS_RANGE1;
    if (rc_chip_wait(PWR_VOSR, VOSRDY, VOSRDY) == 0u) {
        return 0;
    }
    RC_REG32(PWR_VOSR) |= BOOSTEN;
    if (rc_chip_wait(PWR_VOSR, BOOSTRDY, BOOSTRDY) == 0u) {
        return 0;
    }
    RC_REG32(FLASH_ACR) = 4u | (1u << 8); /* wait states for 160 MHz in range 1, prefetch */
    if (rc_chip_wait(FLASH_ACR, 15u, 4u) == 0u) {
        return 0;
    }
    RC_REG32(RCC_CR) |= CR_PLL1ON;
    if (rc_chip_wait(RCC_CR, CR_PLL1RDY, CR_PLL1RDY) == 0u) {
        return 0;
    }
    /* 80 MHz for a while, then 160: ST asks for this step of the L4+ and G4 (RM0432, RM0440, chapter RCC, above 80 MHz);
     * its driver for the U5 goes without, so it is caution. APB1 and APB2 run at AHB's clock. */
    RC_REG32(RCC_CFGR2) = (RC_REG32(RCC_CFGR2) & ~0x77Fu) | HPRE_HALF;
    RC_REG32(RCC_CFGR1) |= 3u;
    if (rc_chip_wait(RCC_CFGR1, 3u << 2, 3u << 2) == 0u) {
        return 0;
    }
    for (uint32_t i = 0; i < SETTLE_READS; i++) {
        (void)RC_REG32(RCC_CFGR1);
    }
    RC_REG32(RCC_CFGR2) &= ~0xFu;
    return 1;
}

/* The core's clock in Hz: 160 MHz, or the 16 MHz of the internal oscillator where the way there ended early. */
static uint32_t clocks(void)
{
    RC_REG32(RCC_AHB3ENR) |= 1u << 2; /* PWR */
    (void)RC_REG32(RCC_AHB3ENR);      /* the clock runs after a read back */
    RC_REG32(RCC_CR) |= CR_HSION;
    rc_chip_need(RCC_CR, CR_HSIRDY, CR_HSIRDY); /* the 4 MHz after a reset are too slow for the UART */
    uint32_t hz = CORE_HZ;
    if (full_speed() == 0u) {
        RC_REG32(RCC_CFGR2) &= ~0x77Fu;
        RC_REG32(RCC_CFGR1) = (RC_REG32(RCC_CFGR1) & ~3u) | 1u;
        rc_chip_need(RCC_CFGR1, 3u << 2, 1u << 2);
        hz = HSI_HZ;
    }
    RC_REG32(ICACHE_CR) |= 1u;
    return hz;
}

uint32_t rc_chip_init(void)
{
    uint32_t core_hz = clocks();
    RC_REG32(RCC_AHB1ENR) |= 1u << 31;         /* SRAM1, */
    RC_REG32(RCC_AHB2ENR1) |= (3u << 30) | 1u; /* SRAM2, SRAM3, GPIOA, */
    RC_REG32(RCC_AHB2ENR2) |= 1u << 31;        /* SRAM5 */
    RC_REG32(RCC_APB2ENR) |= 1u << 14;         /* USART1 */
    (void)RC_REG32(RCC_APB2ENR);
    RC_REG32(GPIOA_AFRH) = (RC_REG32(GPIOA_AFRH) & ~0xFF0u) | 0x770u; /* PA9, PA10: function 7 */
    RC_REG32(GPIOA_OSPEED) |= 0xFu << 18;
    RC_REG32(GPIOA_MODER) = (RC_REG32(GPIOA_MODER) & ~(0xFu << 18)) | (0xAu << 18);
    RC_REG32(USART1_BRR) = (core_hz + RC_UART_BAUD / 2u) / RC_UART_BAUD;
    RC_REG32(USART1_CR1) = (1u << 29) | (1u << 3) | (1u << 2) | 1u; /* FIFO, transmitter, receiver, on */
    return core_hz;
}

uint32_t rc_chip_receive(uint8_t *byte)
{
    uint32_t status = RC_REG32(USART1_ISR);
    if ((status & ISR_OVERRUN) != 0u) {
        RC_REG32(USART1_ICR) = ISR_OVERRUN;
    }
    if ((status & ISR_READY) == 0u) {
        return 0;
    }
    *byte = (uint8_t)RC_REG32(USART1_RDR);
    return 1;
}

uint32_t rc_chip_send(uint8_t byte)
{
    if (rc_chip_wait(USART1_ISR, ISR_SPACE, ISR_SPACE) == 0u) {
        return 0;
    }
    RC_REG32(USART1_TDR) = byte;
    return 1;
}

void rc_chip_drain(void)
{
    (void)rc_chip_wait(USART1_ISR, ISR_DONE, ISR_DONE);
}

#define LSI_PER_MS   32u
#define IWDG_DIVIDER 1024u
#define IWDG_MOST    0xFFFu     /* 131 s */
#define FZ1_IWDG     (1u << 12) /* stands while a debugger halts the core (RM0456, "Microcontroller debug unit") */

void rc_arm_hardware_watchdog_start(uint32_t timeout_ms)
{
    uint32_t count = (timeout_ms > 132000u ? 132000u : timeout_ms) * LSI_PER_MS / IWDG_DIVIDER;
    RC_REG32(DBGMCU_FZ1) |= FZ1_IWDG;
    RC_REG32(IWDG_KR) = 0xCCCCu; /* start: turns LSI on */
    RC_REG32(IWDG_KR) = 0x5555u; /* open */
    RC_REG32(IWDG_PR) = 8u;      /* / 1024 */
    RC_REG32(IWDG_RLR) = count > IWDG_MOST ? IWDG_MOST : count;
    (void)rc_chip_wait(IWDG_SR, 3u, 0);
    RC_REG32(IWDG_KR) = 0xAAAAu;
}

void rc_arm_hardware_watchdog_feed(void)
{
    RC_REG32(IWDG_KR) = 0xAAAAu;
}

uint32_t rc_port_reset_cause(void)
{
    static uint32_t flags;
    if (flags == 0u) {
        flags = RC_REG32(RCC_CSR);
        RC_REG32(RCC_CSR) |= 1u << 23; /* forget them: they add up otherwise */
    }
    return (flags & (1u << 29)) != 0u   ? RC_RESET_WATCHDOG
           : (flags & (1u << 28)) != 0u ? RC_RESET_SOFTWARE
           : (flags & (1u << 27)) != 0u ? RC_RESET_POWER
           : (flags & (1u << 26)) != 0u ? RC_RESET_PIN
                                        : RC_RESET_UNKNOWN;
}
