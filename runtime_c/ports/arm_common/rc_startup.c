/* Reset and fault handling of all Arm Cortex-M boards: vector table, FPU, .data and .bss, stack painting. */
#include <stdint.h>

#include "rc_arm.h"
#include "rc_mpu.h"
#include "rc_stack.h"
#include "recurc/rc_port.h"

#define ICSR_PENDSTCLR   (1u << 25)
#define ICSR_PENDSVCLR   (1u << 27)
#define EXCEPTION_NMI    2u
#define EXCEPTION_PENDSV 14u

extern uint32_t rc_data_load[], rc_data_start[], rc_data_end[], rc_bss_start[], rc_bss_end[];

int main(void);
void rc_reset_handler(void);
void rc_reset_c(void);
void rc_fault_handler(void);
void rc_fault_c(uint32_t frame_address);

extern const uintptr_t rc_vectors[];

/* Naked: nothing may touch the stack before it is painted and before the stack limit is set. A boot loader may have left
 * the core on the process stack, or with priorities masked. */
__attribute__((naked, noreturn)) void rc_reset_handler(void)
{
    __asm__ volatile("cpsid i\n"
                     "movs r0, #0\n"
                     "msr control, r0\n"
                     "isb\n"
                     "msr basepri, r0\n"
                     "msr faultmask, r0\n"
                     "ldr r0, =rc_stack_top\n"
                     "msr msp, r0\n"
                     "ldr r1, =rc_stack_limit\n"
#if defined(__ARM_ARCH) && __ARM_ARCH >= 8
                     "msr msplim, r1\n" /* Armv8-M checks every push against it */
#endif
                     "ldr r2, =0xC5C5C5C5\n" /* RC_STACK_PATTERN */
                     "1: cmp r1, r0\n"
                     "bhs 2f\n"
                     "str r2, [r1], #4\n"
                     "b 1b\n"
                     "2: b rc_reset_c\n"
                     ".ltorg\n");
}

/* What a boot loader may have left: interrupts enabled or pending, for which the vector table below has no entries;
 * SysTick and PendSV, which are the watchdog's; priorities, protected memory. After a reset this changes nothing. */
static void quiet(void)
{
    RC_REG32(RC_SYSTICK_CTRL) = 0;
    uint32_t words = (RC_REG32(RC_ICTR) & 15u) + 1u;
    for (uint32_t i = 0; i < words; i++) {
        RC_REG32(RC_NVIC_ICER + 4u * i) = 0xFFFFFFFFu;
        RC_REG32(RC_NVIC_ICPR + 4u * i) = 0xFFFFFFFFu;
    }
    RC_REG32(RC_SCB_ICSR) = ICSR_PENDSVCLR | ICSR_PENDSTCLR;
    RC_REG32(RC_SCB_SHPR2) = 0;
    RC_REG32(RC_SCB_SHPR3) = 0;
    RC_REG32(RC_MPU_CTRL) = 0;
    __asm__ volatile("dsb\n\tisb" ::: "memory");
}

__attribute__((noreturn, used)) void rc_reset_c(void)
{
    quiet();
    RC_REG32(RC_SCB_CPACR) |= 0xFu << 20; /* FPU and MVE on, before any code that could use them */
    __asm__ volatile("dsb\n\tisb" ::: "memory");
    RC_REG32(RC_SCB_VTOR) = (uint32_t)(uintptr_t)rc_vectors;
    RC_REG32(RC_SCB_SHCSR) |= 7u << 16; /* MemManage, BusFault, UsageFault each with its own cause */
    RC_REG32(RC_SCB_CCR) |= 1u << 4;    /* trap division by zero */
    for (uint32_t *to = rc_data_start, *from = rc_data_load; to < rc_data_end;) {
        *to++ = *from++;
    }
    for (uint32_t *to = rc_bss_start; to < rc_bss_end;) {
        *to++ = 0;
    }
#ifdef RC_WATCHDOG_MS
    rc_arm_watchdog_first(RC_WATCHDOG_MS); /* before the first wait for a clock */
#endif
#ifdef RC_MPU
    rc_mpu_on();
#endif
    __asm__ volatile("cpsie i" ::: "memory");
    rc_port_init();
    rc_port_exit((uint32_t)main());
    for (;;) {
    }
}

/* Pass on the exception frame and start over on a fresh stack: the old one may be what overflowed. */
__attribute__((naked, used)) void rc_fault_handler(void)
{
    __asm__ volatile("cpsid i\n"
                     "tst lr, #4\n"
                     "ite eq\n"
                     "mrseq r0, msp\n"
                     "mrsne r0, psp\n"
                     "ldr r1, =rc_stack_top\n"
                     "msr msp, r1\n"
                     "b rc_fault_c\n"
                     ".ltorg\n");
}

__attribute__((used, noreturn)) void rc_fault_c(uint32_t frame_address)
{
    rc_fault_t fault;
    fault.cfsr = RC_REG32(RC_SCB_CFSR);
    fault.hfsr = RC_REG32(RC_SCB_HFSR);
    fault.mmfar = RC_REG32(RC_SCB_MMFAR);
    fault.bfar = RC_REG32(RC_SCB_BFAR);
    fault.pc = 0;
    fault.lr = 0;
    uint32_t exception;
    __asm__ volatile("mrs %0, ipsr" : "=r"(exception));
    fault.cause = exception == EXCEPTION_PENDSV ? RC_FAULT_WATCHDOG
                  : exception == EXCEPTION_NMI  ? RC_FAULT_NMI
                                                : RC_FAULT_EXCEPTION;
    /* After a failed push there is no frame; reading one outside the stack would fault again and lock the core up.
     * The frame may be overwritten by this function's own stack only when the fault came near the stack's top. */
    uint32_t low = (uint32_t)(uintptr_t)rc_stack_limit, high = (uint32_t)(uintptr_t)rc_stack_top;
    if ((frame_address & 3u) == 0u && frame_address >= low && frame_address <= high - 32u &&
        (fault.cfsr & 0x00101010u) == 0u) { /* MSTKERR, STKERR, STKOF */
        const volatile uint32_t *frame = (const volatile uint32_t *)(uintptr_t)frame_address;
        fault.lr = frame[5];
        fault.pc = frame[6];
    }
    rc_fault(&fault);
    for (;;) {
    }
}

#define HANDLER(f) ((uintptr_t)(f))

__attribute__((section(".vectors"), used)) const uintptr_t rc_vectors[16] = {
    (uintptr_t)rc_stack_top,
    HANDLER(rc_reset_handler),
    HANDLER(rc_fault_handler), /* NMI */
    HANDLER(rc_fault_handler), /* HardFault */
    HANDLER(rc_fault_handler), /* MemManage */
    HANDLER(rc_fault_handler), /* BusFault */
    HANDLER(rc_fault_handler), /* UsageFault */
    HANDLER(rc_fault_handler), /* SecureFault, Armv8-M */
    0,
    0,
    0,
    HANDLER(rc_fault_handler), /* SVCall: never used */
    HANDLER(rc_fault_handler), /* DebugMonitor */
    0,
    HANDLER(rc_fault_handler), /* PendSV: the watchdog's (rc_watchdog.c) */
    HANDLER(rc_systick_handler),
};
