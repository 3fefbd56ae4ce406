/* What the port does otherwise within a panic of ESP-IDF. */
#ifndef RECURC_ESP_PANIC_H
#define RECURC_ESP_PANIC_H

/* Null until rc_esp_panic.c, where a program has it, is in a panic: drivers and the scheduler are dead then, bytes go out
 * by the ROM's functions, and this says ESP-IDF's last word and restarts the chip. */
extern void (*rc_esp_panic_end)(void);

#endif
