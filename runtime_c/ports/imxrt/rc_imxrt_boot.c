/* What the boot ROM of the i.MX RT1060 family reads from the start of the flash, and the first instructions after it.
 * COMPILED ONLY: not yet run on a chip.
 *
 * i.MX RT1060 Processor Reference Manual, "System Boot": flash configuration block at 0, image vector table at 0x1000;
 * our vector table follows at 0x2000. Checked against the Teensy core's public boot data and startup. RC_FLASH_BASE and
 * RC_FLASH_BYTES come from the board file. */
#include "rc_chip.h"

#define IOMUXC_GPR14 0x400AC038u
#define IOMUXC_GPR16 0x400AC040u
#define IOMUXC_GPR17 0x400AC044u

void rc_imxrt_entry(void);

typedef struct {
    uint32_t flash_config[128];
    uint32_t unused_1[(0x1000 - 512) / 4];
    uintptr_t image_vectors[8];
    uint32_t boot_data[4];
    uint32_t unused_2[(0x1000 - 48) / 4];
} boot_header_t;

_Static_assert(sizeof(boot_header_t) == 0x2000, "the vector table must begin at 0x2000");

__attribute__((section(".recurc_boot"), used)) static const boot_header_t boot_header = {
    .flash_config =
        {
            [0] = 0x42464346u,  /* "FCFB" */
            [1] = 0x56010400u,  /* version 1.4 */
            [3] = 0x00030301u,  /* data set-up and hold 3 cycles, read strobe looped back from the DQS pad */
            [17] = 0x00030401u, /* serial NOR flash, 4 data lines, 60 MHz */
            [20] = RC_FLASH_BYTES,
            /* Look-up table, sequence 0, read: 0xEB on 1 line, 24 address bits on 4, 6 dummy cycles, data on 4. */
            [32] = 0x0A1804EBu,
            [33] = 0x26043206u,
            [112] = 256u,   /* page */
            [113] = 4096u,  /* sector */
            [114] = 1u,     /* commands at 30 MHz */
            [116] = 65536u, /* block */
        },
    .image_vectors =
        {
            0x432000D1u, /* tag, length, version */
            (uintptr_t)rc_imxrt_entry,
            0,
            0, /* no device configuration data */
            RC_FLASH_BASE + 0x1020u,
            RC_FLASH_BASE + 0x1000u,
            0, /* not signed */
            0,
        },
    .boot_data = {RC_FLASH_BASE, RC_FLASH_BYTES, 0, 0xFFFFFFFFu},
};

/* All sixteen banks of FlexRAM become data TCM: 512 KiB at 0x20000000. The stack lies there, so this comes before any
 * use of it. (Reference manual, chapter FlexRAM; IOMUXC_GPR14, 16 and 17.) */
__attribute__((naked, used)) void rc_imxrt_entry(void)
{
    __asm__ volatile("cpsid i\n"
                     "ldr r0, =%c0\n"
                     "ldr r1, =0xAAAAAAAA\n" /* two bits a bank: 10 = DTCM */
                     "str r1, [r0]\n"
                     "ldr r0, =%c1\n"
                     "ldr r1, [r0]\n"
                     "bic r1, r1, #7\n"
                     "orr r1, r1, #6\n" /* DTCM on, banks from GPR17, no ITCM */
                     "str r1, [r0]\n"
                     "ldr r0, =%c2\n"
                     "ldr r1, [r0]\n"
                     "bic r1, r1, #0x00FF0000\n"
                     "orr r1, r1, #0x00A00000\n" /* DTCM 512 KiB, ITCM none */
                     "str r1, [r0]\n"
                     "dsb\n"
                     "isb\n"
                     "b rc_reset_handler\n"
                     ".ltorg\n" ::"i"(IOMUXC_GPR17),
                     "i"(IOMUXC_GPR16), "i"(IOMUXC_GPR14));
}
