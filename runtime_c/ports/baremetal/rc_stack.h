/* Stack symbols of the linker scripts. The stack is the first thing in its region, so that an overflow leaves the
 * region's lower end, where nothing answers, instead of destroying data. */
#ifndef RECURC_STACK_H
#define RECURC_STACK_H

#include <stdint.h>

#define RC_STACK_PATTERN 0xC5C5C5C5u

extern uint32_t rc_stack_limit[]; /* lowest address */
extern uint32_t rc_stack_top[];   /* first address after the stack */

#endif
