/* SPDX-License-Identifier: Apache-2.0 */
/* The bits are guarded: what computes with floats includes this before anything else, so that a compiler whose flags allow
 * other results than IEEE 754 binary32, one rounding an operation, refuses the file or is told otherwise. What no compiler
 * tells is left to the known-answer test. docs/howto-compiler.md lists all flags.
 *
 * GCC's contraction into fused operations is on by default (-ffp-contract=fast) and deaf to the standard's pragma; its own
 * pragma holds for all functions that follow. It also makes GCC forget that -fassociative-math alone means nothing. */
#ifndef RECURC_GUARD_H
#define RECURC_GUARD_H

#include <float.h>

#if defined(__FAST_MATH__)
#error "compile without -ffast-math and -Ofast: a model's results would differ from those that were verified"
#endif
#if defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__ != 0
#error "compile without -ffinite-math-only: it takes away the check for what is not a finite number"
#endif
#if defined(__ASSOCIATIVE_MATH__) || defined(__RECIPROCAL_MATH__) || defined(__NO_SIGNED_ZEROS__)
#error "compile without -funsafe-math-optimizations, -fassociative-math, -freciprocal-math and -fno-signed-zeros"
#endif
#if FLT_EVAL_METHOD != 0 && FLT_EVAL_METHOD != 16 /* 16: only half precision is computed as such */
#error "floats are computed in more than their own precision: on x86 compile with -msse2 -mfpmath=sse"
#endif
#if FLT_RADIX != 2 || FLT_MANT_DIG != 24 || FLT_MAX_EXP != 128 || FLT_MIN_EXP != -125
#error "float is not IEEE 754 binary32"
#endif

#if defined(__clang__)
#if defined(__x86_64__) || defined(__i386__)
#pragma float_control(precise, on)
#else /* it is for x86 only; this does less */
#pragma clang fp reassociate(off)
#endif
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off", "no-associative-math", "no-reciprocal-math")
#else
#pragma STDC FP_CONTRACT OFF
#endif

#endif
