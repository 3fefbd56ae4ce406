/* A project of someone's own that has the component and its own way with panics. */
#include <stdio.h>

#include "esp_task_wdt.h"

void esp_task_wdt_isr_user_handler(void)
{
    fprintf(stderr, "the product's watchdog handler\n");
}
