/* SOLVE: the device answers a puzzle by itself, and tells of each step on the way. */
#include "recurc/rc_crc32.h"
#include "recurc/rc_port.h"
#include "recurc/rc_solve.h"
#include "recurc/rc_wire.h"

rc_status_t rc_wire_noise(const rc_frame_t *f, rc_wire_noise_t *noise)
{
    const uint8_t *b = f->body;
    const rc_wire_noise_t none = {0.0f, 0u, 0u, 0u};
    *noise = none;
    if (f->length == RC_WIRE_PLAIN) {
        return RC_OK;
    }
    if (f->length != RC_WIRE_NOISY || b[25] != 0u) {
        return RC_ERR_ARGUMENT;
    }
    noise->sigma = rc_get_f32(b + 20);
    noise->at = b[24];
    noise->run = rc_get_u16(b + 26);
    noise->seed = rc_get_u32(b + 28);
    return noise->at > RC_NOISE_AT_STEP || !(noise->sigma >= 0.0f) || !(noise->sigma - noise->sigma == 0.0f) ||
                   (noise->sigma != 0.0f && rc_info.restarts == 0u)
               ? RC_ERR_ARGUMENT
               : RC_OK;
}

rc_status_t rc_solving(rc_server_t *s, const rc_frame_t *f, uint8_t *reply)
{
    const uint8_t *b = f->body;
    if (s->image_status != RC_OK) {
        return s->image_status;
    }
    rc_wire_noise_t noise;
    if (rc_wire_noise(f, &noise) != RC_OK || noise.run != 0u ||
        rc_get_u32(b + 12) != rc_crc32(0, s->input, rc_info.seq_len)) {
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
        .noise = noise.sigma,
        .noise_at = noise.at,
        .seed = noise.seed,
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
