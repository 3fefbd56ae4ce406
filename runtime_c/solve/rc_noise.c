/* SPDX-License-Identifier: Apache-2.0 */
#include "recurc/rc_guard.h"

#include "recurc/rc_noise.h"

#include "recurc/rc_arith.h"

/* 1 / sqrt(85): four digits from 0 to 15 have a variance of (16 * 16 - 1) / 12 each. */
#define DEVIATION 0.10846522890932808f

static uint32_t turned(uint32_t x, uint32_t by)
{
    return x << by | x >> (32u - by);
}

/* Four rounds of Threefry-2x32, then the next words of the key. */
#define ROUND(by)                           a += b, b = turned(b, by) ^ a
#define FOUR_ROUNDS(r0, r1, r2, r3, ka, kb) (ROUND(r0), ROUND(r1), ROUND(r2), ROUND(r3), a += (ka), b += (kb))

/* Threefry-2x32, 20 rounds. */
static void random_words(const rc_noise_t *noise, uint32_t block, uint32_t words[2])
{
    const uint32_t k0 = noise->seed, k1 = noise->run, k2 = 0x1BD11BDAu ^ k0 ^ k1;
    uint32_t a = block + k0, b = noise->step + k1;
    FOUR_ROUNDS(13u, 15u, 26u, 6u, k1, k2 + 1u);
    FOUR_ROUNDS(17u, 29u, 16u, 24u, k2, k0 + 2u);
    FOUR_ROUNDS(13u, 15u, 26u, 6u, k0, k1 + 3u);
    FOUR_ROUNDS(17u, 29u, 16u, 24u, k1, k2 + 4u);
    FOUR_ROUNDS(13u, 15u, 26u, 6u, k2, k0 + 5u);
    words[0] = a;
    words[1] = b;
}

float rc_noise_scale(float sigma)
{
    return sigma * DEVIATION;
}

/* Eight digits of four bits: those of each half, added up in that half. */
static uint32_t sums_of(uint32_t word)
{
    const uint32_t pairs = (word & 0x0F0F0F0Fu) + (word >> 4 & 0x0F0F0F0Fu);
    return (pairs & 0x00FF00FFu) + (pairs >> 8 & 0x00FF00FFu);
}

static float noisy(float x, uint32_t sum, float scale)
{
    return x + (float)((int32_t)sum - 30) * scale;
}

uint32_t rc_noise_add(const rc_noise_t *noise, uint32_t block, float *row, uint32_t n)
{
    const float scale = noise->scale;
    uint32_t finite = 1u, words[2] = {0u, 0u};
    for (; n >= 4u; n -= 4u, row += 4) {
        random_words(noise, block++, words);
        const uint32_t low = sums_of(words[0]), high = sums_of(words[1]);
        row[0] = noisy(row[0], low & 0xFFu, scale);
        row[1] = noisy(row[1], low >> 16, scale);
        row[2] = noisy(row[2], high & 0xFFu, scale);
        row[3] = noisy(row[3], high >> 16, scale);
        finite &= rc_is_finite(row[0]) & rc_is_finite(row[1]) & rc_is_finite(row[2]) & rc_is_finite(row[3]);
    }
    if (n != 0u) {
        random_words(noise, block, words);
    }
    for (uint32_t i = 0; i < n; i++) {
        row[i] = noisy(row[i], sums_of(words[i / 2u]) >> 16u * (i % 2u) & 0xFFu, scale);
        finite &= rc_is_finite(row[i]);
    }
    return finite;
}
