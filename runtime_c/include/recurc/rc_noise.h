/* SPDX-License-Identifier: Apache-2.0 */
/* Normal numbers that are the same bits everywhere. SPEC.md, section "Noise". */
#ifndef RECURC_NOISE_H
#define RECURC_NOISE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Which noise a run has before a step: the key's words, the counter's second one, and what a whole number is multiplied by. */
typedef struct {
    uint32_t seed, run, step;
    float scale;
} rc_noise_t;

/* The scale for a standard deviation. */
float rc_noise_scale(float sigma);

/* Add noise to n floats, a row of the carry: its blocks of four, the last one perhaps cut off, are counted from `block`.
 * Whether all are finite numbers then. */
uint32_t rc_noise_add(const rc_noise_t *noise, uint32_t block, float *row, uint32_t n);

#ifdef __cplusplus
}
#endif

#endif
