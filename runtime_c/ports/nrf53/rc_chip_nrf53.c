/* nRF5340, application core: 128 MHz, UARTE0 on P0.20 (TX) and P0.22 (RX), as on the nRF5340 DK's virtual COM port.
 * COMPILED ONLY: not yet run on a chip.
 *
 * Registers: Nordic's nRF5340 Product Specification, chapters CLOCK, CACHE, UARTE; addresses compared with the public
 * nrfx (nrf5340_application.h). The core starts secure: peripherals at their secure addresses. The UART has DMA only:
 * it fills two one-byte buffers in turn. No MPU table: the factory's trim values lie outside the memory that a model
 * may use.
 *
 * When the crystal does not start, everything runs on the internal oscillator, which is less exact and as fast.
 *
 * Debug port: a reset closes it. It opens again when UICR.APPROTECT holds the word for "unprotected" and the firmware writes
 * the same to CTRL-AP's register (Product Specification, "CTRL-AP - Control access port"). The port copies UICR, as the
 * vendor's startup does, so that whoever protects a product by UICR keeps it protected. The word itself is written with the
 * firmware (`words` of the board's [flash]): an erased UICR means "protected". */
#include "rc_chip.h"
#include "recurc/rc_port.h"

#define FICR_PART_FAMILY      0x00FF0130u /* not in the Product Specification: what the vendor's nrf53_erratas.h reads, */
#define FICR_REVISION         0x00FF0134u /* to know which errata a chip has */
#define FICR_TRIM             0x00FF0300u /* up to 32 pairs of address and value, ended by all ones */
#define UICR_APPROTECT        0x00FF8000u
#define UICR_SECURE_APPROTECT 0x00FF801Cu
#define CACHE_ENABLE          0x50001500u
#define CTRLAP_DISABLE        0x50006544u
#define CTRLAP_SECURE_DISABLE 0x5000654Cu
#define RESET_RESETREAS       0x50005400u
#define WDT0_START            0x50018000u
#define WDT0_CRV              0x50018504u
#define WDT0_RREN             0x50018508u
#define WDT0_CONFIG           0x5001850Cu
#define WDT0_RR0              0x50018600u
#define CLOCK_HFCLKSTART      0x50005000u
#define CLOCK_HFCLKSTARTED    0x50005100u
#define CLOCK_HFCLKSRC        0x50005514u
#define CLOCK_HFCLKCTRL       0x50005558u
#define UARTE_STARTRX         0x50008000u
#define UARTE_STARTTX         0x50008008u
#define UARTE_EVENT_ENDRX     0x50008110u
#define UARTE_EVENT_ENDTX     0x50008120u
#define UARTE_EVENT_RXSTART   0x5000814Cu
#define UARTE_SHORTS          0x50008200u
#define UARTE_ERRORSRC        0x50008480u
#define UARTE_ENABLE          0x50008500u
#define UARTE_PSEL_RTS        0x50008508u
#define UARTE_PSEL_TXD        0x5000850Cu
#define UARTE_PSEL_CTS        0x50008510u
#define UARTE_PSEL_RXD        0x50008514u
#define UARTE_BAUDRATE        0x50008524u
#define UARTE_RXD_PTR         0x50008534u
#define UARTE_RXD_MAXCNT      0x50008538u
#define UARTE_TXD_PTR         0x50008544u
#define UARTE_TXD_MAXCNT      0x50008548u
#define UARTE_CONFIG          0x5000856Cu
#define P0_OUTSET             0x50842508u
#define P0_DIRSET             0x50842518u

#define CORE_HZ       128000000u
#define NRF5340       7u /* in FICR_PART_FAMILY */
#define TX_PIN        20u
#define RX_PIN        22u
#define DISCONNECTED  0xFFFFFFFFu
#define ENDRX_STARTRX (1u << 5)

_Static_assert(RC_UART_BAUD == 115200, "the register value below is that of 115200 baud");
#define BAUD_115200 0x01D60000u

static volatile uint8_t received[2], sent;
static uint32_t current; /* the buffer that the running transfer fills */

/* What every start-up of this chip does first: copy the factory's trim values to where they take effect. */
static void trim(void)
{
    for (uint32_t i = 0; i < 32u; i++) {
        uint32_t address = RC_REG32(FICR_TRIM + 8u * i);
        if (address == 0xFFFFFFFFu) {
            return;
        }
        RC_REG32(address) = RC_REG32(FICR_TRIM + 8u * i + 4u);
    }
}

/* Workarounds that the vendor's startup (system_nrf5340_application.c) has for the supply and the clock, by number and in
 * its order: `before` the trim values are copied, or after. Addresses without a name are not in the Product Specification.
 * Left out: 46, 49, 55 and 140, which concern the low-frequency oscillator, sleep and reset reasons. */
static void errata(uint32_t before)
{
    if (RC_REG32(FICR_PART_FAMILY) != NRF5340) {
        return;
    }
    uint32_t revision = RC_REG32(FICR_REVISION);
    uint32_t first = revision == 2u ? 1u : 0u; /* engineering silicon */
    if (before != 0u) {
        if (first != 0u && RC_REG32(0x50004A20u) == 0u) { /* 97: protection or startup problems */
            RC_REG32(0x50004A20u) = 0xDu;
            RC_REG32(0x5000491Cu) = 1u;
            RC_REG32(0x5000491Cu) = 0;
        }
        return;
    }
    if (first != 0u) {
        RC_REG32(0x5000470Cu) = 0x29u; /* 64: supply at 128 MHz; must come before 42 */
        RC_REG32(0x5000473Cu) = 3u;
        RC_REG32(0x50039530u) = 0xBEEF0044u; /* 42: HFCLKCTRL's value after a reset */
        RC_REG32(CLOCK_HFCLKCTRL) = 1u;
        RC_REG32(0x5000470Cu) = 0x65u; /* 69: supply's configuration in System OFF */
        __asm__ volatile("dsb" ::: "memory");
        RC_REG32(0x5084450Cu) = 0x4040u; /* 4: before 128 MHz (nrfx_clock.c) */
        RC_REG32(0x50026548u) = 0x40u;
        RC_REG32(0x50081EE4u) = 0x4Du;
    }
    if (revision < 2u || revision > 4u) { /* 160: the silicon that is sold now */
        static const uint32_t registers[9][2] = {{0x5000470Cu, 0x7Eu}, {0x5000493Cu, 0x7Eu}, {0x50002118u, 0x7Fu},
                                                 {0x50039E04u, 0},     {0x50039E08u, 0},     {0x50101110u, 0},
                                                 {0x50002124u, 0},     {0x5000212Cu, 0},     {0x502012A0u, 0}};
        for (uint32_t i = 0; i < 9u; i++) {
            RC_REG32(registers[i][0]) = registers[i][1];
        }
    }
}

uint32_t rc_chip_init(void)
{
    errata(1);
    trim();
    errata(0);
    RC_REG32(CTRLAP_DISABLE) = RC_REG32(UICR_APPROTECT);
    RC_REG32(CTRLAP_SECURE_DISABLE) = RC_REG32(UICR_SECURE_APPROTECT);
    RC_REG32(CLOCK_HFCLKCTRL) = 0; /* the core at 128 MHz */
    RC_REG32(CLOCK_HFCLKSRC) = 1u; /* from the crystal */
    RC_REG32(CLOCK_HFCLKSTARTED) = 0;
    RC_REG32(CLOCK_HFCLKSTART) = 1u;
    (void)rc_chip_wait(CLOCK_HFCLKSTARTED, 1u, 1u);
    RC_REG32(CACHE_ENABLE) = 1u;

    RC_REG32(P0_OUTSET) = 1u << TX_PIN;
    RC_REG32(P0_DIRSET) = 1u << TX_PIN;
    RC_REG32(UARTE_PSEL_RTS) = DISCONNECTED;
    RC_REG32(UARTE_PSEL_CTS) = DISCONNECTED;
    RC_REG32(UARTE_PSEL_TXD) = TX_PIN;
    RC_REG32(UARTE_PSEL_RXD) = RX_PIN;
    RC_REG32(UARTE_BAUDRATE) = BAUD_115200;
    RC_REG32(UARTE_CONFIG) = 0;
    RC_REG32(UARTE_SHORTS) = ENDRX_STARTRX;
    RC_REG32(UARTE_ENABLE) = 8u;
    RC_REG32(UARTE_RXD_MAXCNT) = 1u;
    RC_REG32(UARTE_RXD_PTR) = (uint32_t)(uintptr_t)&received[0];
    RC_REG32(UARTE_EVENT_RXSTART) = 0;
    RC_REG32(UARTE_EVENT_ENDRX) = 0;
    RC_REG32(UARTE_STARTRX) = 1u;
    (void)rc_chip_wait(UARTE_EVENT_RXSTART, 1u, 1u);
    RC_REG32(UARTE_EVENT_RXSTART) = 0;
    RC_REG32(UARTE_RXD_PTR) = (uint32_t)(uintptr_t)&received[1]; /* taken over when the next transfer starts */
    return CORE_HZ;
}

uint32_t rc_chip_receive(uint8_t *byte)
{
    if (RC_REG32(UARTE_EVENT_ENDRX) == 0u) {
        return 0;
    }
    (void)rc_chip_wait(UARTE_EVENT_RXSTART, 1u, 1u); /* the next transfer has taken its address */
    RC_REG32(UARTE_EVENT_ENDRX) = 0;
    RC_REG32(UARTE_EVENT_RXSTART) = 0;
    *byte = received[current];
    RC_REG32(UARTE_RXD_PTR) = (uint32_t)(uintptr_t)&received[current];
    current ^= 1u;
    return 1;
}

uint32_t rc_chip_send(uint8_t byte)
{
    sent = byte;
    RC_REG32(UARTE_TXD_PTR) = (uint32_t)(uintptr_t)&sent;
    RC_REG32(UARTE_TXD_MAXCNT) = 1u;
    RC_REG32(UARTE_EVENT_ENDTX) = 0;
    RC_REG32(UARTE_STARTTX) = 1u;
    return rc_chip_wait(UARTE_EVENT_ENDTX, 1u, 1u);
}

void rc_chip_drain(void)
{
    /* rc_chip_send returns when the byte is out */
}

#define WDT_HZ     32768u
#define WDT_RELOAD 0x6E524635u

void rc_arm_hardware_watchdog_start(uint32_t timeout_ms)
{
    uint64_t count = (uint64_t)timeout_ms * WDT_HZ / 1000u;
    RC_REG32(WDT0_CONFIG) = 1u; /* runs while the core sleeps, stands while a debugger halts it */
    RC_REG32(WDT0_CRV) = count > 0xFFFFFFFFu ? 0xFFFFFFFFu : count < 15u ? 15u : (uint32_t)count;
    RC_REG32(WDT0_RREN) = 1u;
    RC_REG32(WDT0_START) = 1u;
}

void rc_arm_hardware_watchdog_feed(void)
{
    RC_REG32(WDT0_RR0) = WDT_RELOAD;
}

uint32_t rc_port_reset_cause(void)
{
    static uint32_t reasons = 0xFFFFFFFFu;
    if (reasons == 0xFFFFFFFFu) {
        reasons = RC_REG32(RESET_RESETREAS);
        RC_REG32(RESET_RESETREAS) = reasons; /* written ones clear: they add up otherwise */
    }
    return (reasons & 2u) != 0u   ? RC_RESET_WATCHDOG
           : (reasons & 8u) != 0u ? RC_RESET_SOFTWARE
           : (reasons & 1u) != 0u ? RC_RESET_PIN
           : reasons == 0u        ? RC_RESET_POWER
                                  : RC_RESET_UNKNOWN;
}
