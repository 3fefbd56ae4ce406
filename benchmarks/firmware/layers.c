/* Counts the ticks of whole layers: rows quantized from fp32, then every tile of channels to fp32, each over the last one's
 * results, as in models. Weights and groups' scales are the random bytes of the image, which every packing takes. Sends, per
 * line of CASES and of WIDTHS: rows, depth, channels, index of the width, ticks, each u64, low word first. Functions and
 * packing come as macros from benchmarks/counting.py. */
#include "recurc/rc_kernels.h"
#include "recurc/rc_port.h"

#define MAX_ROWS     97u
#define MAX_INPUT    (97u * 1536u)
#define MAX_OUTPUT   (97u * TILE)
#define MAX_DEPTH    1536u
#define MAX_CHANNELS 3072u

extern const uint8_t rc_image_start[];

__attribute__((section(".recurc_arena"), aligned(64))) static struct {
    float x[MAX_INPUT], y[MAX_OUTPUT], a[MAX_ROWS], scale[MAX_CHANNELS];
    __attribute__((aligned(16))) ACT q[MAX_INPUT + MAX_ROWS * 16u];
    __attribute__((aligned(16))) uint8_t w[16u * MAX_DEPTH];
    int32_t sum[MAX_ROWS];
    uint8_t zero[MAX_CHANNELS];
} m;

void rc_fault(const rc_fault_t *fault)
{
    (void)fault;
    rc_port_exit(99);
    for (;;) {
    }
}

static uint32_t up(uint32_t n, uint32_t to)
{
    return (n + to - 1u) / to * to;
}

typedef void tile_t(const ROWS_TYPE *x, const uint8_t *packed, uint32_t n, const uint8_t *zero, const float *scale,
                    float *y, uint32_t ldy, void *w);

static const uint8_t *none(uint32_t j, uint32_t ld)
{
    (void)j;
    (void)ld;
    return 0;
}

static const uint8_t *zeros(uint32_t j, uint32_t ld)
{
    (void)ld;
    return m.zero + j;
}

static const uint8_t *groups(uint32_t j, uint32_t ld)
{
    return rc_image_start + j * ((ld + 31u) / 32u);
}

/* A layer whose tiles of 512 k have `bytes` bytes; `beside` says where a tile's zero points or groups' scales are. */
__attribute__((always_inline)) static inline void layer(const uint32_t shape[3], tile_t *tile, uint32_t bytes,
                                                        const uint8_t *(*beside)(uint32_t j, uint32_t ld))
{
    const uint32_t rows = shape[0], depth = shape[1], channels = shape[2], ld = up(depth, DEPTH_MULTIPLE);
    QUANTIZE(m.x, depth, rows, depth, m.q, ld, m.a, m.sum);
    const ROWS_TYPE x = {m.q, m.a, m.sum, rows, ld};
    for (uint32_t j = 0; j < channels; j += TILE) {
        tile(&x, rc_image_start + j / TILE * (bytes * (ld / 512u)), TILE, beside(j, ld), m.scale + j, m.y, TILE, m.w);
    }
}

static void put(uint64_t value)
{
    uint8_t bytes[8];
    for (uint32_t i = 0; i < 8u; i++) {
        bytes[i] = (uint8_t)(value >> (8u * i));
    }
    rc_port_write(bytes, sizeof bytes);
}

#define MEASURE(index, tile, bytes, beside)                                                                            \
    {                                                                                                                  \
        const uint64_t start = rc_port_ticks();                                                                        \
        layer(CASES[i], tile, bytes, beside);                                                                          \
        const uint64_t ticks = rc_port_ticks() - start;                                                                \
        put(CASES[i][0]);                                                                                              \
        put(CASES[i][1]);                                                                                              \
        put(CASES[i][2]);                                                                                              \
        put(index);                                                                                                    \
        put(ticks);                                                                                                    \
    }

int main(void)
{
    static const uint32_t CASES[][3] = {CASE_LIST};
    uint32_t seed = 1u;
    for (uint32_t i = 0; i < MAX_INPUT; i++) {
        seed = seed * 1664525u + 1013904223u;
        m.x[i] = (float)(int32_t)(seed >> 8) - 8388608.0f;
    }
    for (uint32_t j = 0; j < MAX_CHANNELS; j++) {
        m.scale[j] = 1.0f;
        m.zero[j] = (uint8_t)(j % 16u);
    }
    for (uint32_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        WIDTHS(MEASURE)
    }
    rc_port_exit(0);
    return 0;
}
