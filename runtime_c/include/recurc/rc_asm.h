/* SPDX-License-Identifier: Apache-2.0 */
/* What hand-written assembly takes for granted, said so that a compiler or an assembler refuses anything else: the
 * places of fields that it reads by number, and the bytes of code that jumps are computed from. None of it makes code.
 */
#ifndef RECURC_ASM_H
#define RECURC_ASM_H

#include <stddef.h>

#include "recurc/rc_compiler.h"

/* A field of a struct lies at an offset, and the whole struct has as many bytes. */
#define RC_ASM_FIELD(type, field, offset)                                                                              \
    RC_STATIC_ASSERT(offsetof(type, field) == (offset), "assembly has " #type "." #field " at " #offset)
#define RC_ASM_BYTES(type, bytes)                                                                                      \
    RC_STATIC_ASSERT(sizeof(type) == (bytes), "assembly has " #type " of " #bytes " bytes")

/* A constant of C that assembly has as a number of its own. */
#define RC_ASM_CONSTANT(constant, value)                                                                               \
    RC_STATIC_ASSERT((constant) == (value), "assembly has " #constant " as " #value)

/* A constant, without suffix or cast, as text of the assembler. */
#define RC_ASM_TEXT(constant) RC_ASM_TEXT_OF(constant)
#define RC_ASM_TEXT_OF(text)  #text

/* The code from a label, "4b", to here has `bytes` bytes, whatever encodings the assembler chose. Clang's assembler
 * does not know a distance as early as .if needs it; it refuses a negative .space, so one of two is refused. */
#ifdef __clang__
#define RC_ASM_SIZE(label, bytes)                                                                                      \
    ".space . - " label " - (" RC_ASM_TEXT(bytes) ")\n"                                                                \
                                                  ".space (" RC_ASM_TEXT(bytes) ") - (. - " label ")\n"
#else
#define RC_ASM_SIZE(label, bytes)                                                                                      \
    ".if . - " label                                                                                                   \
    " - (" RC_ASM_TEXT(bytes) ")\n"                                                                                    \
                              ".error \"code from " label                                                              \
                              " has not " RC_ASM_TEXT(bytes) " bytes, which a computed jump needs\"\n"                 \
                                                             ".endif\n"
#endif

#endif
