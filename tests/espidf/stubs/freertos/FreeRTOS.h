/* A stand-in for ESP-IDF, written for this test: just what the port uses. */
#pragma once
#include <stdint.h>
typedef uint32_t TickType_t;
typedef unsigned int UBaseType_t;
typedef int BaseType_t;
#define configTICK_RATE_HZ 100
#define portMAX_DELAY      0xFFFFFFFFu
#define pdMS_TO_TICKS(ms)  ((TickType_t)(((uint64_t)(ms) * configTICK_RATE_HZ) / 1000u))
