/* memcpy, memset, memmove and memcmp, which the compiler may call on its own; no C library is linked. */
#include <stdint.h>

#include "string.h"

/* Without this attribute the compiler would recognise the loops and turn them into calls of the functions themselves.
 */
#define PLAIN_LOOPS __attribute__((optimize("no-tree-loop-distribute-patterns"), used))

typedef uint32_t __attribute__((may_alias)) word_t;

PLAIN_LOOPS void *memcpy(void *restrict to, const void *restrict from, size_t n)
{
    uint8_t *d = to;
    const uint8_t *s = from;
    if ((((uintptr_t)d | (uintptr_t)s) & 3u) == 0u) {
        for (; n >= 4u; n -= 4u, d += 4, s += 4) {
            *(word_t *)(void *)d = *(const word_t *)(const void *)s;
        }
    }
    while (n-- != 0u) {
        *d++ = *s++;
    }
    return to;
}

PLAIN_LOOPS void *memset(void *to, int value, size_t n)
{
    uint8_t *d = to;
    uint8_t byte = (uint8_t)value;
    if (((uintptr_t)d & 3u) == 0u) {
        uint32_t word = 0x01010101u * byte;
        for (; n >= 4u; n -= 4u, d += 4) {
            *(word_t *)(void *)d = word;
        }
    }
    while (n-- != 0u) {
        *d++ = byte;
    }
    return to;
}

PLAIN_LOOPS void *memmove(void *to, const void *from, size_t n)
{
    uint8_t *d = to;
    const uint8_t *s = from;
    if ((uintptr_t)d <= (uintptr_t)s) {
        while (n-- != 0u) {
            *d++ = *s++;
        }
    } else {
        while (n-- != 0u) {
            d[n] = s[n];
        }
    }
    return to;
}

PLAIN_LOOPS int memcmp(const void *a, const void *b, size_t n)
{
    const uint8_t *x = a, *y = b;
    for (size_t i = 0; i < n; i++) {
        if (x[i] != y[i]) {
            return (int)x[i] - (int)y[i];
        }
    }
    return 0;
}
