/* PMSAv7 (Cortex-M4, M7): Arm v7-M Architecture Reference Manual, B3.5. */
#if defined(RC_MPU) && RC_MPU == 7
#include "rc_mpu.h"

void rc_mpu_on(void)
{
    uint32_t slots = (RC_REG32(RC_MPU_TYPE) >> 8) & 0xFFu, slot = 0;
    RC_REG32(RC_MPU_CTRL) = 0;
    for (const uint32_t *entry = rc_mpu_table; entry < rc_mpu_table_end; entry += 2, slot++) {
        while (slot >= slots) { /* never run without the protection that was promised */
        }
        RC_REG32(RC_MPU_RNR) = slot;
        RC_REG32(RC_MPU_RBAR) = entry[0];
        RC_REG32(RC_MPU_RASR) = entry[1];
    }
    for (; slot < slots; slot++) { /* what a boot loader may have left */
        RC_REG32(RC_MPU_RNR) = slot;
        RC_REG32(RC_MPU_RASR) = 0;
    }
    __asm__ volatile("dsb" ::: "memory");
    RC_REG32(RC_MPU_CTRL) = 1; /* on; no default map, and off in HardFault so that a fault can be told */
    __asm__ volatile("dsb\n\tisb" ::: "memory");
}

#else
typedef int rc_mpu_v7_unused; /* a translation unit must not be empty */
#endif
