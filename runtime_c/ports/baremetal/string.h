/* The four functions of <string.h> that rc_mem.c has; bare firmware is built without a C library. */
#ifndef RECURC_STRING_H
#define RECURC_STRING_H

#include <stddef.h>

void *memcpy(void *restrict to, const void *restrict from, size_t n);
void *memset(void *to, int value, size_t n);
void *memmove(void *to, const void *from, size_t n);
int memcmp(const void *a, const void *b, size_t n);

#endif
