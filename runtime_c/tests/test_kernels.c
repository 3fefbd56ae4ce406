/* Kernels against definitions: integers against the sums that SPEC.md writes down, floats against checksums that the
 * NumPy twin agrees with (tests/test_runtime_cmake.py). Every kernel that this computer runs has to give the same bits.
 */
#include <stdlib.h>
#include <string.h>

#include "recurc/rc_arith.h"
#include "recurc/rc_crc32.h"
#include "recurc/rc_kernels.h"
#ifdef RC_TEST_HOST
#include "recurc/rc_host.h"
#endif
#include "test.h"

#define MOST_ROWS     5u
#define MOST_K        160u
#define MOST_CHANNELS 48u
#define MOST_GROUPS   (MOST_K / 32u)

enum { INT8, INT4, GROUPS, FORMS };

/* A layer's stored weights and a tile of quantized rows, and what the product of both has to be. */
typedef struct {
    uint32_t form, rows, k, ld, n, groups;
    int32_t w[MOST_CHANNELS][MOST_K]; /* q of SPEC.md's stored weights */
    uint8_t zero[MOST_CHANNELS], m[MOST_CHANNELS][MOST_GROUPS];
    float scale[MOST_CHANNELS];
    _Alignas(16) int8_t q[MOST_ROWS * MOST_K];
    float a[MOST_ROWS];
    int32_t sum[MOST_ROWS];
    float y[MOST_ROWS][MOST_CHANNELS];
} layer_t;

static layer_t layer;
static _Alignas(64) uint8_t packed[MOST_CHANNELS * MOST_K];
static uint8_t zeros[MOST_CHANNELS], scales_of_groups[MOST_CHANNELS * MOST_GROUPS];

static uint32_t up(uint32_t n, uint32_t multiple)
{
    return (n + multiple - 1u) / multiple * multiple;
}

static void new_layer(uint32_t form, uint32_t rows, uint32_t k, uint32_t n)
{
    static const int32_t low[FORMS] = {-127, 0, -8}, high[FORMS] = {127, 15, 7};
    layer = (layer_t){.form = form, .rows = rows, .k = k, .ld = up(k, 8u), .n = n, .groups = up(k, 32u) / 32u};
    for (uint32_t j = 0; j < n; j++) {
        for (uint32_t i = 0; i < k; i++) {
            layer.w[j][i] = random_int(low[form], high[form]);
        }
        for (uint32_t g = 0; g < layer.groups; g++) {
            layer.m[j][g] = (uint8_t)random_int(0, 255);
        }
        layer.zero[j] = (uint8_t)(form == INT4 ? random_int(0, 15) : 0);
        layer.scale[j] = rc_abs(random_float()) + 0x1p-10f;
    }
    for (uint32_t r = 0; r < rows; r++) {
        for (uint32_t i = 0; i < k; i++) {
            layer.q[r * layer.ld + i] = (int8_t)random_int(-127, 127);
            layer.sum[r] += layer.q[r * layer.ld + i];
        }
        layer.a[r] = rc_abs(random_float()) + 0x1p-10f;
    }
    for (uint32_t r = 0; r < rows; r++) {
        for (uint32_t j = 0; j < n; j++) {
            int32_t acc = 0;
            for (uint32_t i = 0; i < k; i++) {
                const int32_t w = form == GROUPS ? layer.w[j][i] * layer.m[j][i / 32u] : layer.w[j][i];
                acc += layer.q[r * layer.ld + i] * w;
            }
            layer.y[r][j] = (float)(acc - layer.zero[j] * layer.sum[r]) * (layer.a[r] * layer.scale[j]);
        }
    }
}

/* Scales of groups, [channels / lanes][groups][lanes]. */
static void pack_groups(uint32_t lanes)
{
    memset(scales_of_groups, 0, sizeof scales_of_groups);
    for (uint32_t j = 0; j < layer.n; j++) {
        for (uint32_t g = 0; g < layer.groups; g++) {
            scales_of_groups[(j / lanes * layer.groups + g) * lanes + j % lanes] = layer.m[j][g];
        }
    }
}

/* Packing 4: tiles of 4 channels; int8 [K][4]; else two words for every four k. */
static void pack_apart(void)
{
    memset(packed, 0, sizeof packed);
    for (uint32_t j = 0; j < layer.n; j++) {
        for (uint32_t i = 0; i < layer.k; i++) {
            const uint32_t tile = j / 4u, c = j % 4u;
            if (layer.form == INT8) {
                packed[(tile * layer.ld + i) * 4u + c] = (uint8_t)layer.w[j][i];
            } else {
                const uint32_t value = (uint32_t)(layer.w[j][i] + (layer.form == GROUPS ? 8 : 0));
                const uint32_t bit = 4u * (i % 4u) + 16u * (c % 2u);
                uint8_t *word = packed + 4u * (tile * layer.ld / 2u + i / 4u * 2u + c / 2u);
                word[bit / 8u] = (uint8_t)(word[bit / 8u] | value << bit % 8u);
            }
        }
    }
    memcpy(zeros, layer.zero, sizeof zeros);
    pack_groups(4u);
}

typedef void tile_t(const rc_rows8_t *, const uint8_t *, uint32_t, const uint8_t *, const float *, float *, uint32_t,
                    void *);

static void check_product(const char *name, const float *y)
{
    for (uint32_t r = 0; r < layer.rows; r++) {
        if (memcmp(y + r * MOST_CHANNELS, layer.y[r], layer.n * sizeof(float)) != 0) {
            failures++;
            printf("%s: form %u, %u rows, K %u, %u channels: row %u differs\n", name, (unsigned)layer.form,
                   (unsigned)layer.rows, (unsigned)layer.k, (unsigned)layer.n, (unsigned)r);
            return;
        }
    }
}

static void check_portable(void)
{
    static tile_t *const kernels[FORMS] = {rc_tile_s8, rc_tile_s4, rc_tile_g32};
    static float y[MOST_ROWS * MOST_CHANNELS];
    const rc_rows8_t x = {layer.q, layer.a, layer.sum, layer.rows, layer.ld};
    pack_apart();
    memset(y, 0xA5, sizeof y);
    for (uint32_t j = 0; j < layer.n; j += 4u) {
        const uint32_t here = layer.n - j < 4u ? layer.n - j : 4u;
        const uint8_t *tile = packed + j * layer.ld / (layer.form == INT8 ? 1u : 2u);
        const uint8_t *second = layer.form == GROUPS ? scales_of_groups + j * layer.groups : zeros + j;
        kernels[layer.form](&x, tile, here, layer.form == INT8 ? 0 : second, layer.scale + j, y + j, MOST_CHANNELS, 0);
    }
    check_product("portable", y);
}

#ifdef RC_TEST_HOST
/* Packing 2: panels of 16 channels, bytes [K/4][16][4]; int8 as q + 128 with zero point 128. */
static void pack_panels(void)
{
    memset(packed, 0, sizeof packed);
    memset(zeros, 0, sizeof zeros);
    for (uint32_t j = 0; j < layer.n; j++) {
        for (uint32_t i = 0; i < layer.k; i++) {
            const int32_t add = layer.form == INT8 ? 128 : layer.form == GROUPS ? 8 : 0;
            packed[j / 16u * 16u * layer.ld + i / 4u * 64u + j % 16u * 4u + i % 4u] = (uint8_t)(layer.w[j][i] + add);
        }
        zeros[j] = layer.form == INT8 ? 128u : layer.zero[j];
    }
    pack_groups(16u);
}

static void check_host(const rc_host_kernels_t *variant)
{
    static float y[MOST_ROWS * MOST_CHANNELS];
    const rc_rows8_t x = {layer.q, layer.a, layer.sum, layer.rows, layer.ld};
    pack_panels();
    memset(y, 0xA5, sizeof y);
    if (layer.form == GROUPS) {
        variant->gemm_g32(&x, packed, layer.n, scales_of_groups, layer.scale, y, MOST_CHANNELS, 0);
    } else {
        variant->gemm8(&x, packed, layer.n, zeros, layer.scale, y, MOST_CHANNELS, 0);
        check_product(variant->name, y);
    }
    if (layer.form == INT4) {
        memset(y, 0xA5, sizeof y);
        variant->gemm4(&x, packed, layer.n, zeros, layer.scale, y, MOST_CHANNELS, 0);
    }
    check_product(variant->name, y);
}
#endif

static void products(void)
{
    static const uint32_t depths[] = {1, 7, 8, 31, 32, 33, 64, 97, 160}, channels[] = {1, 4, 5, 16, 17, 48};
    for (uint32_t form = 0; form < FORMS; form++) {
        for (uint32_t d = 0; d < sizeof depths / sizeof depths[0]; d++) {
            for (uint32_t c = 0; c < sizeof channels / sizeof channels[0]; c++) {
                new_layer(form, 1u + (d + c) % MOST_ROWS, depths[d], channels[c]);
                check_portable();
#ifdef RC_TEST_HOST
                for (uint32_t v = 0; rc_host_variant(v) != 0; v++) {
                    check_host(rc_host_variant(v));
                }
#endif
            }
        }
    }
}

/* Three words become four: the top bits of the operands make the fourth. One becomes two, whose operands are even, or odd
 * ones with a sign. */
static void unpacking(void)
{
    for (uint32_t flip = 0; flip < 2u; flip++) {
        const uint32_t f = flip != 0u ? 0x80808080u : 0u;
        uint32_t w[4], v[3], made[4];
        for (uint32_t i = 0; i < 4u; i++) {
            w[i] = random_bits() & 0x77777777u;
        }
        v[0] = w[0] | (w[3] & 0x11111111u) << 3;
        v[1] = w[1] | (w[3] & 0x22222222u) << 2;
        v[2] = w[2] | (w[3] & 0x44444444u) << 1;
        rc_unpack_s3((const uint8_t *)v, sizeof v, f, made);
        for (uint32_t i = 0; i < 4u; i++) {
            CHECK(made[i] == (w[i] ^ f));
            w[i] &= 0x66666666u;
        }
        v[0] = w[0] >> 1 | w[1] << 1;
        v[1] = w[2] >> 1 | w[3] << 1;
        rc_unpack_s2((const uint8_t *)v, 8u, f, made);
        for (uint32_t i = 0; i < 4u; i++) {
            CHECK(made[i] == (w[i] ^ f));
        }
        rc_unpack_g2((const uint8_t *)v, 8u, f, made);
        for (uint32_t i = 0; i < 8u * 4u; i++) {
            const uint32_t shift = i % 8u * 4u, middle = w[i / 8u] >> shift & 6u;
            const uint32_t odd = middle < 4u ? middle + 1u : middle + 9u; /* 1, 3, -3 or -1 of four bits */
            CHECK(((made[i / 8u] ^ f) >> shift & 15u) == odd);
        }
    }
}

#define FLOATS 97u /* no multiple of any vector */

/* What functions on rows of floats have to give, as CRC-32 of their output's bytes. */
typedef struct {
    rc_quantize_rows8_t *quantize_rows8;
    rc_silu_mul_t *silu_mul;
    rc_softmax_t *softmax;
    void (*rope)(float *x, uint32_t half, const float *cosine, const float *sine);
    rc_dot_s8_t *dot_s8;
    float (*dot_f32)(const float *x, const float *y, uint32_t n);
} floats_t;

static void expect(const char *kernels, const char *what, const void *data, uint32_t bytes, uint32_t crc)
{
    const uint32_t made = rc_crc32(0, data, bytes);
    if (made != crc) {
        failures++;
        printf("%s: %s has CRC 0x%08X, not 0x%08X\n", kernels, what, (unsigned)made, (unsigned)crc);
    }
}

static void rows_of_floats(const char *name, const floats_t *k)
{
    float x[FLOATS], y[FLOATS], z[FLOATS];
    int8_t q[104];
    float a = 0.0f;
    int32_t sum = 0;
    random_state = 2463534242u;
    for (uint32_t i = 0; i < FLOATS; i++) {
        x[i] = random_float();
    }
    for (uint32_t i = 0; i < FLOATS; i++) {
        y[i] = random_float();
    }
    k->quantize_rows8(x, FLOATS, 1, FLOATS, q, sizeof q, &a, &sum);
    expect(name, "quantize_rows8", q, sizeof q, 0xAD359AC6u);
    expect(name, "quantize_rows8's scale", &a, sizeof a, 0x6ED1655Au);
    expect(name, "quantize_rows8's sum", &sum, sizeof sum, 0x10E0F79Du);
    k->silu_mul(x, y, FLOATS, 1, FLOATS, z, FLOATS);
    expect(name, "silu_mul", z, sizeof z, 0xE30F7CE0u);
    memcpy(z, x, sizeof z);
    k->softmax(z, FLOATS);
    expect(name, "softmax", z, sizeof z, 0x3A09E080u);
    memcpy(z, x, sizeof z);
    rc_rms_norm(z, FLOATS, 1e-5f);
    expect(name, "rms_norm", z, sizeof z, 0x4D6CD00Eu);
    memcpy(z, x, sizeof z);
    k->rope(z, 32, y, y + 32);
    expect(name, "rope", z, 64u * sizeof(float), 0x3DFDA97Fu);
    const float dot = k->dot_f32(x, y, FLOATS);
    expect(name, "dot_f32", &dot, sizeof dot, 0xB66F95FCu);
    rc_linear_f32(x, 0, 1, 24, y, 4, z, 4);
    expect(name, "linear_f32", z, 4u * sizeof(float), 0x785D1F3Fu);
    CHECK(k->dot_s8(q, q + 1, 97) == rc_dot_s8(q, q + 1, 97));
}

static void arithmetic(void)
{
    CHECK(rc_round(0.5f) == 0 && rc_round(1.5f) == 2 && rc_round(-2.5f) == -2 && rc_round(126.6f) == 127);
    CHECK(rc_bits_of(rc_exp(0.0f)) == 0x3F800000 && rc_exp(-1e9f) == rc_exp(-87.0f) && rc_exp(1e9f) == rc_exp(88.0f));
    CHECK(rc_to_half(1.0f) == 0x3C00 && rc_to_half(1e9f) == 0x7BFF && rc_from_half(0x3C00) == 1.0f);
    float a = 1.0f;
    CHECK(rc_peak_scale(0x1p-97f, &a) == 0.0f && a == 0.0f);
    CHECK(rc_peak_scale(127.0f, &a) == 1.0f && a == 1.0f);
    CHECK(rc_peak_scale(rc_float_of(0x7F800000), &a) == 0.0f && a != a);
}

int main(void)
{
    static const floats_t portable = {rc_quantize_rows8, rc_silu_mul, rc_softmax, rc_rope, rc_dot_s8, rc_dot_f32};
    products();
    unpacking();
    rows_of_floats("portable", &portable);
#ifdef RC_TEST_HOST
    for (uint32_t v = 0; rc_host_variant(v) != 0; v++) {
        const rc_host_kernels_t *h = rc_host_variant(v);
        const floats_t here = {h->quantize_rows8, h->silu_mul, h->softmax, h->rope, h->dot_s8, h->dot_f32};
        printf("variant %s\n", h->name);
        rows_of_floats(h->name, &here);
    }
    const char *wanted = getenv("RECURC_KERNELS");
    CHECK(wanted == 0 || strcmp(wanted, "portable") != 0 || strcmp(rc_host->name, "portable") == 0);
#endif
    arithmetic();
    return verdict();
}
