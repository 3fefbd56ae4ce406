/* Reports a fault over the wire, then ends the program: nothing after a fault can be trusted. */
#include "recurc/rc_port.h"
#include "recurc/rc_wire.h"

#define FAULT_BODY      28u
#define FAULT_EXIT_CODE 99u

void rc_fault(const rc_fault_t *fault)
{
    static uint8_t out[2u * FAULT_BODY];
    static const uint8_t delimiter = 0; /* ends whatever frame was being sent */
    uint8_t body[FAULT_BODY];
    rc_put_u32(body, fault->pc);
    rc_put_u32(body + 4, fault->lr);
    rc_put_u32(body + 8, fault->cfsr);
    rc_put_u32(body + 12, fault->hfsr);
    rc_put_u32(body + 16, fault->mmfar);
    rc_put_u32(body + 20, fault->bfar);
    rc_put_u32(body + 24, fault->cause);
    rc_port_write(&delimiter, 1);
    rc_port_write(out, rc_frame_build(RC_FRAME_FAULT, 0, body, FAULT_BODY, out));
    rc_port_exit(FAULT_EXIT_CODE);
}
