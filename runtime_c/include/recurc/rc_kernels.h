/* Kernels: the operations that a model spends its time in. One function a file, the portable version first; an ISA
 * variant has the same name with a suffix, the same arguments and the same bits. codegen/kernels.py chooses. */
#ifndef RECURC_KERNELS_H
#define RECURC_KERNELS_H

#include <stdint.h>

/* A tile of activation rows after dynamic quantization: q[rows][ld] (zero beyond k), value = q * a[row]. */
typedef struct {
    const int16_t *q;
    const float *a;
    const int32_t *sum; /* sum of q over the row */
    uint32_t rows;
    uint32_t ld; /* elements from row to row, a multiple of 8; base 16-byte aligned */
} rc_rows16_t;

typedef struct {
    const int8_t *q;
    const float *a;
    const int32_t *sum;
    uint32_t rows;
    uint32_t ld; /* a multiple of 8 */
} rc_rows8_t;

/* Quantize x[rows][n] to q[rows][ld], a[rows], sum[rows] (SPEC "Quantize a row"). */
void rc_quantize_rows16(const float *x, uint32_t ldx, uint32_t rows, uint32_t n, int16_t *q, uint32_t ld, float *a,
                        int32_t *sum);
void rc_quantize_rows8(const float *x, uint32_t ldx, uint32_t rows, uint32_t n, int8_t *q, uint32_t ld, float *a,
                       int32_t *sum);
void rc_quantize_rows8_avx2(const float *x, uint32_t ldx, uint32_t rows, uint32_t n, int8_t *q, uint32_t ld, float *a,
                            int32_t *sum);
void rc_quantize_rows8_avx512(const float *x, uint32_t ldx, uint32_t rows, uint32_t n, int8_t *q, uint32_t ld, float *a,
                              int32_t *sum);

/* Unpack k (multiple of 8) weights of one output channel to int16. s4: two a byte, low nibble first, 0..15. */
void rc_unpack_s4(const uint8_t *packed, uint32_t k, int16_t *out);
void rc_unpack_s8(const uint8_t *packed, uint32_t k, int16_t *out);

/* y[r][j] = float(sum_k x[r][k] * w[j][k] - zero[j] * sum[r]) * (a[r] * scale[j]) for j < n <= 4.
 * w[n][ld of x]; y row distance ldy. */
void rc_gemm_tile16(const rc_rows16_t *x, const int16_t *w, uint32_t n, const int32_t *zero, const float *scale,
                    float *y, uint32_t ldy);
void rc_gemm_tile16_dsp(const rc_rows16_t *x, const int16_t *w, uint32_t n, const int32_t *zero, const float *scale,
                        float *y, uint32_t ldy);

/* The same product with weights in panels of 16 channels, [n/16][ld/4][16][4] unsigned bytes, n <= 64. _s4: all weights
 * below 16. Variants of computers, see rc_host.h. */
typedef void rc_gemm_panel_t(const rc_rows8_t *x, const uint8_t *panel, uint32_t n, const int32_t *zero,
                             const float *scale, float *y, uint32_t ldy);
rc_gemm_panel_t rc_gemm_panel8, rc_gemm_panel8_avx2, rc_gemm_panel4_avx2, rc_gemm_panel8_avxvnni, rc_gemm_panel8_avx512,
    rc_gemm_panel8_dot;

/* fp32: y[r][j] = sum_k x[r][k] * w[j][k], partial sums by k mod 4. Row-major weights w[n][k], or panels
 * [n/16][k][16]. */
typedef void rc_linear_f32_t(const float *x, uint32_t ldx, uint32_t rows, uint32_t k, const float *w, uint32_t n,
                             float *y, uint32_t ldy);
rc_linear_f32_t rc_linear_f32, rc_linear_f32_panel, rc_linear_f32_panel_avx2, rc_linear_f32_panel_avx512;

/* h[i] = silu(g[i]) * u[i] */
void rc_silu_mul(const float *g, const float *u, uint32_t n, float *h);
void rc_silu_mul_avx2(const float *g, const float *u, uint32_t n, float *h);
void rc_silu_mul_avx512(const float *g, const float *u, uint32_t n, float *h);

/* x = x * (1 / sqrt(mean(x^2) + eps)), in place; partial sums by index mod 4. */
void rc_rms_norm(float *x, uint32_t n, float eps);

/* softmax in place; partial sums by index mod 4. */
void rc_softmax(float *x, uint32_t n);
void rc_softmax_avx2(float *x, uint32_t n);
void rc_softmax_avx512(float *x, uint32_t n);

/* Rotary position embedding of one head row x[2*half] in place, tables cos[half], sin[half]. */
void rc_rope(float *x, uint32_t half, const float *cosine, const float *sine);

/* Dot products: exact int32; fp32 by index mod 4. */
int32_t rc_dot_s8(const int8_t *x, const int8_t *y, uint32_t n);
int32_t rc_dot_s8_avx2(const int8_t *x, const int8_t *y, uint32_t n);
int32_t rc_dot_s8_avx512(const int8_t *x, const int8_t *y, uint32_t n);
int32_t rc_dot_s8_dot(const int8_t *x, const int8_t *y, uint32_t n);
float rc_dot_f32(const float *x, const float *y, uint32_t n);

#endif
