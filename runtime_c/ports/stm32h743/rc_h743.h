/* STM32H743 registers that the port uses. Addresses and bits: ST RM0433, chapters named beside each block. */
#ifndef RECURC_H743_H
#define RECURC_H743_H

#include "rc_chip.h"

/* RCC: reset and clock control */
#define RCC_CR        0x58024400u
#define RCC_CFGR      0x58024410u
#define RCC_D1CFGR    0x58024418u
#define RCC_D2CFGR    0x5802441Cu
#define RCC_D3CFGR    0x58024420u
#define RCC_PLLCKSELR 0x58024428u
#define RCC_PLLCFGR   0x5802442Cu
#define RCC_PLL1DIVR  0x58024430u
#define RCC_AHB3ENR   0x580244D4u
#define RCC_AHB2ENR   0x580244DCu
#define RCC_AHB4ENR   0x580244E0u
#define RCC_APB1LENR  0x580244E8u
#define RCC_APB4ENR   0x580244F4u
#define RCC_RSR       0x580244D0u
/* PWR: power control */
#define PWR_CSR1 0x58024804u
#define PWR_CR3  0x5802480Cu
#define PWR_D3CR 0x58024818u
/* SYSCFG, flash interface, debug identity */
#define SYSCFG_PWRCR  0x5800042Cu
#define FLASH_ACR     0x52002000u
#define DBGMCU_IDCODE 0x5C001000u
#define DBGMCU_CR     0x5C001004u
#define DBGMCU_APB4FZ 0x5C001054u
/* GPIO ports: offsets from each port's base */
#define GPIOB        0x58020400u
#define GPIOD        0x58020C00u
#define GPIOE        0x58021000u
#define GPIO_MODER   0x00u
#define GPIO_OSPEEDR 0x08u
#define GPIO_AFRL    0x20u
/* USART3 */
#define USART3_CR1 0x40004800u
#define USART3_BRR 0x4000480Cu
#define USART3_ISR 0x4000481Cu
#define USART3_ICR 0x40004820u
#define USART3_RDR 0x40004824u
#define USART3_TDR 0x40004828u
/* QUADSPI */
#define QUADSPI_CR  0x52005000u
#define QUADSPI_DCR 0x52005004u
#define QUADSPI_SR  0x52005008u
#define QUADSPI_FCR 0x5200500Cu
#define QUADSPI_DLR 0x52005010u
#define QUADSPI_CCR 0x52005014u
#define QUADSPI_ABR 0x5200501Cu
#define QUADSPI_DR  0x52005020u
/* IWDG1: independent watchdog */
#define IWDG1_KR  0x58004800u
#define IWDG1_PR  0x58004804u
#define IWDG1_RLR 0x58004808u
#define IWDG1_SR  0x5800480Cu

#define QSPI_MEMORY_BASE 0x90000000u

/* Alternate function `af` on one pin, at the highest slew rate. */
static inline void rc_h743_pin(uint32_t port, uint32_t pin, uint32_t af)
{
    uint32_t two = pin * 2u, four = (pin & 7u) * 4u;
    uint32_t afr = port + GPIO_AFRL + (pin >> 3) * 4u;
    RC_REG32(afr) = (RC_REG32(afr) & ~(15u << four)) | (af << four);
    RC_REG32(port + GPIO_OSPEEDR) |= 3u << two;
    RC_REG32(port + GPIO_MODER) = (RC_REG32(port + GPIO_MODER) & ~(3u << two)) | (2u << two);
}

typedef struct {
    uint32_t core_hz, apb1_hz;
} rc_h743_clocks_t;

/* Power supply, voltage scale, PLL, flash wait states: the clocks that run then. */
rc_h743_clocks_t rc_h743_clocks(void);

/* MPU regions and both caches. `qspi`: the QSPI flash is mapped and may be read. */
void rc_h743_caches(uint32_t qspi);

/* Quad I/O reads mapped at QSPI_MEMORY_BASE: 1, or 0 when the interface never ends a command. Needs the final clock. */
uint32_t rc_h743_qspi(void);

#endif
