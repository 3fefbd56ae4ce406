/* Runs kernels on vectors that lie in the image section and sends every output byte, guard bytes included, over the
 * board's wire: one program for this computer, its sanitizers and every emulated core. Written by vectors.py:
 * a record = 32 words {op, bytes, 8 parameters, 11 x (offset, bytes) of arrays, from the record's start}, then arrays. */
#include <string.h>

#include "recurc/rc_arith.h"
#include "recurc/rc_kernels.h"
#include "recurc/rc_port.h"

#ifdef DRIVER_HOST
#include "recurc/rc_host.h"
#endif
#if defined(DRIVER_HEAP) || defined(DRIVER_HOST)
#include <stdlib.h>
#endif

#define WORDS       32u
#define GUARD       64u
#define SENTINEL    0xA5
#define FLOAT_BYTES 4u

extern const uint8_t rc_image_start[];
extern const uint8_t rc_image_end[];

#ifndef DRIVER_HEAP
__attribute__((section(".recurc_arena"), aligned(64))) static uint8_t arena[ARENA_BYTES];
static uint32_t used;
#endif

void rc_fault(const rc_fault_t *fault)
{
    (void)fault;
    rc_port_exit(99);
    for (;;) {
    }
}

static uint32_t word(const uint8_t *record, uint32_t i)
{
    uint32_t value;
    memcpy(&value, record + 4u * i, sizeof value);
    return value;
}

static uint32_t param(const uint8_t *record, uint32_t i)
{
    return word(record, 2u + i);
}

/* DRIVER_HEAP: each array in a block of its own, so that a sanitizer sees the first byte beyond it. */
static void *room(uint32_t bytes, uint32_t skew)
{
#ifdef DRIVER_HEAP
    uint8_t *block = (uint8_t *)malloc(bytes + skew) + skew;
#else
    if (bytes + skew > ARENA_BYTES - used) {
        rc_port_exit(98);
    }
    uint8_t *block = arena + used + skew;
    used += (bytes + skew + 63u) / 64u * 64u;
#endif
    return block;
}

/* An input array at its own misalignment, read only. */
static const void *in(const uint8_t *record, uint32_t i)
{
    const uint8_t *from = record + word(record, 10u + 2u * i);
#ifdef DRIVER_HEAP
    const uint32_t bytes = word(record, 11u + 2u * i);
    void *copy = room(bytes, (uint32_t)((uintptr_t)from % 16u));
    memcpy(copy, from, bytes);
    return copy;
#else
    return from;
#endif
}

/* An output array filled with a sentinel, followed by a guard. */
static void *out(uint32_t bytes, uint32_t skew)
{
#ifdef DRIVER_HEAP
    void *block = room(bytes, skew);
    memset(block, SENTINEL, bytes);
#else
    void *block = room(bytes + GUARD, skew);
    memset(block, SENTINEL, bytes + GUARD);
#endif
    return block;
}

static void send(const void *data, uint32_t bytes)
{
    rc_port_write((const uint8_t *)data, bytes);
#ifdef DRIVER_HEAP
    uint8_t guard[GUARD];
    memset(guard, SENTINEL, GUARD);
    rc_port_write(guard, GUARD);
#else
    rc_port_write((const uint8_t *)data + bytes, GUARD);
#endif
}

/* Parameter 4: x lies where q goes, as the inner rows of a SwiGLU do; q is then sent as far as it is written. */
static void quantize(const uint8_t *r, uint32_t element, rc_quantize_rows8_t *rows8)
{
    const uint32_t rows = param(r, 0), n = param(r, 1), ld = param(r, 2), ldx = param(r, 3), in_place = param(r, 4);
    const uint32_t floats = rows * ldx * FLOAT_BYTES, bytes = rows * ld * element;
    void *q = out(in_place != 0u && floats > bytes ? floats : bytes, 0);
    const float *x = in(r, 0);
    if (in_place != 0u) {
        memcpy(q, x, floats);
        x = (const float *)q;
    }
    float *a = out(rows * FLOAT_BYTES, 0);
    int32_t *sum = out(rows * 4u, 0);
    if (element == 1u) {
        rows8(x, ldx, rows, n, (int8_t *)q, ld, a, sum);
    } else {
        rc_quantize_pairs16(x, ldx, rows, n, (int16_t *)q, ld, a, sum);
    }
#ifndef DRIVER_HEAP
    if (in_place != 0u) {
        memset((uint8_t *)q + bytes, SENTINEL, GUARD);
    }
#endif
    send(q, bytes);
    send(a, rows * FLOAT_BYTES);
    send(sum, rows * 4u);
}

static void silu_mul(const uint8_t *r, rc_silu_mul_t *kernel)
{
    const uint32_t rows = param(r, 0), n = param(r, 1), ld = param(r, 2), ldh = param(r, 3);
    float *h = out(rows * ldh * FLOAT_BYTES, 4);
    kernel(in(r, 0), in(r, 1), ld, rows, n, h, ldh);
    send(h, rows * ldh * FLOAT_BYTES);
}

/* A tile product: parameter 4 is the bytes of scratch; an empty array of zero points stands for none. */
typedef void tile16_t(const rc_rows16_t *, const uint8_t *, uint32_t, const uint8_t *, const float *, float *, uint32_t,
                      void *);
typedef void tile8_t(const rc_rows8_t *, const uint8_t *, uint32_t, const uint8_t *, const float *, float *, uint32_t,
                     void *);

static void tile(const uint8_t *r, tile16_t *kernel16, tile8_t *kernel8)
{
    const uint32_t rows = param(r, 0), ld = param(r, 1), n = param(r, 2), ldy = param(r, 3);
    const rc_rows16_t x = {in(r, 0), in(r, 1), in(r, 2), rows, ld};
    const rc_rows8_t b = {(const int8_t *)(const void *)x.q, x.a, x.sum, rows, ld};
    const uint8_t *zero = word(r, 19u) != 0u ? in(r, 4) : 0;
    float *y = out(rows * ldy * FLOAT_BYTES, 4);
    void *w = param(r, 4) != 0u ? out(param(r, 4), 0) : 0;
    if (kernel16 != 0) {
        kernel16(&x, in(r, 3), n, zero, in(r, 5), y, ldy, w);
    } else {
        kernel8(&b, in(r, 3), n, zero, in(r, 5), y, ldy, w);
    }
    send(y, rows * ldy * FLOAT_BYTES);
}

/* A tile of `bits` bits a weight; parameters: its bytes, bits to flip. */
static void unpack(const uint8_t *r, uint32_t bits, void (*kernel)(const uint8_t *, uint32_t, uint32_t, void *))
{
    const uint32_t bytes = param(r, 0), unpacked = bytes / bits * 4u;
    void *w = out(unpacked, 0);
    kernel(in(r, 0), bytes, param(r, 1), w);
    send(w, unpacked);
}

typedef void linear_t(const float *, uint32_t, uint32_t, uint32_t, const float *, uint32_t, float *, uint32_t);

static void linear(const uint8_t *r, linear_t *kernel)
{
    const uint32_t rows = param(r, 0), k = param(r, 1), n = param(r, 2), ldx = param(r, 3), ldy = param(r, 4);
    float *y = out(rows * ldy * FLOAT_BYTES, 4);
    kernel(in(r, 0), ldx, rows, k, in(r, 1), n, y, ldy);
    send(y, rows * ldy * FLOAT_BYTES);
}

/* Kernels that work in place get a copy of their input. */
static float *copy(const uint8_t *r, uint32_t i, uint32_t n)
{
    float *x = out(n * FLOAT_BYTES, 4);
    memcpy(x, in(r, i), n * FLOAT_BYTES);
    return x;
}

static void vectors(const uint8_t *r)
{
    const uint32_t n = param(r, 0);
    float *x = 0;
    float eps = 0.0f;
    switch (word(r, 0)) {
    case 8:
        x = copy(r, 0, n);
        memcpy(&eps, in(r, 1), sizeof eps);
        rc_rms_norm(x, n, eps);
        break;
    case 9:
        x = copy(r, 0, n);
        rc_softmax(x, n);
        break;
#ifdef DRIVER_V
    case 54:
        x = copy(r, 0, n);
        rc_softmax_rvv(x, n);
        break;
#endif
    case 10:
        x = copy(r, 0, n);
        rc_rope(x, n / 2u, in(r, 1), in(r, 2));
        break;
    default:
        x = copy(r, 0, n);
        for (uint32_t i = 0; i < n; i++) {
            x[i] = rc_exp(x[i]);
        }
        break;
    }
    send(x, n * FLOAT_BYTES);
}

static void dots(const uint8_t *r, int32_t (*s8)(const int8_t *, const int8_t *, uint32_t),
                 float (*f32)(const float *, const float *, uint32_t))
{
    if (s8 != 0) {
        int32_t *result = out(4, 0);
        *result = s8(in(r, 0), in(r, 1), param(r, 0));
        send(result, 4);
    } else {
        float *result = out(FLOAT_BYTES, 0);
        *result = f32(in(r, 0), in(r, 1), param(r, 0));
        send(result, FLOAT_BYTES);
    }
}

#ifdef DRIVER_HOST
/* Where a variant has none of its own, generated code does it in three calls, all of which have vectors of theirs. */
static void swiglu(const uint8_t *r)
{
    const uint32_t rows = param(r, 0), ld = param(r, 1), n = param(r, 2), ldh = param(r, 3);
    const rc_rows8_t x = {in(r, 0), in(r, 1), in(r, 2), rows, ld};
    const rc_panels_t gate = {in(r, 3), in(r, 4), in(r, 5)}, up = {in(r, 6), in(r, 7), in(r, 8)};
    float *h = out(rows * ldh * FLOAT_BYTES, 4);
    if (rc_host->swiglu != 0) {
        rc_host->swiglu(&x, &gate, &up, n, h, ldh);
    } else {
        float *g = out(rows * n * FLOAT_BYTES, 0), *u = out(rows * n * FLOAT_BYTES, 0);
        rc_host->gemm8(&x, gate.panel, n, gate.zero, gate.scale, g, n, 0);
        rc_host->gemm8(&x, up.panel, n, up.zero, up.scale, u, n, 0);
        rc_host->silu_mul(g, u, n, rows, n, h, ldh);
    }
    send(h, rows * ldh * FLOAT_BYTES);
}

static void rms_rows(const uint8_t *r)
{
    const uint32_t rows = param(r, 0), n = param(r, 1), ld = param(r, 2);
    float *x = copy(r, 0, rows * ld);
    float eps = 0.0f;
    memcpy(&eps, in(r, 1), sizeof eps);
    rc_host->rms_rows(x, ld, rows, n, eps);
    send(x, rows * ld * FLOAT_BYTES);
}

static void transpose(const uint8_t *r)
{
    const uint32_t rows = param(r, 0), columns = param(r, 1), ldx = param(r, 2), ldy = param(r, 3);
    float *y = out(columns * ldy * FLOAT_BYTES, 4);
    rc_host->transpose(in(r, 0), ldx, rows, columns, y, ldy);
    send(y, columns * ldy * FLOAT_BYTES);
}

/* The variant that rc_host.c has chosen. */
static void host(const uint8_t *r)
{
    const uint32_t n = param(r, 0);
    float *x = 0;
    switch (word(r, 0)) {
    case 21:
        tile(r, 0, rc_host->gemm8);
        return;
    case 22:
        linear(r, rc_host->linear_f32);
        return;
    case 23:
        tile(r, 0, rc_host->gemm4);
        return;
    case 34:
        tile(r, 0, rc_host->gemm_g32);
        return;
    case 24:
        quantize(r, 1u, rc_host->quantize_rows8);
        return;
    case 25:
        silu_mul(r, rc_host->silu_mul);
        return;
    case 29:
        dots(r, rc_host->dot_s8, 0);
        return;
    case 30:
        dots(r, 0, rc_host->dot_f32);
        return;
    case 26:
        rms_rows(r);
        return;
    case 31:
        swiglu(r);
        return;
    case 32:
        transpose(r);
        return;
    default:
        break;
    }
    x = copy(r, 0, n);
    switch (word(r, 0)) {
    case 27:
        rc_host->softmax(x, n);
        break;
    case 28:
        rc_host->rope(x, n / 2u, in(r, 1), in(r, 2));
        break;
    default:
        rc_port_exit(97);
    }
    send(x, n * FLOAT_BYTES);
}
#endif

#ifdef DRIVER_MVE
static void mve_row(const uint8_t *r)
{
    const uint32_t n = param(r, 0);
    float *x = copy(r, 0, n);
    float factor = 0.0f;
    if (word(r, 0) == 46u) {
        rc_softmax_mve(x, n);
    } else {
        memcpy(&factor, in(r, 1), sizeof factor);
        if (word(r, 0) == 45u) {
            rc_rms_norm_mve(x, n, factor);
        } else {
            rc_scale_row_mve(x, n, factor);
        }
    }
    send(x, n * FLOAT_BYTES);
}
#endif

static void run(const uint8_t *r)
{
#ifndef DRIVER_HEAP
    used = 0;
#endif
    switch (word(r, 0)) {
    case 1:
        quantize(r, 2u, 0);
        break;
    case 2:
        quantize(r, 1u, rc_quantize_rows8);
        break;
    case 5:
        tile(r, 0, rc_tile_s4);
        break;
    case 14:
        tile(r, 0, rc_tile_s8);
        break;
    case 18:
        tile(r, 0, rc_tile_g32);
        break;
    case 6:
        linear(r, rc_linear_f32);
        break;
    case 15:
        unpack(r, 2u, rc_unpack_s2);
        break;
    case 17:
        unpack(r, 3u, rc_unpack_s3);
        break;
    case 35:
        unpack(r, 2u, rc_unpack_g2);
        break;
    case 11:
        dots(r, rc_dot_s8, 0);
        break;
    case 12:
        dots(r, 0, rc_dot_f32);
        break;
#ifdef DRIVER_DSP
    case 33:
        dots(r, rc_dot_s8_dsp, 0);
        break;
    case 20:
        tile(r, rc_tile_s4_dsp, 0);
        break;
    case 16:
        tile(r, rc_tile_s8_dsp, 0);
        break;
    case 19:
        tile(r, rc_tile_g32_dsp, 0);
        break;
#endif
#ifdef DRIVER_V
    case 52:
        quantize(r, 1u, rc_quantize_rows8_rvv);
        break;
    case 53:
        silu_mul(r, rc_silu_mul_rvv);
        break;
    case 54:
        vectors(r);
        break;
    case 55:
        dots(r, rc_dot_s8_rvv, 0);
        break;
    case 50:
        tile(r, 0, rc_tile_s4_rvv);
        break;
    case 51:
        tile(r, 0, rc_tile_s8_rvv);
        break;
    case 56:
        tile(r, 0, rc_tile_g32_rvv);
        break;
#endif
#ifdef DRIVER_MVE
    case 40:
        tile(r, 0, rc_tile_s4_mve);
        break;
    case 41:
        tile(r, 0, rc_tile_s8_mve);
        break;
    case 48:
        tile(r, 0, rc_tile_g32_mve);
        break;
    case 42:
        quantize(r, 1u, rc_quantize_rows8_mve);
        break;
    case 43:
        silu_mul(r, rc_silu_mul_mve);
        break;
    case 44:
        dots(r, rc_dot_s8_mve, 0);
        break;
    case 45:
    case 46:
    case 47:
        mve_row(r);
        break;
#endif
    case 7:
        silu_mul(r, rc_silu_mul);
        break;
    case 8:
    case 9:
    case 10:
    case 13:
        vectors(r);
        break;
    default:
#ifdef DRIVER_HOST
        host(r);
#else
        rc_port_exit(97);
#endif
    }
}

int main(void)
{
#ifdef DRIVER_HOST
    const char *wanted = getenv("RECURC_KERNELS");
    if (wanted != 0 && strcmp(wanted, rc_host->name) != 0) {
        rc_port_exit(96); /* this CPU does not run that variant */
    }
#endif
    const uint8_t *const end = rc_image_end;
    for (const uint8_t *r = rc_image_start; r != end; r += word(r, 1)) {
        run(r);
    }
    rc_port_exit(0);
    return 0;
}
