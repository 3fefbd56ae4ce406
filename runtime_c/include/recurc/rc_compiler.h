/* SPDX-License-Identifier: Apache-2.0 */
/* What is used of a compiler beyond ISO C99, each thing under one name, and what stands in its place elsewhere. The
 * portable kernels, the readers, the solver and generated code use nothing else; the kernels of an instruction set use
 * its intrinsics and GNU assembly besides. docs/howto-compiler.md lists both.
 *
 * RC_STANDARD_C, which whoever compiles may define, and which every compiler without __GNUC__ gets: no GNU extension at
 * all. C99 without _Alignas then needs RC_ALIGNED from outside. */
#ifndef RECURC_COMPILER_H
#define RECURC_COMPILER_H

#include <stdint.h>
#include <string.h>

#if !defined(__GNUC__) && !defined(RC_STANDARD_C)
#define RC_STANDARD_C 1
#endif

/* A condition that must hold, or nothing compiles; outside of functions. */
#if defined(__cplusplus)
#define RC_STATIC_ASSERT(condition, text) static_assert(condition, text)
#elif defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L
#define RC_STATIC_ASSERT(condition, text) _Static_assert(condition, text)
#elif !defined(RC_STANDARD_C)
#define RC_STATIC_ASSERT(condition, text) __extension__ _Static_assert(condition, text)
#else /* the declaration of a function that nobody defines; a size of -1 does not compile */
#define RC_STATIC_ASSERT(condition, text) extern int rc_static_assert(int holds[(condition) ? 1 : -1])
#endif

/* Before a member of a struct: it begins at a multiple of `bytes`. */
#if !defined(RC_ALIGNED)
#if !defined(RC_STANDARD_C)
#define RC_ALIGNED(bytes) __attribute__((aligned(bytes)))
#elif defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L
#define RC_ALIGNED(bytes) _Alignas(bytes)
#else
#error "C99 has no alignment: compile as C11, or define RC_ALIGNED(bytes) as your compiler says it"
#endif
#endif

/* A function that is part of its caller whatever the optimization, and a static one that may have no caller. */
#if !defined(RC_STANDARD_C)
#define RC_ALWAYS_INLINE __attribute__((always_inline)) static inline
#define RC_MAYBE_UNUSED  __attribute__((unused))
#else
#define RC_ALWAYS_INLINE static inline
#define RC_MAYBE_UNUSED
#endif

/* Before a loop: how many turns are laid out one after the other. It changes no result. */
#if !defined(RC_STANDARD_C)
#define RC_UNROLL(turns)     RC_PRAGMA_OF(GCC unroll turns)
#define RC_PRAGMA_OF(pragma) _Pragma(#pragma)
#else
#define RC_UNROLL(turns)
#endif

/* A word of four bytes among elements of another type: in scratch that is used in turn as floats and as integers, in rows
 * of half words, in weights. Plain pointers would break C's rules of aliasing. Aligned as a word, but in standard C. */
#if !defined(RC_STANDARD_C)
typedef uint32_t __attribute__((may_alias)) rc_word_t;

static inline uint32_t rc_load_word(const rc_word_t *word)
{
    return *word;
}

static inline void rc_store_word(rc_word_t *word, uint32_t value)
{
    *word = value;
}
#else
typedef struct {
    unsigned char bytes[4];
} rc_word_t;

static inline uint32_t rc_load_word(const rc_word_t *word)
{
    uint32_t value;
    memcpy(&value, word, sizeof value);
    return value;
}

static inline void rc_store_word(rc_word_t *word, uint32_t value)
{
    memcpy(word, &value, sizeof value);
}
#endif

/* The square root, where it is an instruction. Not the builtin: where errno may have to be set, which is the default, it
 * calls a C library that may not be there. Not defined: rc_arith.h computes it in integers. */
#if !defined(RC_STANDARD_C)
#if defined(__aarch64__)
#define RC_SQRT_INSTRUCTION(root, x) __asm__("fsqrt %s0, %s1" : "=w"(root) : "w"(x))
#elif defined(__ARM_FP) && (__ARM_FP & 4) != 0
#define RC_SQRT_INSTRUCTION(root, x) __asm__("vsqrt.f32 %0, %1" : "=t"(root) : "t"(x))
#elif defined(__riscv_flen)
#define RC_SQRT_INSTRUCTION(root, x) __asm__("fsqrt.s %0, %1" : "=f"(root) : "f"(x))
#elif defined(__x86_64__)
#define RC_SQRT_INSTRUCTION(root, x) __asm__("sqrtss %1, %0" : "=x"(root) : "x"(x))
#endif
#endif

#endif
