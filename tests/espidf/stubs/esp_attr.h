/* A stand-in for ESP-IDF, written for this test: just what the port uses. */
#pragma once
#include "sdkconfig.h"
#define IRAM_ATTR __attribute__((section(".iram1.text")))
#if CONFIG_SPIRAM_ALLOW_BSS_SEG_EXTERNAL_MEMORY
#define EXT_RAM_BSS_ATTR __attribute__((section(".ext_ram.bss")))
#else
#define EXT_RAM_BSS_ATTR
#endif
