/* SPDX-License-Identifier: Apache-2.0 */
/* Kernels: the operations that a model spends its time in. One function a file, the portable version first; an ISA
 * variant has the same name with a suffix, the same arguments and the same bits. recurc/plan/kernels.py chooses. */
#ifndef RECURC_KERNELS_H
#define RECURC_KERNELS_H

#include "recurc/rc_guard.h"

#include <stdint.h>

#include "recurc/rc_compiler.h"

/* A tile of activation rows after dynamic quantization: rows * ld elements, value = q * a[row], zero beyond k. Their
 * order belongs to the kernels: plain rows q[rows][ld], or as the comment at the quantizing function says. */
typedef struct {
    const int16_t *q;
    const float *a;
    const int32_t *sum; /* sum of q over the row */
    uint32_t rows;
    uint32_t ld; /* elements a row, a multiple of the packing's depth (8 or more); base 16-byte aligned */
} rc_rows16_t;

typedef struct {
    const int8_t *q;
    const float *a;
    const int32_t *sum;
    uint32_t rows;
    uint32_t ld; /* a multiple of 8 */
} rc_rows8_t;

/* Quantize x[rows][n] to q[rows][ld], a[rows], sum[rows] (SPEC "Quantize a row"). q may begin where x does, when no row of q
 * is longer than one of x. */
typedef void rc_quantize_rows8_t(const float *x, uint32_t ldx, uint32_t rows, uint32_t n, int8_t *q, uint32_t ld,
                                 float *a, int32_t *sum);
rc_quantize_rows8_t rc_quantize_rows8, rc_quantize_rows8_avx2, rc_quantize_rows8_avx512, rc_quantize_rows8_rvv,
    rc_quantize_rows8_mve;

/* The same to int16 with rows in pairs, interleaved two elements at a time: rows 2p and 2p + 1 fill q[2p * ld] .. as
 * x_2p[0..1], x_2p+1[0..1], x_2p[2..3] ..; a last row without a partner is plain. Little-endian, x and q 4-byte aligned. */
void rc_quantize_pairs16(const float *x, uint32_t ldx, uint32_t rows, uint32_t n, int16_t *q, uint32_t ld, float *a,
                         int32_t *sum);

/* int3: a packed tile of `bytes` bytes, 4-byte aligned, to 4/3 as many at w, the packing's int4 form: every three words
 * hold a fourth one in the top bits of their operands. flip: bits that are set in int4 operands of weights below 8. */
void rc_unpack_s3(const uint8_t *packed, uint32_t bytes, uint32_t flip, void *w);

/* int2: likewise a packed tile, `bytes` a multiple of 8, to twice as many: every word holds the middle bits of the operands
 * of two. */
void rc_unpack_s2(const uint8_t *packed, uint32_t bytes, uint32_t flip, void *w);

/* int2-g32: likewise, to operands -3, -1, 1 or 3 in groups, whose other bits follow from the middle ones. flip: bits in which
 * the packing's operands differ from two's complement. */
void rc_unpack_g2(const uint8_t *packed, uint32_t bytes, uint32_t flip, void *w);

/* Tile products: y[r][j] = float(sum_k x[r][k] * w[j][k] - zero[j] * sum[r]) * (a[r] * scale[j]) for all rows of x and
 * j < n, from the packed weights of one tile of at most `tile` channels (SPEC "Image"). zero, scale: those of the tile,
 * zero null where the packing stores none. y: row distance ldy. w: scratch to unpack to, as much as the kernel set
 * says.
 *
 * Packing 4, tiles of 4, plain rows of bytes, packed 4-byte aligned; no scratch. */
void rc_tile_s4(const rc_rows8_t *x, const uint8_t *packed, uint32_t n, const uint8_t *zero, const float *scale,
                float *y, uint32_t ldy, void *w);
void rc_tile_s8(const rc_rows8_t *x, const uint8_t *packed, uint32_t n, const uint8_t *zero, const float *scale,
                float *y, uint32_t ldy, void *w);

/* The same with weights in groups, in packing 4's order (SPEC "int4 in groups"): any n, in the place of zero points the
 * groups' scales m, w being m * q. */
void rc_tile_g32(const rc_rows8_t *x, const uint8_t *packed, uint32_t n, const uint8_t *groups, const float *scale,
                 float *y, uint32_t ldy, void *w);

/* Packing 3, tiles of 4, rows in pairs (rc_quantize_pairs16), packed and rows 4-byte aligned; no scratch. */
void rc_tile_s4_dsp(const rc_rows16_t *x, const uint8_t *packed, uint32_t n, const uint8_t *zero, const float *scale,
                    float *y, uint32_t ldy, void *w);
void rc_tile_s8_dsp(const rc_rows16_t *x, const uint8_t *packed, uint32_t n, const uint8_t *zero, const float *scale,
                    float *y, uint32_t ldy, void *w);

void rc_tile_g32_dsp(const rc_rows16_t *x, const uint8_t *packed, uint32_t n, const uint8_t *groups, const float *scale,
                     float *y, uint32_t ldy, void *w);

/* Packing 5, tiles of 16, plain rows of bytes; no scratch. */
void rc_tile_s4_mve(const rc_rows8_t *x, const uint8_t *packed, uint32_t n, const uint8_t *zero, const float *scale,
                    float *y, uint32_t ldy, void *w);
void rc_tile_s8_mve(const rc_rows8_t *x, const uint8_t *packed, uint32_t n, const uint8_t *zero, const float *scale,
                    float *y, uint32_t ldy, void *w);

void rc_tile_g32_mve(const rc_rows8_t *x, const uint8_t *packed, uint32_t n, const uint8_t *groups, const float *scale,
                     float *y, uint32_t ldy, void *w);

/* Packing 2, tiles of 64 in panels of 16, plain rows of bytes; no scratch. panel4: all weights below 16.
 * panel_g32: weights in groups, q + 8; zero: the groups' scales, [n/16][groups][16]. */
typedef void rc_gemm_panel_t(const rc_rows8_t *x, const uint8_t *panel, uint32_t n, const uint8_t *zero,
                             const float *scale, float *y, uint32_t ldy, void *w);
rc_gemm_panel_t rc_gemm_panel8, rc_gemm_panel8_avx2, rc_gemm_panel4_avx2, rc_gemm_panel8_avxvnni, rc_gemm_panel8_avx512,
    rc_gemm_panel8_dot, rc_gemm_panel_g32, rc_gemm_panel_g32_avx2;

/* Packing 8, tiles of 32, plain rows of bytes, ld a multiple of 16; no scratch. RISC-V V, any length of its registers. */
void rc_tile_s4_rvv(const rc_rows8_t *x, const uint8_t *packed, uint32_t n, const uint8_t *zero, const float *scale,
                    float *y, uint32_t ldy, void *w);
void rc_tile_s8_rvv(const rc_rows8_t *x, const uint8_t *packed, uint32_t n, const uint8_t *zero, const float *scale,
                    float *y, uint32_t ldy, void *w);

void rc_tile_g32_rvv(const rc_rows8_t *x, const uint8_t *packed, uint32_t n, const uint8_t *groups, const float *scale,
                     float *y, uint32_t ldy, void *w);

/* fp32: y[r][j] = sum_k x[r][k] * w[j][k], partial sums by k mod 4. Row-major weights w[n][k], or panels
 * [n/16][k][16]. */
typedef void rc_linear_f32_t(const float *x, uint32_t ldx, uint32_t rows, uint32_t k, const float *w, uint32_t n,
                             float *y, uint32_t ldy);
rc_linear_f32_t rc_linear_f32, rc_linear_f32_panel, rc_linear_f32_panel_avx2, rc_linear_f32_panel_avx512;

/* h[r][i] = silu(g[r][i]) * u[r][i] for i < n; row distances ld of g and u, ldh of h. */
typedef void rc_silu_mul_t(const float *g, const float *u, uint32_t ld, uint32_t rows, uint32_t n, float *h,
                           uint32_t ldh);
rc_silu_mul_t rc_silu_mul, rc_silu_mul_avx2, rc_silu_mul_avx512, rc_silu_mul_rvv, rc_silu_mul_mve;

/* x = x * (1 / sqrt(mean(x^2) + eps)), in place; partial sums by index mod 4. */
void rc_rms_norm(float *x, uint32_t n, float eps);
void rc_rms_norm_mve(float *x, uint32_t n, float eps);

/* softmax in place; partial sums by index mod 4. */
typedef void rc_softmax_t(float *x, uint32_t n);
rc_softmax_t rc_softmax, rc_softmax_avx2, rc_softmax_rvv, rc_softmax_mve;

/* x[i] *= factor, n > 0; no element, factor or product may be subnormal: Helium's float unit makes zeros of those. */
void rc_scale_row_mve(float *x, uint32_t n, float factor);

/* Rotary position embedding of one head row x[2*half] in place, tables cos[half], sin[half]. */
void rc_rope(float *x, uint32_t half, const float *cosine, const float *sine);

/* Dot products: exact int32; fp32 by index mod 4. */
typedef int32_t rc_dot_s8_t(const int8_t *x, const int8_t *y, uint32_t n);
rc_dot_s8_t rc_dot_s8, rc_dot_s8_avx2, rc_dot_s8_avx512, rc_dot_s8_dot, rc_dot_s8_dsp, rc_dot_s8_rvv, rc_dot_s8_mve;
float rc_dot_f32(const float *x, const float *y, uint32_t n);

#endif
