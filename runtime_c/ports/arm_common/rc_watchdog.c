/* The watchdog of all Arm boards, in two stages. SysTick, which comes a few times a second anyway, looks whether the
 * program has fed it in time; if not, it raises PendSV, whose handler is the fault handler: the FAULT frame then tells
 * where the program hangs. Twice as late the chip's own watchdog resets it: should interrupts be off, or the clock be
 * wrong. That one runs from reset on: a clock or a supply that never gets ready ends in a reset. */
#include "rc_arm.h"
#include "recurc/rc_port.h"

#define ICSR_PENDSVSET (1u << 28)
#define LONGEST_PERIODS_MS                                                                                             \
    2000u /* two of SysTick's 24 bits at the slowest clock, by which the first stage may be late */

static volatile uint32_t started, alive;
static uint32_t guarded;      /* the chip's own watchdog runs */
static uint64_t since, limit; /* ticks; the handler's own once it is started */

void rc_arm_watchdog_first(uint32_t timeout_ms)
{
    rc_arm_hardware_watchdog_start(2u * timeout_ms + LONGEST_PERIODS_MS);
    guarded = 1;
}

void rc_port_watchdog_start(uint32_t timeout_ms)
{
    if (started != 0u) {
        return;
    }
    limit = (uint64_t)timeout_ms * (rc_port_tick_hz() / 1000u);
    since = rc_port_ticks();
    if (guarded == 0u) {
        rc_arm_watchdog_first(timeout_ms);
    }
    rc_arm_hardware_watchdog_feed();
    started = 1;
}

void rc_port_watchdog_feed(void)
{
    if (started != 0u) {
        alive = 1;
        rc_arm_hardware_watchdog_feed();
    }
}

/* Also what makes 64 bits of the 32-bit tick counters: they are looked at once a wrap at least. */
__attribute__((used)) void rc_systick_handler(void)
{
    uint64_t now = rc_port_ticks();
    if (started == 0u) {
        return;
    }
    if (alive != 0u) {
        alive = 0;
        since = now;
    } else if (now - since > limit) {
        RC_REG32(RC_SCB_ICSR) = ICSR_PENDSVSET; /* taken when this handler returns, with the frame of what hangs */
    }
}
