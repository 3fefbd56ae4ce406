/* nRF5340, application core: 128 MHz, UARTE0 on P0.20 (TX) and P0.22 (RX), as on the nRF5340 DK's virtual COM port.
 * COMPILED ONLY: not yet run on a chip.
 *
 * Registers: Nordic's nRF5340 Product Specification, chapters CLOCK, CACHE, UARTE; addresses compared with the public
 * nrfx (nrf5340_application.h). The core starts secure: peripherals at their secure addresses. The UART has DMA only:
 * it fills two one-byte buffers in turn. No MPU table: the factory's trim values lie outside the memory that a model
 * may use. Left to the vendor's tools: errata workarounds of early silicon, and opening the debug port
 * (UICR.APPROTECT). */
#include "rc_chip.h"
#include "recurc/rc_port.h"

#define FICR_TRIM           0x00FF0300u /* up to 32 pairs of address and value, ended by all ones */
#define CACHE_ENABLE        0x50001500u
#define RESET_RESETREAS     0x50005400u
#define WDT0_START          0x50018000u
#define WDT0_CRV            0x50018504u
#define WDT0_RREN           0x50018508u
#define WDT0_CONFIG         0x5001850Cu
#define WDT0_RR0            0x50018600u
#define CLOCK_HFCLKSTART    0x50005000u
#define CLOCK_HFCLKSTARTED  0x50005100u
#define CLOCK_HFCLKSRC      0x50005514u
#define CLOCK_HFCLKCTRL     0x50005558u
#define UARTE_STARTRX       0x50008000u
#define UARTE_STARTTX       0x50008008u
#define UARTE_EVENT_ENDRX   0x50008110u
#define UARTE_EVENT_ENDTX   0x50008120u
#define UARTE_EVENT_RXSTART 0x5000814Cu
#define UARTE_SHORTS        0x50008200u
#define UARTE_ERRORSRC      0x50008480u
#define UARTE_ENABLE        0x50008500u
#define UARTE_PSEL_RTS      0x50008508u
#define UARTE_PSEL_TXD      0x5000850Cu
#define UARTE_PSEL_CTS      0x50008510u
#define UARTE_PSEL_RXD      0x50008514u
#define UARTE_BAUDRATE      0x50008524u
#define UARTE_RXD_PTR       0x50008534u
#define UARTE_RXD_MAXCNT    0x50008538u
#define UARTE_TXD_PTR       0x50008544u
#define UARTE_TXD_MAXCNT    0x50008548u
#define UARTE_CONFIG        0x5000856Cu
#define P0_OUTSET           0x50842508u
#define P0_DIRSET           0x50842518u

#define CORE_HZ       128000000u
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

uint32_t rc_chip_init(void)
{
    trim();
    RC_REG32(CLOCK_HFCLKCTRL) = 0; /* the core at 128 MHz */
    RC_REG32(CLOCK_HFCLKSRC) = 1u; /* from the crystal */
    RC_REG32(CLOCK_HFCLKSTARTED) = 0;
    RC_REG32(CLOCK_HFCLKSTART) = 1u;
    rc_chip_wait(CLOCK_HFCLKSTARTED, 1u, 1u);
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
    rc_chip_wait(UARTE_EVENT_RXSTART, 1u, 1u);
    RC_REG32(UARTE_EVENT_RXSTART) = 0;
    RC_REG32(UARTE_RXD_PTR) = (uint32_t)(uintptr_t)&received[1]; /* taken over when the next transfer starts */
    return CORE_HZ;
}

uint32_t rc_chip_receive(uint8_t *byte)
{
    if (RC_REG32(UARTE_EVENT_ENDRX) == 0u) {
        return 0;
    }
    rc_chip_wait(UARTE_EVENT_RXSTART, 1u, 1u); /* the next transfer has taken its address */
    RC_REG32(UARTE_EVENT_ENDRX) = 0;
    RC_REG32(UARTE_EVENT_RXSTART) = 0;
    *byte = received[current];
    RC_REG32(UARTE_RXD_PTR) = (uint32_t)(uintptr_t)&received[current];
    current ^= 1u;
    return 1;
}

void rc_chip_send(uint8_t byte)
{
    sent = byte;
    RC_REG32(UARTE_TXD_PTR) = (uint32_t)(uintptr_t)&sent;
    RC_REG32(UARTE_TXD_MAXCNT) = 1u;
    RC_REG32(UARTE_EVENT_ENDTX) = 0;
    RC_REG32(UARTE_STARTTX) = 1u;
    rc_chip_wait(UARTE_EVENT_ENDTX, 1u, 1u);
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
