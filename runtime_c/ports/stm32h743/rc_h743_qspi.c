/* Memory-mapped QSPI flash of the STM32H743; used only when the weights image or a puzzle table lies there. COMPILED
 * ONLY: not yet run on a chip.
 *
 * Pins as on common H743 boards with a W25Q128: CLK PB2, NCS PB6, IO0 PD11, IO1 PD12, IO2 PE2, IO3 PD13.
 * The flash's quad-enable bit is set (volatile form); reads use "Fast Read Quad I/O" (0xEB). */
#include "rc_h743.h"

#define FLASH_SIZE_LOG2 24u /* 16 MB */
#define SR_TCF          (1u << 1)
#define SR_BUSY         (1u << 5)
#define MODE_1_LINE     1u
#define MODE_4_LINES    3u
#define FMODE_WRITE     0u
#define FMODE_MAPPED    3u

#define CMD_VOLATILE_WRITE_ENABLE 0x50u
#define CMD_WRITE_STATUS_2        0x31u
#define STATUS_2_QUAD_ENABLE      0x02u
#define CMD_FAST_READ_QUAD_IO     0xEBu

static uint32_t command(uint32_t instruction, uint32_t has_data, uint8_t data)
{
    if (rc_chip_wait(QUADSPI_SR, SR_BUSY, 0) == 0u) {
        return 0;
    }
    RC_REG32(QUADSPI_FCR) = SR_TCF;
    RC_REG32(QUADSPI_DLR) = 0; /* one byte, where there is data */
    RC_REG32(QUADSPI_CCR) =
        (FMODE_WRITE << 26) | (has_data != 0u ? MODE_1_LINE << 24 : 0u) | (MODE_1_LINE << 8) | instruction;
    if (has_data != 0u) {
        *(volatile uint8_t *)(uintptr_t)QUADSPI_DR = data;
    }
    uint32_t done = rc_chip_wait(QUADSPI_SR, SR_TCF, SR_TCF);
    RC_REG32(QUADSPI_FCR) = SR_TCF;
    return done;
}

uint32_t rc_h743_qspi(void)
{
    RC_REG32(RCC_AHB4ENR) |= (1u << 1) | (1u << 3) | (1u << 4);
    RC_REG32(RCC_AHB3ENR) |= 1u << 14;
    (void)RC_REG32(RCC_AHB3ENR); /* the clock runs after a read back */
    rc_h743_pin(GPIOB, 2, 9);
    rc_h743_pin(GPIOB, 6, 10);
    rc_h743_pin(GPIOD, 11, 9);
    rc_h743_pin(GPIOD, 12, 9);
    rc_h743_pin(GPIOD, 13, 9);
    rc_h743_pin(GPIOE, 2, 9);

    RC_REG32(QUADSPI_DCR) = ((FLASH_SIZE_LOG2 - 1u) << 16) | (3u << 8);
    RC_REG32(QUADSPI_CR) = (2u << 24) | (1u << 4) | 1u; /* AHB clock / 3 = 80 MHz, sample half a cycle later, on */
    if (command(CMD_VOLATILE_WRITE_ENABLE, 0, 0) == 0u || command(CMD_WRITE_STATUS_2, 1, STATUS_2_QUAD_ENABLE) == 0u ||
        rc_chip_wait(QUADSPI_SR, SR_BUSY, 0) == 0u) {
        return 0;
    }
    RC_REG32(QUADSPI_ABR) = 0xFF; /* mode bits: no continuous read */
    RC_REG32(QUADSPI_CCR) = (FMODE_MAPPED << 26) | (MODE_4_LINES << 24) | (4u << 18) | (MODE_4_LINES << 14) |
                            (2u << 12) | (MODE_4_LINES << 10) | (MODE_1_LINE << 8) | CMD_FAST_READ_QUAD_IO;
    return 1;
}
