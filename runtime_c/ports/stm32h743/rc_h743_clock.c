/* Clocks of the STM32H743: 480 MHz on silicon revision V, 400 MHz on earlier ones. COMPILED ONLY: not yet run on a
 * chip.
 *
 * When supply, PLL or flash do not get ready within the bound of rc_chip_wait, the core stays on HSI at 64 MHz, the clock
 * after a reset, with all prescalers as they are then. An external clock that does not come is replaced by HSI.
 *
 * Source: the internal 64 MHz oscillator (HSI) unless RC_HSE_HZ names an external clock of 8 or 16 MHz (bypass mode:
 * the ST-LINK of a Nucleo feeds 8 MHz in). HSI is within 1 %, good enough for a UART; it makes ticks as wrong as
 * itself. The supply is the internal linear regulator (LDO), as on the Nucleo-144 boards. */
#include "rc_chip_caches.h"
#include "rc_h743.h"
#include "rc_mpu.h"

#define CORE_HZ       480000000u
#define REVISION_Y_HZ 400000000u

#define HSI_HZ       64000000u
#define PLL_INPUT_HZ 8000000u

#define CR_HSION   (1u << 0)
#define CR_HSIRDY  (1u << 2)
#define CR_HSEON   (1u << 16)
#define CR_HSERDY  (1u << 17)
#define CR_HSEBYP  (1u << 18)
#define CR_PLL1ON  (1u << 24)
#define CR_PLL1RDY (1u << 25)

#define CR3_LDOEN  (1u << 1)
#define VOSRDY     (1u << 13)
#define VOS_SCALE1 (3u << 14)
#define REVISION_V 0x2003u

#ifdef RC_HSE_HZ
_Static_assert(RC_HSE_HZ % PLL_INPUT_HZ == 0, "the PLL's input is 8 MHz: RC_HSE_HZ must be a multiple of it");
#endif

/* Everything up to the PLL's clock for the core; returns its Hz, or 0 when something did not get ready. */
static uint32_t full_speed(void)
{
    uint32_t fast = (RC_REG32(DBGMCU_IDCODE) >> 16) >= REVISION_V ? 1u : 0u;
    uint32_t source = 0, divider = HSI_HZ / PLL_INPUT_HZ; /* HSI */

    /* Supply. CR3's low byte can be written once after power-on; until then the core's voltage must not be changed. */
    RC_REG32(PWR_CR3) = (RC_REG32(PWR_CR3) & ~7u) | CR3_LDOEN;
    if (rc_chip_wait(PWR_CSR1, VOSRDY, VOSRDY) == 0u) {
        return 0;
    }
    RC_REG32(PWR_D3CR) = VOS_SCALE1;
    if (rc_chip_wait(PWR_D3CR, VOSRDY, VOSRDY) == 0u) {
        return 0;
    }
    if (fast != 0u) { /* scale 0 = scale 1 with overdrive; 480 MHz needs it */
        RC_REG32(RCC_APB4ENR) |= 1u << 1;
        (void)RC_REG32(RCC_APB4ENR);
        RC_REG32(SYSCFG_PWRCR) |= 1u;
        if (rc_chip_wait(PWR_D3CR, VOSRDY, VOSRDY) == 0u) {
            return 0;
        }
    }

#ifdef RC_HSE_HZ
    RC_REG32(RCC_CR) |= CR_HSEBYP;
    RC_REG32(RCC_CR) |= CR_HSEON;
    if (rc_chip_wait(RCC_CR, CR_HSERDY, CR_HSERDY) != 0u) {
        source = 2;
        divider = RC_HSE_HZ / PLL_INPUT_HZ;
    }
#endif
    RC_REG32(RCC_PLLCKSELR) = source | (divider << 4);
    /* Input range 8-16 MHz, wide VCO, output P only. VCO 960 or 800 MHz, P divides by 2. */
    RC_REG32(RCC_PLLCFGR) = (3u << 2) | (1u << 16);
    RC_REG32(RCC_PLL1DIVR) = ((fast != 0u ? 120u : 100u) - 1u) | ((2u - 1u) << 9);
    RC_REG32(RCC_CR) |= CR_PLL1ON;
    if (rc_chip_wait(RCC_CR, CR_PLL1RDY, CR_PLL1RDY) == 0u) {
        return 0;
    }

    /* AXI at half the core clock, all APBs at half of that; 4 wait states cover AXI up to 240 MHz. */
    RC_REG32(FLASH_ACR) = 4u | (2u << 4);
    if (rc_chip_wait(FLASH_ACR, 15u, 4u) == 0u) {
        return 0;
    }
    RC_REG32(RCC_D1CFGR) = 8u | (4u << 4);
    RC_REG32(RCC_D2CFGR) = (4u << 4) | (4u << 8);
    RC_REG32(RCC_D3CFGR) = 4u << 4;
    RC_REG32(RCC_CFGR) = (RC_REG32(RCC_CFGR) & ~7u) | 3u;
    if (rc_chip_wait(RCC_CFGR, 7u << 3, 3u << 3) == 0u) {
        return 0;
    }
    return fast != 0u ? CORE_HZ : REVISION_Y_HZ;
}

rc_h743_clocks_t rc_h743_clocks(void)
{
    RC_REG32(RCC_CR) |= CR_HSION;
    rc_chip_need(RCC_CR, CR_HSIRDY, CR_HSIRDY);
    rc_h743_clocks_t clocks = {full_speed(), 0};
    if (clocks.core_hz != 0u) {
        clocks.apb1_hz = clocks.core_hz / 4u;
        return clocks;
    }
    RC_REG32(RCC_CFGR) &= ~7u; /* HSI, should the PLL have been asked for and come later */
    RC_REG32(RCC_D1CFGR) = 0;
    RC_REG32(RCC_D2CFGR) = 0;
    RC_REG32(RCC_D3CFGR) = 0;
    clocks.core_hz = HSI_HZ;
    clocks.apb1_hz = HSI_HZ;
    return clocks;
}

static void mpu_region(uint32_t number, uint32_t base, uint32_t attributes)
{
    RC_REG32(RC_MPU_RNR) = number;
    RC_REG32(RC_MPU_RBAR) = base;
    RC_REG32(RC_MPU_RASR) = attributes;
}

void rc_h743_caches(uint32_t qspi)
{
    /* Region 0: no access to the external memories, which the core would otherwise read ahead into and hang on
     * (4 GB with the eighths 0x00000000-0x5FFFFFFF and 0xE0000000 up left to the default map).
     * Region 1: the mapped QSPI flash, read only, normal memory, write-through: cached and never executed. */
    RC_REG32(RC_MPU_CTRL) = 0;
    mpu_region(0, 0, (1u << 28) | (4u << 16) | (0x87u << 8) | (31u << 1) | 1u);
    if (qspi != 0u) {
        mpu_region(1, QSPI_MEMORY_BASE, (1u << 28) | (6u << 24) | (1u << 17) | (23u << 1) | 1u);
    }
    RC_REG32(RC_MPU_CTRL) = 5; /* on, default map elsewhere */
    __asm__ volatile("dsb\n\tisb" ::: "memory");

    rc_chip_caches_on();
}
