/* A panic of ESP-IDF as a FAULT frame, before ESP-IDF's own handler goes on. Only in programs that are linked with
 * --wrap=esp_panic_handler, as recurc's own firmware is by the CMakeLists.txt of its main component: nothing else refers
 * to what is defined here, so the linker leaves this file in the component's archive, and a product that has the
 * component keeps its panics and its task watchdog's handler to itself. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "esp_attr.h"
#include "esp_private/panic_internal.h"
#include "esp_task_wdt.h"
#include "rc_esp_panic.h"
#include "xtensa_context.h"

#include "recurc/rc_port.h"

#define WINDOW_BITS 0xC0000000u /* of a return address: how far the caller rotated the register window */
#define CODE_BITS   0x40000000u /* what stands there in every code address */

void __real_esp_panic_handler(panic_info_t *info);
void __wrap_esp_panic_handler(panic_info_t *info);

static volatile bool starved;   /* the task watchdog has run out */
static panic_info_t *panicking; /* the panic that is being told of */

/* ESP-IDF calls this when the task watchdog runs out, before it panics in the name of the task that hangs. */
void esp_task_wdt_isr_user_handler(void)
{
    starved = true;
}

static void IRAM_ATTR go_on(void)
{
    __real_esp_panic_handler(panicking); /* says what it knows, and restarts the chip */
}

/* In place of ESP-IDF's handler; flash is readable again when it is called. A panic within a panic is left to ESP-IDF.
 * Over USB nothing is sent: without its driver there is no one to fetch it. */
void IRAM_ATTR __wrap_esp_panic_handler(panic_info_t *info)
{
    rc_fault_t fault = {0, 0, 0, 0, 0, 0, RC_FAULT_EXCEPTION};
    if (panicking != NULL || info->frame == NULL) {
        __real_esp_panic_handler(info);
        return;
    }
    const XtExcFrame *frame = info->frame;
    panicking = info;
    rc_esp_panic_end = go_on;
    fault.pc = (uint32_t)frame->pc;
    if ((fault.pc & WINDOW_BITS) != 0u) {
        fault.pc = (fault.pc & ~WINDOW_BITS) | CODE_BITS;
    }
    fault.lr = ((uint32_t)frame->a0 & ~WINDOW_BITS) | CODE_BITS;
    fault.cfsr = (uint32_t)frame->exccause; /* RISC-V's ports put mcause here; this is Xtensa's EXCCAUSE */
    fault.mmfar = (uint32_t)frame->excvaddr;
    if (starved || info->exception == PANIC_EXCEPTION_IWDT || info->exception == PANIC_EXCEPTION_TWDT) {
        fault.cause = RC_FAULT_WATCHDOG;
    }
#ifdef RC_WIRE_USB
    (void)fault;
    rc_port_reset();
#else
    rc_fault(&fault);
#endif
}
