/* NXP i.MX RT1062 and RT1064: 396 MHz, LPUART1 on GPIO_AD_B0_12 (TX) and _13 (RX): the debug probe's port on an
 * MIMXRT1064-EVK, pins 24 and 25 of a Teensy 4.1. COMPILED ONLY: not yet run on a chip.
 *
 * i.MX RT1060 Processor Reference Manual, chapters CCM, IOMUXC, LPUART; addresses, bits and the order in which clocks
 * may change compared with the Teensy core (imxrt.h, clockspeed.c). 396 MHz is safe at the core voltage after reset. */
#include "rc_chip.h"
#include "rc_chip_caches.h"
#include "recurc/rc_port.h"

#define LPUART1_GLOBAL 0x40184008u
#define LPUART1_BAUD   0x40184010u
#define LPUART1_STAT   0x40184014u
#define LPUART1_CTRL   0x40184018u
#define LPUART1_DATA   0x4018401Cu
#define LPUART1_FIFO   0x40184028u
#define CCM_CACRR      0x400FC010u
#define CCM_CBCDR      0x400FC014u
#define CCM_CBCMR      0x400FC018u
#define CCM_CSCDR1     0x400FC024u
#define CCM_CDHIPR     0x400FC048u
#define CCM_CCGR3      0x400FC074u
#define CCM_CCGR5      0x400FC07Cu
#define WDOG1_WCR      0x400B8000u /* 16 bits each */
#define WDOG1_WSR      0x400B8002u
#define WDOG1_WRSR     0x400B8004u
#define WDOG1_WMCR     0x400B8008u
#define PLL_ARM        0x400D8000u
#define MUX_AD_B0_12   0x401F80ECu
#define MUX_AD_B0_13   0x401F80F0u
#define PAD_AD_B0_12   0x401F82DCu
#define PAD_AD_B0_13   0x401F82E0u

#define CORE_HZ        396000000u
#define CRYSTAL_HZ     24000000u
#define UART_HZ        24000000u
#define OVERSAMPLING   26u /* 24 MHz / 26 is within 0.2 % of 921600 and its divisors */
#define PERIPH_CLK_SEL (1u << 25)
#define STAT_SPACE     (1u << 23)
#define STAT_DONE      (1u << 22)
#define STAT_READY     (1u << 21)
#define STAT_OVERRUN   (1u << 19)

/* The core's clock in Hz: 396 MHz, or the crystal's 24 MHz where the PLL does not lock. A divider that never takes its
 * value over ends in a reset: nobody knows what runs then. */
static uint32_t clocks(void)
{
    /* Run from the 24 MHz crystal while the PLL changes. */
    RC_REG32(CCM_CBCDR) &= ~(7u << 27);
    RC_REG32(CCM_CBCMR) = (RC_REG32(CCM_CBCMR) & ~(3u << 12)) | (1u << 12);
    rc_chip_need(CCM_CDHIPR, 1u << 3, 0);
    RC_REG32(CCM_CBCDR) |= PERIPH_CLK_SEL;
    rc_chip_need(CCM_CDHIPR, 1u << 5, 0);
    RC_REG32(PLL_ARM) = 1u << 12;         /* power down */
    RC_REG32(PLL_ARM) = (1u << 13) | 66u; /* 24 MHz x 66 / 2 = 792 MHz */
    uint32_t locked = rc_chip_wait(PLL_ARM, 1u << 31, 1u << 31);
    RC_REG32(CCM_CACRR) = 1u; /* halved */
    rc_chip_need(CCM_CDHIPR, 1u << 16, 0);
    RC_REG32(CCM_CBCDR) = (RC_REG32(CCM_CBCDR) & ~((7u << 10) | (3u << 8))) | (2u << 8); /* core / 1, peripherals / 3 */
    rc_chip_need(CCM_CDHIPR, 1u << 1, 0);
    if (locked == 0u) {
        return CRYSTAL_HZ;
    }
    RC_REG32(CCM_CBCMR) |= 3u << 18; /* from the ARM PLL */
    RC_REG32(CCM_CBCDR) &= ~PERIPH_CLK_SEL;
    rc_chip_need(CCM_CDHIPR, 1u << 5, 0);
    return CORE_HZ;
}

uint32_t rc_chip_init(void)
{
    uint32_t core_hz = clocks();
    rc_chip_caches_on();
    RC_REG32(CCM_CSCDR1) = (RC_REG32(CCM_CSCDR1) & ~0x3Fu) | (1u << 6); /* UARTs from the crystal */
    RC_REG32(CCM_CCGR5) |= 3u << 24;
    RC_REG32(MUX_AD_B0_12) = 2u;
    RC_REG32(MUX_AD_B0_13) = 2u;
    RC_REG32(PAD_AD_B0_12) = 0x10B0u;
    RC_REG32(PAD_AD_B0_13) = 0x1B0B0u; /* with pull-up and hysteresis */
    RC_REG32(LPUART1_GLOBAL) = 2u;     /* reset */
    RC_REG32(LPUART1_GLOBAL) = 0;
    RC_REG32(LPUART1_BAUD) = ((OVERSAMPLING - 1u) << 24) | (UART_HZ / OVERSAMPLING + RC_UART_BAUD / 2u) / RC_UART_BAUD;
    RC_REG32(LPUART1_FIFO) |= (1u << 7) | (1u << 3);
    RC_REG32(LPUART1_CTRL) = (1u << 19) | (1u << 18);
    return core_hz;
}

uint32_t rc_chip_receive(uint8_t *byte)
{
    uint32_t status = RC_REG32(LPUART1_STAT);
    if ((status & STAT_OVERRUN) != 0u) {
        RC_REG32(LPUART1_STAT) = STAT_OVERRUN;
    }
    if ((status & STAT_READY) == 0u) {
        return 0;
    }
    *byte = (uint8_t)RC_REG32(LPUART1_DATA);
    return 1;
}

uint32_t rc_chip_send(uint8_t byte)
{
    if (rc_chip_wait(LPUART1_STAT, STAT_SPACE, STAT_SPACE) == 0u) {
        return 0;
    }
    RC_REG32(LPUART1_DATA) = byte;
    return 1;
}

void rc_chip_drain(void)
{
    (void)rc_chip_wait(LPUART1_STAT, STAT_DONE, STAT_DONE);
}

#define WDOG_MOST_MS 128000u

void rc_arm_hardware_watchdog_start(uint32_t timeout_ms)
{
    uint32_t halves = ((timeout_ms > WDOG_MOST_MS ? WDOG_MOST_MS : timeout_ms) + 499u) / 500u; /* of a second */
    halves = halves == 0u ? 1u : halves;
    RC_REG32(CCM_CCGR3) |= 3u << 16;
    RC_REG16(WDOG1_WMCR) = 0; /* the power-down counter, which would end in 16 s */
    /* WT; WDA and SRS are active low; on, and suspended while a debugger halts the core */
    RC_REG16(WDOG1_WCR) = (uint16_t)(((halves - 1u) << 8) | (1u << 5) | (1u << 4) | (1u << 2) | (1u << 1));
    rc_arm_hardware_watchdog_feed();
}

void rc_arm_hardware_watchdog_feed(void)
{
    RC_REG16(WDOG1_WSR) = 0x5555u;
    RC_REG16(WDOG1_WSR) = 0xAAAAu;
}

uint32_t rc_port_reset_cause(void)
{
    uint32_t flags = RC_REG16(WDOG1_WRSR);
    return (flags & 2u) != 0u    ? RC_RESET_WATCHDOG
           : (flags & 16u) != 0u ? RC_RESET_POWER
           : (flags & 1u) != 0u  ? RC_RESET_SOFTWARE
                                 : RC_RESET_UNKNOWN;
}
