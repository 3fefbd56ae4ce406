/* SOLVE: the device answers a puzzle by itself, and tells of each step on the way. */
#include "recurc/rc_crc32.h"
#include "recurc/rc_port.h"
#include "recurc/rc_solve.h"
#include "recurc/rc_wire.h"

#define SOLVE_BODY 20u

rc_status_t rc_solving(rc_server_t *s, const rc_frame_t *f, uint8_t *reply)
{
    const uint8_t *b = f->body;
    if (s->image_status != RC_OK) {
        return s->image_status;
    }
    if (f->length != SOLVE_BODY || rc_get_u32(b + 12) != rc_crc32(0, s->input, rc_info.seq_len)) {
        return RC_ERR_ARGUMENT;
    }
    if (s->table_status != RC_OK) {
        return s->table_status;
    }
    const rc_policy_t policy = {
        .accept = b[0],
        .patience = b[1],
        .steps = rc_get_u16(b + 2),
        .restart_steps = rc_get_u16(b + 4),
        .restarts = rc_get_u16(b + 6),
        .threshold = rc_get_f32(b + 16),
    };
    rc_solver_t solver;
    rc_status_t status = rc_solve_begin(&solver, &s->ctx, &policy, s->input, rc_get_u32(b + 8));
    if (status != RC_OK) {
        return status;
    }
    uint64_t total = 0;
    s->answer = 0;
    while (status == RC_OK && solver.done == 0u) {
        const uint64_t start = rc_port_ticks();
        status = rc_solve_step(&solver);
        const uint64_t ticks = rc_port_ticks() - start;
        rc_port_watchdog_feed();
        if (status == RC_OK) {
            total += ticks;
            rc_send_step(s, f->seq, solver.steps, solver.run, ticks);
        }
    }
    s->answer = solver.answer;
    reply[0] = (uint8_t)status;
    reply[1] = (uint8_t)solver.solved;
    rc_put_u16(reply + 2, solver.steps);
    rc_put_u16(reply + 4, solver.run);
    rc_put_u16(reply + 6, solver.answer_run);
    rc_put_u64(reply + 8, total);
    rc_put_u32(reply + 16, rc_port_stack_used());
    rc_put_f32(reply + 20, solver.margin);
    rc_put_u32(reply + 24, solver.answer == 0 ? 0u : rc_crc32(0, solver.answer, rc_info.seq_len));
    rc_put_u16(reply + 28, solver.votes);
    return RC_OK;
}
