/* Runs kernels on vectors that lie in the image section and sends every output byte, guard bytes included, over the
 * board's wire: one program for this computer, its sanitizers and every emulated core. Written by vectors.py:
 * a record = 32 words {op, bytes, 8 parameters, 11 x (offset, bytes) of arrays, from the record's start}, then arrays. */
#include <string.h>

#include "recurc/rc_arith.h"
#include "recurc/rc_kernels.h"
#include "recurc/rc_port.h"

#ifdef DRIVER_HEAP /* each array in a block of its own, so that a sanitizer sees the first byte beyond it */
#include <stdlib.h>
#endif

#define WORDS 32u
#define GUARD 64u
#define SENTINEL 0xA5
#define FLOAT_BYTES 4u

extern const uint8_t rc_image_start[];
extern const uint8_t rc_image_end[];

#ifndef DRIVER_HEAP
__attribute__((section(".recurc_arena"), aligned(64))) static uint8_t arena[ARENA_BYTES];
static uint32_t used;
#endif

void rc_fault(const rc_fault_t *fault) {
    (void)fault;
    rc_port_exit(99);
    for (;;) {
    }
}

static uint32_t word(const uint8_t *record, uint32_t i) {
    uint32_t value;
    memcpy(&value, record + 4u * i, sizeof value);
    return value;
}

static uint32_t param(const uint8_t *record, uint32_t i) {
    return word(record, 2u + i);
}

static void *room(uint32_t bytes, uint32_t skew) {
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
static const void *in(const uint8_t *record, uint32_t i) {
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
static void *out(uint32_t bytes, uint32_t skew) {
#ifdef DRIVER_HEAP
    void *block = room(bytes, skew);
    memset(block, SENTINEL, bytes);
#else
    void *block = room(bytes + GUARD, skew);
    memset(block, SENTINEL, bytes + GUARD);
#endif
    return block;
}

static void send(const void *data, uint32_t bytes) {
    rc_port_write((const uint8_t *)data, bytes);
#ifdef DRIVER_HEAP
    uint8_t guard[GUARD];
    memset(guard, SENTINEL, GUARD);
    rc_port_write(guard, GUARD);
#else
    rc_port_write((const uint8_t *)data + bytes, GUARD);
#endif
}

typedef void rows8_t(const float *, uint32_t, uint32_t, uint32_t, int8_t *, uint32_t, float *, int32_t *);

/* Parameter 4: x lies where q goes, as the inner rows of a SwiGLU do; q is then sent as far as it is written. */
static void quantize(const uint8_t *r, rows8_t *kernel8) {
    const uint32_t element = kernel8 != 0 ? 1u : 2u;
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
    if (kernel8 != 0) {
        kernel8(x, ldx, rows, n, (int8_t *)q, ld, a, sum);
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

typedef void silu_mul_t(const float *, const float *, uint32_t, uint32_t, uint32_t, float *, uint32_t);

static void silu_mul(const uint8_t *r, silu_mul_t *kernel) {
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

static void tile(const uint8_t *r, tile16_t *kernel16, tile8_t *kernel8) {
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

typedef void linear_t(const float *, uint32_t, uint32_t, uint32_t, const float *, uint32_t, float *, uint32_t);

static void linear(const uint8_t *r, linear_t *kernel) {
    const uint32_t rows = param(r, 0), k = param(r, 1), n = param(r, 2), ldx = param(r, 3), ldy = param(r, 4);
    float *y = out(rows * ldy * FLOAT_BYTES, 4);
    kernel(in(r, 0), ldx, rows, k, in(r, 1), n, y, ldy);
    send(y, rows * ldy * FLOAT_BYTES);
}

/* Kernels that work in place get a copy of their input. */
static float *copy(const uint8_t *r, uint32_t i, uint32_t n) {
    float *x = out(n * FLOAT_BYTES, 4);
    memcpy(x, in(r, i), n * FLOAT_BYTES);
    return x;
}

static void vectors(const uint8_t *r) {
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
    case 10:
        x = copy(r, 0, n);
        rc_rope(x, n / 2u, in(r, 1), in(r, 2));
        break;
#ifdef DRIVER_MVE
    case 35:
        x = copy(r, 0, n);
        memcpy(&eps, in(r, 1), sizeof eps);
        rc_rms_norm_mve(x, n, eps);
        break;
    case 36:
        x = copy(r, 0, n);
        rc_softmax_mve(x, n);
        break;
    case 37:
        x = copy(r, 0, n);
        memcpy(&eps, in(r, 1), sizeof eps);
        rc_scale_row_mve(x, n, eps);
        break;
#endif
    default:
        x = copy(r, 0, n);
        for (uint32_t i = 0; i < n; i++) {
            x[i] = rc_exp(x[i]);
        }
        break;
    }
    send(x, n * FLOAT_BYTES);
}

typedef int32_t dot_t(const int8_t *, const int8_t *, uint32_t);

/* Of bytes with a kernel for them, else of floats. */
static void dots(const uint8_t *r, dot_t *kernel8) {
    if (kernel8 != 0) {
        const int32_t s8 = kernel8(in(r, 0), in(r, 1), param(r, 0));
        int32_t *result = out(4, 0);
        *result = s8;
        send(result, 4);
    } else {
        float *result = out(FLOAT_BYTES, 0);
        *result = rc_dot_f32(in(r, 0), in(r, 1), param(r, 0));
        send(result, FLOAT_BYTES);
    }
}

static void run(const uint8_t *r) {
#ifndef DRIVER_HEAP
    used = 0;
#endif
    switch (word(r, 0)) {
    case 1:
        quantize(r, 0);
        break;
    case 2:
        quantize(r, rc_quantize_rows8);
        break;
    case 5:
        tile(r, 0, rc_tile_s4);
        break;
    case 14:
        tile(r, 0, rc_tile_s8);
        break;
    case 6:
        linear(r, rc_linear_f32);
        break;
    case 11:
        dots(r, rc_dot_s8);
        break;
    case 12:
        dots(r, 0);
        break;
#ifdef DRIVER_DSP
    case 26:
        dots(r, rc_dot_s8_dsp);
        break;
    case 20:
        tile(r, rc_tile_s4_dsp, 0);
        break;
    case 25:
        tile(r, rc_tile_s8_dsp, 0);
        break;
#endif
#ifdef DRIVER_MVE
    case 30:
        tile(r, 0, rc_tile_s4_mve);
        break;
    case 31:
        tile(r, 0, rc_tile_s8_mve);
        break;
    case 32:
        quantize(r, rc_quantize_rows8_mve);
        break;
    case 33:
        silu_mul(r, rc_silu_mul_mve);
        break;
    case 34:
        dots(r, rc_dot_s8_mve);
        break;
    case 35:
    case 36:
    case 37:
        vectors(r);
        break;
#endif
#ifdef DRIVER_PANELS
    case 21:
        tile(r, 0, rc_gemm_panel8);
        break;
    case 22:
        linear(r, rc_linear_f32_panel);
        break;
#endif
#ifdef DRIVER_VNNI
    case 23:
        tile(r, 0, rc_gemm_panel8_vnni);
        break;
    case 24:
        linear(r, rc_linear_f32_panel_avx512);
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
        rc_port_exit(97);
    }
}

int main(void) {
    const uint8_t *const end = rc_image_end;
    for (const uint8_t *r = rc_image_start; r != end; r += word(r, 1)) {
        run(r);
    }
    rc_port_exit(0);
    return 0;
}
