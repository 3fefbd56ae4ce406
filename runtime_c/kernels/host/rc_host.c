/* SPDX-License-Identifier: Apache-2.0 */
#include "recurc/rc_host.h"

#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(RC_DOT) && defined(__linux__)
#include <sys/auxv.h>
#endif

/* Best first; `here` says whether this CPU (and its system, where registers have to be saved) runs a variant. */

static const rc_host_kernels_t PORTABLE = {
    .name = "portable",
    .gemm8 = rc_gemm_panel8,
    .gemm4 = rc_gemm_panel8,
    .gemm_g32 = rc_gemm_panel_g32,
    .linear_f32 = rc_linear_f32_panel,
    .quantize_rows8 = rc_quantize_rows8,
    .silu_mul = rc_silu_mul,
    .swiglu = 0,
    .rms_rows = rc_rms_rows,
    .transpose = rc_transpose,
    .softmax = rc_softmax,
    .rope = rc_rope,
    .dot_s8 = rc_dot_s8,
    .dot_f32 = rc_dot_f32,
};

#if defined(__x86_64__)
static const rc_host_kernels_t AVX512 = {
    .name = "avx512vnni",
    .gemm8 = rc_gemm_panel8_avx512,
    .gemm4 = rc_gemm_panel8_avx512,
    .gemm_g32 = rc_gemm_panel_g32_avx2,
    .linear_f32 = rc_linear_f32_panel_avx512,
    .quantize_rows8 = rc_quantize_rows8_avx512,
    .silu_mul = rc_silu_mul_avx512,
    .swiglu = rc_swiglu_panel8_avx512,
    .rms_rows = rc_rms_rows_avx2,
    .transpose = rc_transpose_avx2,
    .softmax = rc_softmax_avx2,
    .rope = rc_rope,
    .dot_s8 = rc_dot_s8_avx512,
    .dot_f32 = rc_dot_f32,
};

#if defined(RC_AVXVNNI)
static const rc_host_kernels_t AVXVNNI = {
    .name = "avxvnni",
    .gemm8 = rc_gemm_panel8_avxvnni,
    .gemm4 = rc_gemm_panel8_avxvnni,
    .gemm_g32 = rc_gemm_panel_g32_avx2,
    .linear_f32 = rc_linear_f32_panel_avx2,
    .quantize_rows8 = rc_quantize_rows8_avx2,
    .silu_mul = rc_silu_mul_avx2,
    .swiglu = 0,
    .rms_rows = rc_rms_rows_avx2,
    .transpose = rc_transpose_avx2,
    .softmax = rc_softmax_avx2,
    .rope = rc_rope,
    .dot_s8 = rc_dot_s8_avx2,
    .dot_f32 = rc_dot_f32,
};
#endif

static const rc_host_kernels_t AVX2 = {
    .name = "avx2",
    .gemm8 = rc_gemm_panel8_avx2,
    .gemm4 = rc_gemm_panel4_avx2,
    .gemm_g32 = rc_gemm_panel_g32_avx2,
    .linear_f32 = rc_linear_f32_panel_avx2,
    .quantize_rows8 = rc_quantize_rows8_avx2,
    .silu_mul = rc_silu_mul_avx2,
    .swiglu = 0,
    .rms_rows = rc_rms_rows_avx2,
    .transpose = rc_transpose_avx2,
    .softmax = rc_softmax_avx2,
    .rope = rc_rope,
    .dot_s8 = rc_dot_s8_avx2,
    .dot_f32 = rc_dot_f32,
};

static const rc_host_kernels_t *const VARIANTS[] = {
    &AVX512,
#if defined(RC_AVXVNNI)
    &AVXVNNI,
#endif
    &AVX2,
    &PORTABLE,
};

#if defined(RC_AVXVNNI)
/* Compilers that compile for AVX-VNNI need not know its name in __builtin_cpu_supports (Clang 14). */
static int has_avxvnni(void)
{
    unsigned a = 0u, b = 0u, c = 0u, d = 0u;
    if (__get_cpuid_count(7u, 0u, &a, &b, &c, &d) == 0 || a < 1u || __get_cpuid_count(7u, 1u, &a, &b, &c, &d) == 0) {
        return 0;
    }
    return (a >> 4 & 1u) != 0u;
}
#endif

static int here(const rc_host_kernels_t *variant)
{
    __builtin_cpu_init();
    if (variant == &AVX512) {
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni");
    }
#if defined(RC_AVXVNNI)
    if (variant == &AVXVNNI) {
        return __builtin_cpu_supports("avx2") && has_avxvnni();
    }
#endif
    return variant == &PORTABLE || __builtin_cpu_supports("avx2");
}
#elif defined(RC_DOT) && defined(__linux__)
static const rc_host_kernels_t DOT = {
    .name = "neon-dot",
    .gemm8 = rc_gemm_panel8_dot,
    .gemm4 = rc_gemm_panel8_dot,
    .gemm_g32 = rc_gemm_panel_g32,
    .linear_f32 = rc_linear_f32_panel,
    .quantize_rows8 = rc_quantize_rows8,
    .silu_mul = rc_silu_mul,
    .swiglu = 0,
    .rms_rows = rc_rms_rows,
    .transpose = rc_transpose,
    .softmax = rc_softmax,
    .rope = rc_rope,
    .dot_s8 = rc_dot_s8_dot,
    .dot_f32 = rc_dot_f32,
};

static const rc_host_kernels_t *const VARIANTS[] = {&DOT, &PORTABLE};

static int here(const rc_host_kernels_t *variant)
{
    return variant == &PORTABLE || (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0u;
}
#else
static const rc_host_kernels_t *const VARIANTS[] = {&PORTABLE};

static int here(const rc_host_kernels_t *variant)
{
    (void)variant;
    return 1;
}
#endif

const rc_host_kernels_t *rc_host = &PORTABLE;

const rc_host_kernels_t *rc_host_variant(uint32_t i)
{
    for (uint32_t v = 0; v < sizeof VARIANTS / sizeof VARIANTS[0]; v++) {
        if (here(VARIANTS[v]) && i-- == 0u) {
            return VARIANTS[v];
        }
    }
    return 0;
}

__attribute__((constructor)) static void choose(void)
{
    const char *wanted = getenv("RECURC_KERNELS");
    rc_host = rc_host_variant(0);
    for (uint32_t i = 0; wanted != 0 && rc_host_variant(i) != 0; i++) {
        if (strcmp(rc_host_variant(i)->name, wanted) == 0) {
            rc_host = rc_host_variant(i);
        }
    }
}
