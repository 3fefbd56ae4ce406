/* A stand-in for a compiled model: the interface of rc_model.h over a few lines of float arithmetic, every step of
 * which depends on the input, the image and the carry. DUMMY_BUG_STEP plants a one-bit difference in logits[7]. */
#include "model_config.h"
#include "recurc/rc_crc32.h"
#include "recurc/rc_model.h"

#define CARRY (RC_ROWS * RC_HIDDEN)
#define IMAGE_BYTES 1028u

typedef struct {
    float z_h[CARRY];
    float z_l[CARRY];
    float logits[RC_SEQ_LEN * RC_VOCAB];
    float q[2];
    uint8_t tokens[RC_SEQ_LEN];
    uint8_t input[RC_SEQ_LEN];
} arena_t;

_Static_assert(sizeof(arena_t) <= RC_ARENA_BYTES, "the arena is too small");

const rc_model_info_t rc_model_info = {
    RC_SEQ_LEN, RC_VOCAB, RC_ROWS, RC_HIDDEN, 3, 12, 2, 3, RC_ARENA_BYTES, IMAGE_BYTES, 0,
    {1, 2, 3, 4, 5, 6, 7, 8, 9}, "dummy fp32"};

static arena_t *arena_of(const rc_ctx_t *ctx) {
    return (arena_t *)(void *)ctx->arena;
}

static uint32_t get_u32(const uint8_t *p) {
    return (uint32_t)p[0] | ((uint32_t)p[1] << 8) | ((uint32_t)p[2] << 16) | ((uint32_t)p[3] << 24);
}

rc_status_t rc_model_open(rc_ctx_t *ctx, const uint8_t *image, uint32_t image_size, uint8_t *arena, uint32_t arena_size) {
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
    ctx->state = 1;
    return RC_OK;
}

rc_status_t rc_model_begin(rc_ctx_t *ctx, const uint8_t *tokens, uint32_t puzzle) {
    arena_t *a = arena_of(ctx);
    if (ctx->state == 0u) {
        return RC_ERR_STATE;
    }
    if (puzzle >= rc_model_info.puzzles) {
        return RC_ERR_PUZZLE;
    }
    for (uint32_t i = 0; i < RC_SEQ_LEN; i++) {
        if (tokens[i] >= RC_VOCAB) {
            return RC_ERR_TOKEN;
        }
        a->input[i] = tokens[i];
    }
    for (uint32_t i = 0; i < CARRY; i++) {
        a->z_h[i] = 0.5f;
        a->z_l[i] = -0.25f;
    }
    ctx->puzzle = puzzle;
    ctx->step = 0;
    ctx->state = 2;
    return RC_OK;
}

#ifdef DUMMY_DEEP_STEP
/* Uses up any stack: each level keeps a buffer that the next one reads. */
static uint32_t deep(const volatile uint8_t *above, uint32_t levels) {
    volatile uint8_t buffer[64];
    for (uint32_t i = 0; i < sizeof buffer; i++) {
        buffer[i] = (uint8_t)(above[i & 15u] + i);
    }
    return levels == 0u ? buffer[5] : deep(buffer, levels - 1u) + buffer[7];
}
#endif

#ifdef DUMMY_PROBE
extern uint8_t rc_image_start[];

/* One access that the memory protection decides on; DUMMY_ADDRESS where it is not a symbol's. */
static rc_status_t probe(void) {
#if DUMMY_PROBE == 1 /* write into the weights image */
    ((volatile uint8_t *)rc_image_start)[4] ^= 1u;
#elif DUMMY_PROBE == 2 /* write into code */
    *(volatile uint32_t *)((uintptr_t)&rc_model_step & ~(uintptr_t)3) = 0;
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

rc_status_t rc_model_step(rc_ctx_t *ctx) {
    arena_t *a = arena_of(ctx);
    if (ctx->state != 2u) {
        return RC_ERR_STATE;
    }
    for (uint32_t i = 0; i < CARRY; i++) {
        uint32_t row = i / RC_HIDDEN;
        float weight = (float)ctx->image[4u + (i * 7u + ctx->step) % 1000u] * 0.0078125f;
        float token = row == 0u ? (float)ctx->puzzle : (float)a->input[row - 1u];
        a->z_l[i] = a->z_l[i] * 0.7f + a->z_h[(i * 3u + 1u) % CARRY] * weight + token * 0.1f;
        a->z_h[i] = a->z_h[i] * 0.3f + a->z_l[i] * 0.9f / (1.0f + a->z_l[i] * a->z_l[i]);
    }
    for (uint32_t cell = 0; cell < RC_SEQ_LEN; cell++) {
        uint32_t best = 0;
        for (uint32_t v = 0; v < RC_VOCAB; v++) {
            float x = a->z_h[(cell + 1u) * RC_HIDDEN + v] * (1.0f + (float)v * 0.05f);
            a->logits[cell * RC_VOCAB + v] = x;
            if (x > a->logits[cell * RC_VOCAB + best]) {
                best = v;
            }
        }
        a->tokens[cell] = (uint8_t)best;
    }
    a->q[0] = (float)ctx->step - 4.5f;
    a->q[1] = a->z_h[1];
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

const uint8_t *rc_model_tensor(const rc_ctx_t *ctx, uint32_t id, uint32_t *bytes) {
    const arena_t *a = arena_of(ctx);
    switch (id) {
    case RC_TENSOR_Z_H:
        *bytes = sizeof a->z_h;
        return (const uint8_t *)a->z_h;
    case RC_TENSOR_Z_L:
        *bytes = sizeof a->z_l;
        return (const uint8_t *)a->z_l;
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

uint32_t rc_model_halts(const rc_ctx_t *ctx, float threshold) {
    return arena_of(ctx)->q[0] > threshold ? 1u : 0u;
}
