/* Reset and trap entry of QEMU's RISC-V virt machine (RV32, machine mode). */
    .file "rc_start.S"
    .section .vectors, "ax"
    .globl rc_reset_handler
rc_reset_handler:
    .option push
    .option norelax
    la gp, __global_pointer$
    .option pop
    la sp, rc_stack_top
    li t0, 0x2200              /* mstatus.FS and VS: float and vector registers on, before any code that could use them; VS */
                               /* stays zero where there are none */
    csrs mstatus, t0
    la t0, rc_trap
    csrw mtvec, t0
    la t0, rc_stack_limit      /* paint the stack */
    li t1, 0xC5C5C5C5
1:  bgeu t0, sp, 2f
    sw t1, 0(t0)
    addi t0, t0, 4
    j 1b
2:  la a0, rc_data_load
    la a1, rc_data_start
    la a2, rc_data_end
3:  bgeu a1, a2, 4f
    lw t0, 0(a0)
    sw t0, 0(a1)
    addi a0, a0, 4
    addi a1, a1, 4
    j 3b
4:  la a1, rc_bss_start
    la a2, rc_bss_end
5:  bgeu a1, a2, 6f
    sw zero, 0(a1)
    addi a1, a1, 4
    j 5b
6:  call rc_port_init
    call main
    call rc_port_exit

    .align 4
rc_trap:                       /* no return: report on a fresh stack, the old one may be what overflowed */
    la sp, rc_stack_top
    csrr a0, mepc
    mv a1, ra
    csrr a2, mcause
    csrr a3, mtval
    call rc_trap_c

    .section .note.GNU-stack, "", %progbits
