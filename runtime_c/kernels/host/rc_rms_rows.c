/* SPDX-License-Identifier: Apache-2.0 */
#include "recurc/rc_host.h"

void rc_rms_rows(float *x, uint32_t ld, uint32_t rows, uint32_t n, float eps)
{
    for (uint32_t r = 0; r < rows; r++) {
        rc_rms_norm(x + r * ld, n, eps);
    }
}
