/* A stand-in for a compiled model: the interface of rc.h over a few lines of float arithmetic, every step of
 * which depends on the input, the image, the puzzle's row and the carry. DUMMY_BUG_STEP plants a one-bit difference in
 * logits[7]; DUMMY_CARRY and DUMMY_TABLE are explained in model_config.h. */
#include "model_config.h"

#include <string.h>

#include "recurc/rc_crc32.h"
#include "recurc/rc.h"
#include "recurc/rc_table.h"

#define CARRY       (RC_ROWS * RC_HIDDEN)
#define IMAGE_BYTES 1028u
#define NO_ROW      0xFFFFFFFFu
#define FORMS       2u
#define RESTARTS    4u /* with noise */

typedef struct {
    float z_h[CARRY];
    float z_l[CARRY];
    float logits[RC_SEQ_LEN * RC_VOCAB];
    float q[2];
#if DUMMY_CARRY == 1
    uint16_t stored_h[CARRY], stored_l[CARRY];
#elif DUMMY_CARRY == 2
    int8_t stored_h[CARRY], stored_l[CARRY];
    float scale_h[RC_ROWS], scale_l[RC_ROWS];
#endif
#if DUMMY_TABLE
    const uint8_t *table; /* memory-mapped; null: rows come over the wire */
    uint32_t row_index;   /* puzzle whose row is held; NO_ROW: none */
    uint32_t collecting, collected;
    float row[RC_PUZZLE_DIM];
    uint8_t record[RC_RECORD_BYTES];
#endif
    uint8_t tokens[RC_SEQ_LEN];
    uint8_t input[RC_SEQ_LEN];
    uint8_t answers[(1u + RESTARTS) * RC_SEQ_LEN];
} arena_t;

_Static_assert(sizeof(arena_t) <= RC_ARENA_BYTES, "the arena is too small");

#define KEY {DUMMY_KEY, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}

const rc_info_t rc_info = {
    .seq_len = RC_SEQ_LEN,
    .vocab = RC_VOCAB,
    .rows = RC_ROWS,
    .hidden = RC_HIDDEN,
    .puzzles = RC_PUZZLES,
    .steps = 12,
    .h_cycles = 2,
    .l_cycles = 3,
    .ops = 1,
    .forms = FORMS,
    .forms_offset = 960u,
    .restarts = RESTARTS,
    .arena_bytes = RC_ARENA_BYTES,
    .image_bytes = IMAGE_BYTES,
    .carry = DUMMY_CARRY,
#if DUMMY_TABLE
    .table_dtype = DUMMY_TABLE,
    .table_rows = RC_PUZZLES,
    .record_bytes = RC_RECORD_BYTES,
#endif
    .key_offset = 1004u,
    .name = "dummy fp32",
};

#if DUMMY_TABLE
static const uint8_t TABLE_KEY[16] = KEY;
static const rc_table_spec_t TABLE = {RC_PUZZLES, RC_PUZZLE_DIM, DUMMY_TABLE - 1, RC_RECORD_BYTES, TABLE_KEY};
#endif

static arena_t *arena_of(const rc_ctx_t *ctx)
{
    return (arena_t *)(void *)ctx->arena;
}

static uint32_t get_u32(const uint8_t *p)
{
    return (uint32_t)p[0] | ((uint32_t)p[1] << 8) | ((uint32_t)p[2] << 16) | ((uint32_t)p[3] << 24);
}

rc_status_t rc_open(rc_ctx_t *ctx, const uint8_t *image, uint32_t image_size, uint8_t *arena, uint32_t arena_size,
                    const rc_options_t *options)
{
    (void)options;
    ctx->state = 0;
    if (image_size != IMAGE_BYTES) {
        return RC_ERR_IMAGE_SIZE;
    }
    if (image[0] != (uint8_t)'R') {
        return RC_ERR_IMAGE_MAGIC;
    }
    if (rc_crc32(0, image, image_size - 4u) != get_u32(image + image_size - 4u)) {
        return RC_ERR_IMAGE_CRC;
    }
    if (arena_size < RC_ARENA_BYTES) {
        return RC_ERR_ARENA;
    }
    ctx->image = image;
    ctx->arena = arena;
    ctx->answers = arena_of(ctx)->answers;
    ctx->state = 1;
#if DUMMY_TABLE
    arena_of(ctx)->table = 0;
    arena_of(ctx)->row_index = NO_ROW;
    arena_of(ctx)->collected = 0;
#endif
    return RC_OK;
}

rc_status_t rc_table(rc_ctx_t *ctx, const uint8_t *table, uint32_t bytes)
{
#if DUMMY_TABLE
    rc_status_t status = rc_table_check(table, bytes, &TABLE);
    arena_of(ctx)->table = status == RC_OK ? table : 0;
    return status;
#else
    (void)ctx;
    (void)table;
    (void)bytes;
    return RC_ERR_TABLE;
#endif
}

rc_status_t rc_row(rc_ctx_t *ctx, uint32_t index, uint32_t offset, const uint8_t *data, uint32_t n)
{
#if DUMMY_TABLE
    arena_t *a = arena_of(ctx);
    if (n == 0u || offset > RC_RECORD_BYTES || n > RC_RECORD_BYTES - offset) {
        return RC_ERR_ARGUMENT;
    }
    if (index >= RC_PUZZLES) {
        return RC_ERR_PUZZLE;
    }
    ctx->state = 1;
    a->row_index = NO_ROW;
    if (offset == 0u) {
        a->collecting = index;
    } else if (index != a->collecting || offset > a->collected) {
        a->collected = 0;
        return RC_ERR_ROW;
    }
    memcpy(a->record + offset, data, n);
    a->collected = offset + n;
    if (a->collected < RC_RECORD_BYTES) {
        return RC_OK;
    }
    rc_status_t status = rc_table_decode(a->record, index, &TABLE, a->row);
    a->row_index = status == RC_OK ? index : NO_ROW;
    return status;
#else
    (void)ctx;
    (void)index;
    (void)offset;
    (void)data;
    (void)n;
    return RC_ERR_TABLE;
#endif
}

/* The stored form of a carry that is not f32: a copy, so that the arithmetic stays what it is. */
static void store_carry(arena_t *a)
{
#if DUMMY_CARRY == 1
    for (uint32_t i = 0; i < 2u * CARRY; i++) { /* magnitudes of normal binary16 numbers, cut off; the rest become 0 */
        uint32_t bits;
        memcpy(&bits, i < CARRY ? &a->z_h[i] : &a->z_l[i - CARRY], 4);
        uint32_t exponent = bits >> 23 & 255u, sign = bits >> 16 & 0x8000u;
        uint32_t half = exponent > 112u && exponent < 143u ? (exponent - 112u) << 10 | (bits >> 13 & 1023u) : 0u;
        *(i < CARRY ? &a->stored_h[i] : &a->stored_l[i - CARRY]) = (uint16_t)(sign | half);
    }
#elif DUMMY_CARRY == 2
    for (uint32_t i = 0; i < 2u * CARRY; i++) {
        uint32_t at = i % CARRY, row = at / RC_HIDDEN;
        float scale = (float)(row + 1u) * (i < CARRY ? 0.03125f : 0.015625f);
        float q = (i < CARRY ? a->z_h[at] : a->z_l[at]) / scale;
        q = q > 127.0f ? 127.0f : q < -127.0f ? -127.0f : q;
        (i < CARRY ? a->scale_h : a->scale_l)[row] = scale;
        (i < CARRY ? a->stored_h : a->stored_l)[at] = (int8_t)q;
    }
#else
    (void)a;
#endif
}

rc_status_t rc_begin(rc_ctx_t *ctx, const uint8_t *tokens, uint32_t puzzle)
{
    arena_t *a = arena_of(ctx);
    if (ctx->state == 0u) {
        return RC_ERR_STATE;
    }
    if (puzzle >= rc_info.puzzles) {
        return RC_ERR_PUZZLE;
    }
    for (uint32_t i = 0; i < RC_SEQ_LEN; i++) {
        if (tokens[i] >= RC_VOCAB) {
            return RC_ERR_TOKEN;
        }
    }
    memcpy(a->input, tokens, RC_SEQ_LEN);
#if DUMMY_TABLE
    if (a->table != 0) {
        rc_status_t status = rc_table_decode(rc_table_record(a->table, &TABLE, puzzle), puzzle, &TABLE, a->row);
        a->row_index = status == RC_OK ? puzzle : NO_ROW;
    }
    if (a->row_index != puzzle) {
        ctx->state = 1;
        return RC_ERR_ROW;
    }
    a->collected = 0;
#endif
    for (uint32_t i = 0; i < CARRY; i++) {
        a->z_h[i] = 0.5f;
        a->z_l[i] = -0.25f;
    }
    store_carry(a);
    ctx->puzzle = puzzle;
    ctx->step = 0;
    ctx->op = 0;
    ctx->state = 2;
    return RC_OK;
}

#ifdef DUMMY_DEEP_STEP
/* Uses up any stack: each level keeps a buffer that the next one reads. */
static uint32_t deep(const volatile uint8_t *above, uint32_t levels)
{
    volatile uint8_t buffer[64];
    for (uint32_t i = 0; i < sizeof buffer; i++) {
        buffer[i] = (uint8_t)(above[i & 15u] + i);
    }
    return levels == 0u ? buffer[5] : deep(buffer, levels - 1u) + buffer[7];
}
#endif

#ifdef DUMMY_PROBE
/* One access that the memory protection decides on; DUMMY_ADDRESS where it is not a symbol's. */
static rc_status_t probe(void)
{
#if DUMMY_PROBE == 1 /* write into the weights image */
    ((volatile uint8_t *)(uintptr_t)rc_image_start)[4] ^= 1u;
#elif DUMMY_PROBE == 2 /* write into code */
    *(volatile uint32_t *)((uintptr_t)&rc_step & ~(uintptr_t)3) = 0;
#elif DUMMY_PROBE == 3 /* run instructions from RAM */
    static uint32_t ram[2];
    volatile uint16_t *code = (volatile uint16_t *)(void *)ram;
    code[0] = 0x4770u; /* bx lr */
    __asm__ volatile("dsb\n\tisb" ::: "memory");
    ((void (*)(void))((uintptr_t)code | 1u))();
#elif DUMMY_PROBE == 4 /* read */
    (void)*(volatile uint8_t *)(uintptr_t)DUMMY_ADDRESS;
#elif DUMMY_PROBE == 5 /* write */
    *(volatile uint8_t *)(uintptr_t)DUMMY_ADDRESS = 1u;
#endif
    return RC_OK;
}
#endif

#ifdef DUMMY_HANG_STEP
/* A loop without end; DUMMY_HANG_MASKED: with interrupts off. */
__attribute__((noinline)) static void hang(void)
{
    static volatile uint32_t turns;
#ifdef DUMMY_HANG_MASKED
    __asm__ volatile("cpsid i" ::: "memory");
#endif
    for (;;) {
        turns++;
    }
}
#endif

rc_status_t rc_step(rc_ctx_t *ctx)
{
    arena_t *a = arena_of(ctx);
    if (ctx->state != 2u) {
        return RC_ERR_STATE;
    }
    if (ctx->step >= rc_info.steps) {
        return RC_ERR_STEPS;
    }
    for (uint32_t i = 0; i < CARRY; i++) {
        uint32_t row = i / RC_HIDDEN;
        float weight = (float)ctx->image[4u + (i * 7u + ctx->step) % 1000u] * 0.0078125f;
#if DUMMY_TABLE
        float token = row == 0u ? a->row[i * 75u] : (float)a->input[row - 1u];
#else
        float token = row == 0u ? (float)ctx->puzzle : (float)a->input[row - 1u];
#endif
        a->z_l[i] = a->z_l[i] * 0.7f + a->z_h[(i * 3u + 1u) % CARRY] * weight + token * 0.1f;
        a->z_h[i] = a->z_h[i] * 0.3f + a->z_l[i] * 0.9f / (1.0f + a->z_l[i] * a->z_l[i]);
    }
    uint32_t changed = ctx->step == 0u;
    for (uint32_t cell = 0; cell < RC_SEQ_LEN; cell++) {
        uint32_t best = 0;
        for (uint32_t v = 0; v < RC_VOCAB; v++) {
            float x = a->z_h[(cell + 1u) * RC_HIDDEN + v] * (1.0f + (float)v * 0.05f);
            a->logits[cell * RC_VOCAB + v] = x;
            if (x > a->logits[cell * RC_VOCAB + best]) {
                best = v;
            }
        }
        changed |= a->tokens[cell] ^ best;
        a->tokens[cell] = (uint8_t)best;
    }
    ctx->same = changed != 0u ? 0u : ctx->same + 1u;
    a->q[0] = (float)ctx->step - 4.5f;
    a->q[1] = a->z_h[1];
    store_carry(a);
    ctx->step++;
#ifdef DUMMY_BUG_STEP
    if (ctx->step == DUMMY_BUG_STEP && a->input[0] == 2u) {
        ((uint8_t *)&a->logits[7])[0] ^= 1u;
    }
#endif
#ifdef DUMMY_CRASH_STEP
    if (ctx->step == DUMMY_CRASH_STEP) {
        *(volatile uint32_t *)(uintptr_t)0xFFFFFF00u = 1; /* no memory there on any board */
    }
#endif
#ifdef DUMMY_HANG_STEP
    if (ctx->step == DUMMY_HANG_STEP) {
        hang();
    }
#endif
#ifdef DUMMY_PROBE
    if (ctx->step == 2u) {
        return probe();
    }
#endif
#ifdef DUMMY_DEEP_STEP
    if (ctx->step == DUMMY_DEEP_STEP) {
        return deep(a->input, 1000000u) == 0u ? RC_OK : RC_ERR_STATE;
    }
#endif
    return RC_OK;
}

/* A step is a single op here. */
rc_status_t rc_noise(rc_ctx_t *ctx, uint32_t at, float sigma, uint32_t seed, uint32_t run)
{
    arena_t *a = arena_of(ctx);
    if (ctx->state != 2u) {
        return RC_ERR_STATE;
    }
    for (uint32_t i = 0; i < CARRY; i++) {
        a->z_h[i] += sigma * (float)((seed + 3u * run + at + i + ctx->step) % 7u);
    }
#ifdef DUMMY_BUG_NOISE
    a->z_h[5] += ctx->step == DUMMY_BUG_NOISE ? 0.5f : 0.0f;
#endif
    store_carry(a);
    return RC_OK;
}

rc_status_t rc_ops(rc_ctx_t *ctx, uint32_t ops)
{
    return ops == 0u ? RC_OK : rc_step(ctx);
}

const uint8_t *rc_tensor(const rc_ctx_t *ctx, uint32_t id, uint32_t *bytes)
{
    const arena_t *a = arena_of(ctx);
    switch (id) {
#if DUMMY_CARRY
    case RC_TENSOR_Z_H:
        *bytes = sizeof a->stored_h;
        return (const uint8_t *)a->stored_h;
    case RC_TENSOR_Z_L:
        *bytes = sizeof a->stored_l;
        return (const uint8_t *)a->stored_l;
#else
    case RC_TENSOR_Z_H:
        *bytes = sizeof a->z_h;
        return (const uint8_t *)a->z_h;
    case RC_TENSOR_Z_L:
        *bytes = sizeof a->z_l;
        return (const uint8_t *)a->z_l;
#endif
#if DUMMY_CARRY == 2
    case RC_TENSOR_H_SCALE:
        *bytes = sizeof a->scale_h;
        return (const uint8_t *)a->scale_h;
    case RC_TENSOR_L_SCALE:
        *bytes = sizeof a->scale_l;
        return (const uint8_t *)a->scale_l;
#endif
    case RC_TENSOR_LOGITS:
        *bytes = sizeof a->logits;
        return (const uint8_t *)a->logits;
    case RC_TENSOR_Q:
        *bytes = sizeof a->q;
        return (const uint8_t *)a->q;
    case RC_TENSOR_TOKENS:
        *bytes = sizeof a->tokens;
        return a->tokens;
    case RC_TENSOR_INPUT:
        *bytes = sizeof a->input;
        return a->input;
    default:
        *bytes = 0;
        return 0;
    }
}

float rc_margin(const rc_ctx_t *ctx)
{
    return arena_of(ctx)->q[0];
}

uint32_t rc_halts(const rc_ctx_t *ctx, float threshold, uint32_t patience)
{
    return rc_margin(ctx) > threshold && ctx->same >= patience ? 1u : 0u;
}
