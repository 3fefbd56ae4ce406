/* Stack high-water mark: the startup fills the stack with a pattern, and what no longer shows it was used. */
#include "recurc/rc_asm.h"
#include "recurc/rc_port.h"

#include "rc_stack.h"

RC_ASM_CONSTANT(RC_STACK_PATTERN, 0xC5C5C5C5u); /* rc_startup.c, rc_start.S */

uint32_t rc_port_stack_size(void)
{
    return (uint32_t)((uintptr_t)rc_stack_top - (uintptr_t)rc_stack_limit);
}

uint32_t rc_port_stack_used(void)
{
    const uint32_t *p = rc_stack_limit;
    while (p < rc_stack_top && *p == RC_STACK_PATTERN) {
        p++;
    }
    return (uint32_t)((uintptr_t)rc_stack_top - (uintptr_t)p);
}
