/* SPDX-License-Identifier: Apache-2.0 */
/* Kernels of computers: several variants in one library, one of them chosen when it is loaded, by what the CPU can do.
 * All read the same packing (panels) and give the same bits. Generated code calls them as rc_host->name(...). */
#ifndef RECURC_HOST_H
#define RECURC_HOST_H

#include <stdint.h>

#include "recurc/rc_kernels.h"

/* Variants compile for their own instruction set, whatever the rest of the library is compiled for. */
#if defined(__x86_64__)
#define RC_AVX2 __attribute__((target("avx2")))
#if (defined(__clang__) && __clang_major__ >= 12) || (!defined(__clang__) && __GNUC__ >= 11)
#define RC_AVXVNNI __attribute__((target("avx2,avxvnni"))) /* older compilers do not know it */
#endif
#if defined(__clang__)
#define RC_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni"), min_vector_width(512)))
#else
#define RC_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni,prefer-vector-width=512")))
#endif
#elif defined(__aarch64__) && (!defined(__clang__) || __clang_major__ >= 16)
/* older ones have it for whole files only */
#define RC_DOT __attribute__((target("arch=armv8.2-a+dotprod")))
#endif

#define RC_PANEL 16u /* channels a panel */

/* Panels of some channels one after the other, with the channels' zero points and scales. */
typedef struct {
    const uint8_t *panel;
    const uint8_t *zero;
    const float *scale;
} rc_panels_t;

/* h[r][j] = silu(g) * u for all rows of x and j < n, g and u being the products with both. */
typedef void rc_swiglu_panel_t(const rc_rows8_t *x, const rc_panels_t *gate, const rc_panels_t *up, uint32_t n,
                               float *h, uint32_t ldh);
rc_swiglu_panel_t rc_swiglu_panel8_avx512;

/* rc_rms_norm of rows of n, ld from one to the next. */
typedef void rc_rms_rows_t(float *x, uint32_t ld, uint32_t rows, uint32_t n, float eps);
rc_rms_rows_t rc_rms_rows, rc_rms_rows_avx2;

/* y[c][r] = x[r][c]; row distances ldx, ldy. */
typedef void rc_transpose_t(const float *x, uint32_t ldx, uint32_t rows, uint32_t columns, float *y, uint32_t ldy);
rc_transpose_t rc_transpose, rc_transpose_avx2;

typedef struct {
    const char *name;
    rc_gemm_panel_t *gemm8;    /* weights of any byte */
    rc_gemm_panel_t *gemm4;    /* weights below 16 */
    rc_gemm_panel_t *gemm_g32; /* weights in groups */
    rc_linear_f32_t *linear_f32;
    rc_quantize_rows8_t *quantize_rows8;
    rc_silu_mul_t *silu_mul;
    rc_swiglu_panel_t *swiglu; /* null: gemm8 or gemm4 twice, then silu_mul */
    rc_rms_rows_t *rms_rows;
    rc_transpose_t *transpose;
    rc_softmax_t *softmax;
    void (*rope)(float *x, uint32_t half, const float *cosine, const float *sine);
    rc_dot_s8_t *dot_s8;
    float (*dot_f32)(const float *x, const float *y, uint32_t n);
} rc_host_kernels_t;

/* The chosen variant: the best one that this CPU runs, or the one that the environment variable RECURC_KERNELS names if
 * it is one of those. */
extern const rc_host_kernels_t *rc_host;

/* The i-th variant that this CPU runs, best first; null beyond the last. */
const rc_host_kernels_t *rc_host_variant(uint32_t i);

#endif
