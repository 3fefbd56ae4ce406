/* Registers and helpers that all Cortex-M cores share (Arm v7-M and v8-M Architecture Reference Manuals). */
#ifndef RECURC_ARM_H
#define RECURC_ARM_H

#include <stdint.h>

#define RC_REG32(address) (*(volatile uint32_t *)(uintptr_t)(address))

#define RC_REG16(address) (*(volatile uint16_t *)(uintptr_t)(address))

#define RC_ICTR          0xE000E004u
#define RC_SYSTICK_CTRL  0xE000E010u
#define RC_SYSTICK_LOAD  0xE000E014u
#define RC_SYSTICK_VALUE 0xE000E018u
#define RC_NVIC_ICER     0xE000E180u
#define RC_NVIC_ICPR     0xE000E280u
#define RC_SCB_ICSR      0xE000ED04u
#define RC_SCB_VTOR      0xE000ED08u
#define RC_SCB_AIRCR     0xE000ED0Cu
#define RC_SCB_CCR       0xE000ED14u
#define RC_SCB_SHPR2     0xE000ED1Cu
#define RC_SCB_SHPR3     0xE000ED20u
#define RC_SCB_SHCSR     0xE000ED24u
#define RC_SCB_CFSR      0xE000ED28u
#define RC_SCB_HFSR      0xE000ED2Cu
#define RC_SCB_MMFAR     0xE000ED34u
#define RC_SCB_BFAR      0xE000ED38u
#define RC_SCB_CPACR     0xE000ED88u

/* Start SysTick at its longest period (24 bits of core clock); its handler samples the tick counter. */
static inline void rc_arm_start_sampling(void)
{
    RC_REG32(RC_SYSTICK_LOAD) = 0x00FFFFFFu;
    RC_REG32(RC_SYSTICK_VALUE) = 0;
    RC_REG32(RC_SYSTICK_CTRL) = 7;
}

/* Extend a free-running 32-bit counter; must be called at least once per wrap. */
static inline uint64_t rc_arm_extend(uint32_t counter_address)
{
    static uint32_t last, wraps;
    uint32_t masked;
    __asm__ volatile("mrs %0, primask\n\tcpsid i" : "=r"(masked)::"memory");
    uint32_t now = RC_REG32(counter_address);
    if (now < last) {
        wraps++;
    }
    last = now;
    uint64_t ticks = ((uint64_t)wraps << 32) | now;
    __asm__ volatile("msr primask, %0" ::"r"(masked) : "memory");
    return ticks;
}

/* The chip's own watchdog behind rc_watchdog.c: each chip's port defines both. It may round the time up, and down to
 * the most that it can. */
void rc_arm_hardware_watchdog_start(uint32_t timeout_ms);
void rc_arm_hardware_watchdog_feed(void);

/* Start the chip's own watchdog alone, before anything that may stand still. The startup calls it where the board has one. */
void rc_arm_watchdog_first(uint32_t timeout_ms);

void rc_systick_handler(void);

static inline void rc_arm_reset(void)
{
    __asm__ volatile("dsb" ::: "memory");
    RC_REG32(RC_SCB_AIRCR) = 0x05FA0004u; /* SYSRESETREQ */
    for (;;) {
    }
}

#endif
