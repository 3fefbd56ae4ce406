/* Ambiq Apollo510: UART0 on pads 30 (TX) and 55 (RX), as on the evaluation board's COM port. COMPILED ONLY: not yet run
 * on a chip.
 *
 * The core stays at the 96 MHz ("low power") that the boot ROM leaves; its 250 MHz mode needs the vendor's power
 * sequence. Registers: Ambiq's public register pages for PWRCTRL, its device header for GPIO, its device-tree, UART,
 * watchdog and cache sources (hal_ambiq, mcu/apollo510). The UART is Arm's PL011 with a clock selector in CR: CLKEN bit
 * 3, CLKSEL bits 4-6, 1 = HFRC / 2 = 24 MHz (am_hal_uart.c). */
#include "rc_chip.h"
#include "rc_chip_caches.h"
#include "rc_pl011.h"
#include "recurc/rc_port.h"

#define RSTGEN_CFG     0x40000000u
#define GPIO_PINCFG0   0x40010000u /* one word a pad */
#define GPIO_PADKEY    0x40010400u
#define PWR_DEVPWREN   0x40021004u
#define PWR_DEVPWRSTAT 0x40021008u
#define WDT_CFG        0x40024000u /* layout of the Apollo4's public register pages; the clock taps are the same */
#define WDT_RSTRT      0x40024004u
#define UART0          0x40039000u

/* Armv8.1-M, Cortex-M55 Technical Reference Manual: memory system control, power mode control */
#define MEMSYSCTL_MSCR       0xE001E000u
#define PWRMODCTL_CPDLPSTATE 0xE001E300u

#define CORE_HZ       96000000u
#define UART_HZ       24000000u
#define PWR_UART0     (1u << 9)
#define PADKEY_OPEN   0x73u
#define PAD_UART0     4u /* function of both pads */
#define PAD_INPUT     (1u << 4)
#define CR_CLOCK_ON   (1u << 3)
#define CR_HFRC_24MHZ (1u << 4)
#define MSCR_ACTIVE   (3u << 12) /* ICACTIVE, DCACTIVE: the caches may be turned on */
#define RLPSTATE      (3u << 8)  /* power of the caches' RAM: 0 is on */

uint32_t rc_chip_init(void)
{
    RC_REG32(MEMSYSCTL_MSCR) |= MSCR_ACTIVE;
    if ((RC_REG32(PWRMODCTL_CPDLPSTATE) & RLPSTATE) == 0u) { /* as Ambiq's am_hal_cachectrl.c asks */
        rc_chip_caches_on();
    }
    RC_REG32(PWR_DEVPWREN) |= PWR_UART0;
    rc_chip_need(PWR_DEVPWRSTAT, PWR_UART0, PWR_UART0); /* no power, no wire */
    RC_REG32(GPIO_PADKEY) = PADKEY_OPEN;
    RC_REG32(GPIO_PINCFG0 + 4u * 30u) = PAD_UART0;
    RC_REG32(GPIO_PINCFG0 + 4u * 55u) = PAD_UART0 | PAD_INPUT;
    RC_REG32(GPIO_PADKEY) = 0;
    RC_REG32(UART0 + PL011_CR) = 0;
    RC_REG32(UART0 + PL011_CR) = CR_CLOCK_ON; /* before its source is chosen */
    rc_pl011_start(UART0, UART_HZ, RC_UART_BAUD, CR_CLOCK_ON | CR_HFRC_24MHZ);
    return CORE_HZ;
}

uint32_t rc_chip_receive(uint8_t *byte)
{
    return rc_pl011_receive(UART0, byte);
}

uint32_t rc_chip_send(uint8_t byte)
{
    return rc_pl011_send(UART0, byte);
}

void rc_chip_drain(void)
{
    rc_pl011_drain(UART0);
}

#define WDT_MOST_S 255u
#define CFG_WDREN  (1u << 1) /* the watchdog's end reaches the reset generator */

void rc_arm_hardware_watchdog_start(uint32_t timeout_ms)
{
    uint32_t seconds = timeout_ms / 1000u + 1u;
    seconds = seconds > WDT_MOST_S ? WDT_MOST_S : seconds;
    RC_REG32(WDT_CFG) = (3u << 24) | (seconds << 8) | (1u << 2); /* 1 Hz, reset */
    RC_REG32(RSTGEN_CFG) |= CFG_WDREN;
    rc_arm_hardware_watchdog_feed();
    RC_REG32(WDT_CFG) |= 1u; /* on */
}

void rc_arm_hardware_watchdog_feed(void)
{
    RC_REG32(WDT_RSTRT) = 0xB2u;
}

uint32_t rc_port_reset_cause(void)
{
    return RC_RESET_UNKNOWN; /* its reset status register is not public */
}
