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

/* Threefry-2x32, 20 rounds. */
static void random_words(const rc_noise_t *noise, uint32_t block, uint32_t words[2])
{
    const uint32_t k0 = noise->seed, k1 = noise->run, k2 = 0x1BD11BDAu ^ k0 ^ k1;
    const uint32_t keys[7] = {k0, k1, k2, k0, k1, k2, k0};
    uint32_t a = block + k0, b = noise->step + k1;
#define ROUND(by)                                                                                                      \
    a += b;                                                                                                            \
    b = turned(b, by);                                                                                                 \
    b ^= a
    for (uint32_t i = 1; i < 6u; i++) {
        if ((i & 1u) != 0u) {
            ROUND(13u);
            ROUND(15u);
            ROUND(26u);
            ROUND(6u);
        } else {
            ROUND(17u);
            ROUND(29u);
            ROUND(16u);
            ROUND(24u);
        }
        a += keys[i];
        b += keys[i + 1u] + i;
    }
#undef ROUND
    words[0] = a;
    words[1] = b;
}

float rc_noise_scale(float sigma)
{
    return sigma * DEVIATION;
}

uint32_t rc_noise_add(const rc_noise_t *noise, uint32_t block, float *row, uint32_t n)
{
    uint32_t finite = 1u;
    for (uint32_t i = 0; i < n; i += 4u, block++) {
        uint32_t words[2];
        random_words(noise, block, words);
        for (uint32_t j = 0; j < 4u && i + j < n; j += 2u) {
            uint32_t sums = words[j / 2u]; /* eight digits; of each half, the four are added up */
            sums = (sums & 0x0F0F0F0Fu) + (sums >> 4 & 0x0F0F0F0Fu);
            sums = (sums & 0x00FF00FFu) + (sums >> 8 & 0x00FF00FFu);
            float *x = row + i + j;
            x[0] += (float)((int32_t)(sums & 0xFFu) - 30) * noise->scale;
            finite &= rc_is_finite(x[0]);
            if (i + j + 1u < n) {
                x[1] += (float)((int32_t)(sums >> 16) - 30) * noise->scale;
                finite &= rc_is_finite(x[1]);
            }
        }
    }
    return finite;
}
