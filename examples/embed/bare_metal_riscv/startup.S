/* SPDX-License-Identifier: Apache-2.0 */
/* Reset of a RISC-V core in machine mode: floating point on, variables in place, then main. */
    .option arch, +zicsr
    .section .text.reset, "ax"
    .globl reset
reset:
    .option push
    .option norelax
    la gp, __global_pointer$
    .option pop
    la sp, __stack
    la tp, __tls_start         /* the C library's errno is a variable of a thread, of which there is one */
    li t0, 0x2000              /* mstatus.FS: the floating-point unit */
    csrs mstatus, t0
    la t0, fault
    csrw mtvec, t0
    la a0, __data_start
    la a1, __data_load
    la a2, __data_size
    call memcpy
    la a0, __bss_start
    li a1, 0
    la a2, __bss_size
    call memset
    call main
    call exit

    .align 2
fault:
    j fault

    .section .note.GNU-stack, "", %progbits
