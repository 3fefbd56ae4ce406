/* A stand-in for ESP-IDF, written for this test: just what the port uses. */
#pragma once
#include "freertos/FreeRTOS.h"
struct tskTaskControlBlock;
typedef struct tskTaskControlBlock *TaskHandle_t;
UBaseType_t uxTaskGetStackHighWaterMark(TaskHandle_t task);
