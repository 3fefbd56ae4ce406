/* Kernels of computers: several variants in one library, one of them chosen when it is loaded, by what the CPU can do.
 * All read the same packing (panels) and give the same bits. Generated code calls them as rc_host->name(...). */
#ifndef RECURC_HOST_H
#define RECURC_HOST_H

#include <stdint.h>

#include "recurc/rc_kernels.h"

/* Variants compile for their own instruction set, whatever the rest of the library is compiled for. */
#if defined(__x86_64__)
#define RC_AVX2    __attribute__((target("avx2")))
#define RC_AVXVNNI __attribute__((target("avx2,avxvnni")))
#define RC_AVX512  __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni,prefer-vector-width=512")))
#elif defined(__aarch64__)
#define RC_DOT __attribute__((target("arch=armv8.2-a+dotprod")))
#endif

#define RC_PANEL     16u /* channels a panel */
#define RC_HOST_TILE 64u /* most channels that a product computes at once */

typedef struct {
    const char *name;
    rc_gemm_panel_t *gemm8; /* weights of any byte */
    rc_gemm_panel_t *gemm4; /* weights below 16 */
    rc_linear_f32_t *linear_f32;
    rc_quantize_rows8_t *quantize_rows8;
    rc_silu_mul_t *silu_mul;
    void (*rms_norm)(float *x, uint32_t n, float eps);
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
