/* A stand-in for ESP-IDF, written for this test: just what the port uses. */
#pragma once
#include <stdbool.h>
#include "esp_err.h"
#include "freertos/task.h"
typedef struct {
    uint32_t timeout_ms;
    uint32_t idle_core_mask;
    bool trigger_panic;
} esp_task_wdt_config_t;
esp_err_t esp_task_wdt_init(const esp_task_wdt_config_t *config);
esp_err_t esp_task_wdt_add(TaskHandle_t task_handle);
esp_err_t esp_task_wdt_reset(void);
void __attribute__((weak)) esp_task_wdt_isr_user_handler(void);
