/* SPDX-License-Identifier: Apache-2.0 */
/* The self-test: runs the puzzle that the image holds, and compares what every step leaves with what it has to. */
#include "recurc/rc_known.h"

#include <stddef.h>
#include <string.h>

#include "recurc/rc_compiler.h"
#include "recurc/rc_crc32.h"

RC_STATIC_ASSERT(sizeof(rc_known_t) == RC_KNOWN_HEAD_BYTES, "layout of the known answer");

#define OPENED 1u /* a context without a puzzle */

static uint32_t add_tensors(const rc_ctx_t *ctx, uint32_t crc, const uint8_t *ids, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        uint32_t bytes = 0;
        const uint8_t *data = rc_tensor(ctx, ids[i], &bytes);
        crc = data == 0 ? crc : rc_crc32(crc, data, bytes);
    }
    return crc;
}

uint32_t rc_carry_crc(const rc_ctx_t *ctx)
{
    static const uint8_t PARTS[] = {RC_TENSOR_Z_H, RC_TENSOR_H_SCALE, RC_TENSOR_Z_L, RC_TENSOR_L_SCALE,
                                    RC_TENSOR_COLUMNS};
    return add_tensors(ctx, 0, PARTS, sizeof PARTS);
}

static uint32_t step_crc(const rc_ctx_t *ctx)
{
    static const uint8_t OUTPUTS[] = {RC_TENSOR_LOGITS, RC_TENSOR_Q, RC_TENSOR_TOKENS};
    return add_tensors(ctx, rc_carry_crc(ctx), OUTPUTS, sizeof OUTPUTS);
}

rc_status_t rc_known(const rc_ctx_t *ctx, rc_known_t *known)
{
    if (ctx == 0 || known == 0) {
        return RC_ERR_ARGUMENT;
    }
    if (ctx->state == 0u) {
        return RC_ERR_STATE;
    }
    const rc_info_t *m = &rc_info;
    if (m->known_steps == 0u) {
        return RC_ERR_IMAGE_SECTION;
    }
    memcpy(known, ctx->image + m->known_offset, sizeof *known);
    const uint32_t right = known->steps >= 1u && known->steps <= m->known_steps && known->steps <= m->steps &&
                           known->ops >= 1u && known->ops <= m->ops;
    return right != 0u ? RC_OK : RC_ERR_IMAGE_SECTION;
}

/* What the model itself says of a number that is none, is a difference here: the right program left numbers. */
static rc_status_t differs(rc_status_t status)
{
    return status == RC_ERR_NUMBER ? RC_ERR_SELFTEST : status;
}

static rc_status_t compare(rc_ctx_t *ctx, const rc_known_t *known, const uint8_t *crcs, uint32_t steps)
{
    if (steps == 0u) {
        const rc_status_t status = rc_ops(ctx, known->ops);
        return status != RC_OK ? differs(status) : rc_carry_crc(ctx) == known->reduced ? RC_OK : RC_ERR_SELFTEST;
    }
    for (uint32_t i = 0; i < steps && i < known->steps; i++) {
        const rc_status_t status = rc_step(ctx);
        uint32_t wanted;
        memcpy(&wanted, crcs + (size_t)4u * i, sizeof wanted);
        if (status != RC_OK) {
            return differs(status);
        }
        if (step_crc(ctx) != wanted) {
            return RC_ERR_SELFTEST;
        }
    }
    return RC_OK;
}

rc_status_t rc_selftest(rc_ctx_t *ctx, uint32_t steps)
{
    rc_known_t known;
    rc_status_t status = rc_known(ctx, &known);
    if (status != RC_OK) {
        return status;
    }
    const uint8_t *crcs = ctx->image + rc_info.known_offset + RC_KNOWN_HEAD_BYTES;
    status = rc_begin(ctx, crcs + (size_t)4u * rc_info.known_steps, known.puzzle);
    if (status == RC_OK) {
        status = compare(ctx, &known, crcs, steps);
        ctx->state = OPENED;
    }
    return status;
}
