/* Level 1 caches of a Cortex-M7 or M55, emptied and turned on (Cortex-M7 Generic User Guide, "Cache maintenance design
 * hints"). The MPU must already say which memory may be cached. A data cache that is on already, as a boot loader may
 * have left it, holds what the startup has written: it is not emptied. */
#ifndef RECURC_CHIP_CACHES_H
#define RECURC_CHIP_CACHES_H

#include "rc_arm.h"

#define RC_SCB_CCSIDR  0xE000ED80u
#define RC_SCB_CSSELR  0xE000ED84u
#define RC_SCB_ICIALLU 0xE000EF50u
#define RC_SCB_DCISW   0xE000EF60u
#define CCR_DC         (1u << 16)

static inline void rc_chip_caches_on(void)
{
    RC_REG32(RC_SCB_ICIALLU) = 0;
    __asm__ volatile("dsb\n\tisb" ::: "memory");
    RC_REG32(RC_SCB_CCR) |= 1u << 17;
    __asm__ volatile("dsb\n\tisb" ::: "memory");
    if ((RC_REG32(RC_SCB_CCR) & CCR_DC) != 0u) {
        return;
    }
    RC_REG32(RC_SCB_CSSELR) = 0; /* level 1 data cache */
    __asm__ volatile("dsb" ::: "memory");
    uint32_t geometry = RC_REG32(RC_SCB_CCSIDR);
    uint32_t sets = (geometry >> 13) & 0x7FFFu, ways = (geometry >> 3) & 0x3FFu;
    for (uint32_t set = 0; set <= sets; set++) {
        for (uint32_t way = 0; way <= ways; way++) {
            RC_REG32(RC_SCB_DCISW) = (set << 5) | (way << 30); /* 32-byte lines, 4 ways */
        }
    }
    __asm__ volatile("dsb" ::: "memory");
    RC_REG32(RC_SCB_CCR) |= CCR_DC;
    __asm__ volatile("dsb\n\tisb" ::: "memory");
}

#endif
