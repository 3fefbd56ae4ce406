/* A stand-in for ESP-IDF, written for this test: just what the port uses. */
#pragma once
#include <stdint.h>
int esp_rom_output_tx_one_char(uint8_t c);
