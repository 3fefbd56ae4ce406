/* SPDX-License-Identifier: Apache-2.0 */
#include "recurc/rc_host.h"

void rc_transpose(const float *x, uint32_t ldx, uint32_t rows, uint32_t columns, float *y, uint32_t ldy)
{
    for (uint32_t r = 0; r < rows; r++) {
        for (uint32_t c = 0; c < columns; c++) {
            y[c * ldy + r] = x[r * ldx + c];
        }
    }
}
