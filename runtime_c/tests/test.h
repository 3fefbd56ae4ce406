/* What all tests share: checks that count, a generator of numbers, whole files. */
#ifndef RECURC_TEST_H
#define RECURC_TEST_H

#include <stdint.h>
#include <stdio.h>

static int failures;

#define CHECK(true_or_not)                                                                                             \
    do {                                                                                                               \
        if (!(true_or_not)) {                                                                                          \
            failures++;                                                                                                \
            printf("%s:%d: not so: %s\n", __FILE__, __LINE__, #true_or_not);                                           \
        }                                                                                                              \
    } while (0)

static inline int verdict(void)
{
    printf(failures == 0 ? "all is as it should be\n" : "%d checks failed\n", failures);
    return failures == 0 ? 0 : 1;
}

/* Marsaglia's xorshift of 32 bits: the same numbers everywhere. */
static uint32_t random_state = 1u;

static inline uint32_t random_bits(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 17;
    random_state ^= random_state << 5;
    return random_state;
}

/* A multiple of 2^-20 from -8 to 8, exact in binary32. */
static inline float random_float(void)
{
    return (float)((int32_t)(random_bits() >> 8) - 0x800000) * 0x1p-20f;
}

/* One of low .. high. */
static inline int32_t random_int(int32_t low, int32_t high)
{
    return low + (int32_t)(random_bits() % (uint32_t)(high - low + 1));
}

/* All of a file of at most `most` bytes; their number, 0 when it cannot be read. */
static inline uint32_t whole_file(const char *path, uint8_t *to, uint32_t most)
{
    FILE *file = fopen(path, "rb");
    if (file == 0) {
        printf("%s cannot be read\n", path);
        return 0;
    }
    const uint32_t bytes = (uint32_t)fread(to, 1, most, file);
    (void)fclose(file);
    return bytes;
}

#endif
