/* Memory protection from the table in the linker script: flash-like memory read-only, RAM never executed, everything
 * that the table does not name closed. Compiled in where the board file says `mpu`. */
#ifndef RECURC_MPU_H
#define RECURC_MPU_H

#include "rc_arm.h"

#define RC_MPU_TYPE 0xE000ED90u
#define RC_MPU_CTRL 0xE000ED94u
#define RC_MPU_RNR  0xE000ED98u
#define RC_MPU_RBAR 0xE000ED9Cu
#define RC_MPU_RASR 0xE000EDA0u /* PMSAv7 */
#define RC_MPU_RLAR 0xE000EDA0u /* PMSAv8 */
#define RC_MPU_MAIR 0xE000EDC0u /* PMSAv8 */

/* Pairs of words, one slot each: base register, then attributes (PMSAv7) or limit (PMSAv8). */
extern const uint32_t rc_mpu_table[], rc_mpu_table_end[];

/* Load the table and turn the unit on, without the default map behind it. Stops at a unit with too few slots. */
void rc_mpu_on(void);

#endif
