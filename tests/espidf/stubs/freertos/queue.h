/* A stand-in for ESP-IDF, written for this test: just what the port uses. */
#pragma once
#include "freertos/FreeRTOS.h"
typedef struct QueueDefinition *QueueHandle_t;
