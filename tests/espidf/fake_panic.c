/* ESP-IDF's last word on a panic. */
#include <stdio.h>
#include <stdlib.h>

#include "esp_private/panic_internal.h"

void esp_panic_handler(panic_info_t *info);

void esp_panic_handler(panic_info_t *info)
{
    fprintf(stderr, "panic %d\n", (int)info->exception);
    exit(5);
}
