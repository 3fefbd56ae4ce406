/* A stand-in for ESP-IDF, written for this test: just what the port uses. */
#pragma once
#include <fake_sdkconfig.h> /* made by the test from sdkconfig.defaults */
