/* RP2350 as on the Raspberry Pi Pico 2: 150 MHz from the 12 MHz crystal, UART0 on GPIO 0 (TX) and 1 (RX). COMPILED
 * ONLY: not yet run on a chip.
 *
 * Registers: RP2350 datasheet, chapters Clocks, PLL, XOSC, Resets, GPIO, UART; addresses and bits compared with the
 * public pico-sdk (hardware/regs). Flash stays in the read mode that the boot ROM found, which is slower than the
 * SDK's. */
#include "rc_chip.h"
#include "rc_pl011.h"
#include "recurc/rc_port.h"

#define PSM_WDSEL        0x40018008u
#define WATCHDOG_CTRL    0x400D8000u
#define WATCHDOG_LOAD    0x400D8004u
#define WATCHDOG_REASON  0x400D8008u
#define TICKS_WD_CTRL    0x40108030u
#define TICKS_WD_CYCLES  0x40108034u
#define CLK_REF_CTRL     0x40010030u
#define CLK_REF_SELECTED 0x40010038u
#define CLK_SYS_CTRL     0x4001003Cu
#define CLK_SYS_SELECTED 0x40010044u
#define CLK_PERI_CTRL    0x40010048u
#define RESETS_RESET     0x40020000u
#define RESETS_DONE      0x40020008u
#define IO_GPIO0_CTRL    0x40028004u
#define IO_GPIO1_CTRL    0x4002800Cu
#define PADS_GPIO0       0x40038004u
#define PADS_GPIO1       0x40038008u
#define XOSC_CTRL        0x40048000u
#define XOSC_STATUS      0x40048004u
#define XOSC_STARTUP     0x4004800Cu
#define PLL_CS           0x40050000u
#define PLL_PWR          0x40050004u
#define PLL_FBDIV        0x40050008u
#define PLL_PRIM         0x4005000Cu
#define UART0            0x40070000u
#define ALIAS_CLEAR      0x3000u /* writes there clear the bits that are set in the value */

#define CORE_HZ    150000000u
#define CRYSTAL_HZ 12000000u
#define UNITS      ((1u << 6) | (1u << 9) | (1u << 14) | (1u << 26)) /* IO_BANK0, PADS_BANK0, PLL_SYS, UART0 */

/* The boot ROM's "image definition": an executable for Arm, secure, RP2350; one block that points to itself
 * (datasheet 5.9.5, "minimum viable image metadata"). It must lie within the first 4 KB of flash. */
__attribute__((section(".recurc_boot"), used)) static const uint32_t image_definition[5] = {
    0xFFFFDED3u, 0x10210142u, 0x000001FFu, 0x00000000u, 0xAB123579u};

/* The core's clock in Hz: 150 MHz, or the crystal's 12 MHz where the PLL does not lock. Without the crystal the chip
 * resets: the ring oscillator's speed is not known, and the UART needs one. */
static uint32_t clocks(void)
{
    RC_REG32(XOSC_CTRL) = 0xAA0u;   /* range 1-15 MHz */
    RC_REG32(XOSC_STARTUP) = 0xC4u; /* about 4 ms */
    RC_REG32(XOSC_CTRL) = 0xAA0u | (0xFABu << 12);
    rc_chip_need(XOSC_STATUS, 1u << 31, 1u << 31);
    /* Everything to the reference clock, that to the crystal; then the PLL may change. */
    RC_REG32(CLK_SYS_CTRL + ALIAS_CLEAR) = 1u;
    rc_chip_need(CLK_SYS_SELECTED, 3u, 1u);
    RC_REG32(CLK_REF_CTRL) = 2u;
    rc_chip_need(CLK_REF_SELECTED, 15u, 1u << 2);

    RC_REG32(PLL_PWR) = 0x2Du; /* all off */
    RC_REG32(PLL_CS) = 1u;     /* reference divider 1 */
    RC_REG32(PLL_FBDIV) = 125u;
    RC_REG32(PLL_PWR + ALIAS_CLEAR) = 0x21u;          /* VCO at 1500 MHz */
    RC_REG32(CLK_PERI_CTRL) = (1u << 11) | (4u << 5); /* UART from the crystal */
    if (rc_chip_wait(PLL_CS, 1u << 31, 1u << 31) == 0u) {
        return CRYSTAL_HZ;
    }
    RC_REG32(PLL_PRIM) = (5u << 16) | (2u << 12);
    RC_REG32(PLL_PWR + ALIAS_CLEAR) = 0x08u; /* the dividers behind it */

    RC_REG32(CLK_SYS_CTRL) = 0; /* auxiliary source: PLL_SYS */
    RC_REG32(CLK_SYS_CTRL) = 1u;
    rc_chip_need(CLK_SYS_SELECTED, 3u, 2u);
    return CORE_HZ;
}

uint32_t rc_chip_init(void)
{
    RC_REG32(RESETS_RESET + ALIAS_CLEAR) = UNITS;
    rc_chip_need(RESETS_DONE, UNITS, UNITS);
    uint32_t core_hz = clocks();
    RC_REG32(IO_GPIO0_CTRL) = 2u;
    RC_REG32(IO_GPIO1_CTRL) = 2u;
    RC_REG32(PADS_GPIO0) = 0x56u; /* 4 mA, input on, Schmitt trigger, and no longer isolated (bit 8) */
    RC_REG32(PADS_GPIO1) = 0x5Au; /* the same with pull-up: silence when nothing is connected */
    rc_pl011_start(UART0, CRYSTAL_HZ, RC_UART_BAUD, 0);
    return core_hz;
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

#define WATCHDOG_MOST_MS 16777u /* 24 bits of microseconds */

static uint32_t watchdog_load;

void rc_arm_hardware_watchdog_start(uint32_t timeout_ms)
{
    watchdog_load = (timeout_ms > WATCHDOG_MOST_MS ? WATCHDOG_MOST_MS : timeout_ms) * 1000u;
    RC_REG32(TICKS_WD_CYCLES) = CRYSTAL_HZ / 1000000u;
    RC_REG32(TICKS_WD_CTRL) = 1u;
    RC_REG32(PSM_WDSEL) = 0x01FFFFFFu & ~((1u << 2) | (1u << 3)); /* everything but the oscillators */
    RC_REG32(WATCHDOG_LOAD) = watchdog_load;
    RC_REG32(WATCHDOG_CTRL) = (1u << 30) | (7u << 24); /* on, and suspended while a debugger halts the core */
}

void rc_arm_hardware_watchdog_feed(void)
{
    RC_REG32(WATCHDOG_LOAD) = watchdog_load;
}

uint32_t rc_port_reset_cause(void)
{
    uint32_t reason = RC_REG32(WATCHDOG_REASON);
    return (reason & 1u) != 0u ? RC_RESET_WATCHDOG : (reason & 2u) != 0u ? RC_RESET_SOFTWARE : RC_RESET_UNKNOWN;
}
