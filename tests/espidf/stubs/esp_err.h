/* A stand-in for ESP-IDF, written for this test: just what the port uses. */
#pragma once
typedef int esp_err_t;
#define ESP_OK 0
void fake_check(esp_err_t error);
#define ESP_ERROR_CHECK(x) fake_check(x)
