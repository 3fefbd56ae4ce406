/* What a boot loader may leave behind, then the jump to the firmware. LEAVE says which; FIRMWARE is its reset
 * handler, STACK the end of some RAM that is not the firmware's stack. */
    .syntax unified
    .thumb
    .text
    .global _start
    .thumb_func
_start:
    cpsid i
#if LEAVE == 1                  /* an interrupt enabled and pending, for which the firmware's table has no entry */
    ldr r0, =0xE000E100
    movs r1, #0x20
    str r1, [r0]
    ldr r0, =0xE000E200
    str r1, [r0]
#elif LEAVE == 2                /* PendSV pending */
    ldr r0, =0xE000ED04
    ldr r1, =0x10000000
    str r1, [r0]
#elif LEAVE == 3                /* SysTick at full speed, in front of everything, and PendSV in front of it */
    ldr r0, =0xE000E014
    ldr r1, =2000
    str r1, [r0]
    movs r1, #0
    str r1, [r0, #4]
    movs r1, #7
    str r1, [r0, #-4]
    ldr r0, =0xE000ED20
    ldr r1, =0x40000000
    str r1, [r0]
#elif LEAVE == 4                /* priorities masked */
    ldr r0, =0xE000ED20
    ldr r1, =0x80800000
    str r1, [r0]
    movs r1, #0x40
    msr basepri, r1
#elif LEAVE == 5                /* the process stack in use */
    ldr r1, =STACK
    msr psp, r1
    movs r1, #2
    msr control, r1
    isb
#endif
    ldr r0, =FIRMWARE
    bx r0
    .ltorg
    .section .note.GNU-stack, "", %progbits
