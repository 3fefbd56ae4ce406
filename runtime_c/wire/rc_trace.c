/* TRACE: a supervision step op by op, with a checksum of the carry wherever the host wants to look. */
#include "recurc/rc_known.h"
#include "recurc/rc_port.h"
#include "recurc/rc_wire.h"

#define TRACE_REQUEST 4u

rc_status_t rc_trace(rc_ctx_t *ctx, const rc_frame_t *f, uint8_t *reply)
{
    if (f->length != TRACE_REQUEST) {
        return RC_ERR_ARGUMENT;
    }
    const uint32_t step = rc_get_u16(f->body), ops = rc_get_u16(f->body + 2), last = rc_info.ops;
    if (step == 0u || ops > last) {
        return RC_ERR_ARGUMENT;
    }
    if (step > rc_info.steps) {
        return RC_ERR_STEPS;
    }
    /* The end of a step is where a request that comes twice finds the model. */
    const uint32_t ended = step == ctx->step && ctx->op == 0u && ops == last;
    if (ended == 0u && (step != ctx->step + 1u || ops < ctx->op)) {
        return RC_ERR_STATE;
    }
    const uint64_t start = rc_port_ticks();
    const rc_status_t status = ended != 0u ? RC_OK : rc_ops(ctx, ops);
    const uint64_t ticks = rc_port_ticks() - start;
    rc_put_u16(reply, step);
    rc_put_u16(reply + 2, ops);
    rc_put_u16(reply + 4, last);
    rc_put_u16(reply + 6, 0);
    rc_put_u32(reply + 8, rc_carry_crc(ctx));
    rc_put_u64(reply + 12, ticks);
    return status;
}
