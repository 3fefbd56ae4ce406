/* SPDX-License-Identifier: Apache-2.0 */
/* Reset of a Cortex-M7: floating point on, variables in place, then main. */
#include <stdint.h>
#include <string.h>

extern uint32_t __stack[], __data_start[], __data_end[], __data_load[], __bss_start__[], __bss_end__[];
extern void initialise_monitor_handles(void); /* newlib's semihosting */
extern int main(void);
extern void exit(int);

void reset(void);
void fault(void);

/* Of the C library's start-up files, which -nostartfiles leaves out; kept with -flto, which sees no call of them. */
__attribute__((used)) void _init(void);
__attribute__((used)) void _fini(void);
void _init(void)
{
}
void _fini(void)
{
}

void fault(void)
{
    for (;;) {
    }
}

__attribute__((weak)) void systick(void)
{
    fault();
}

__attribute__((weak)) void pendsv(void)
{
    fault();
}

__attribute__((section(".vectors"), used)) static void (*const vectors[16])(void) = {
    (void (*)(void))(uintptr_t)__stack,
    reset,
    fault,
    fault,
    fault,
    fault,
    fault,
    0,
    0,
    0,
    0,
    fault,
    fault,
    0,
    pendsv,
    systick,
};

void reset(void)
{
    *(volatile uint32_t *)0xE000ED88u |= 0xFu << 20; /* CPACR: coprocessors 10 and 11, the floating-point unit */
    __asm__ volatile("dsb\n\tisb" ::: "memory");
    memcpy(__data_start, __data_load, (size_t)((uintptr_t)__data_end - (uintptr_t)__data_start));
    memset(__bss_start__, 0, (size_t)((uintptr_t)__bss_end__ - (uintptr_t)__bss_start__));
    initialise_monitor_handles();
    exit(main());
}
