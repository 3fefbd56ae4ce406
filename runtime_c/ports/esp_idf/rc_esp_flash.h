/* Flash partitions of recurc's own, seen through the cache. */
#ifndef RECURC_ESP_FLASH_H
#define RECURC_ESP_FLASH_H

#include <stdint.h>

/* Partition type and subtypes in partitions.csv; types from 0x40 on are the application's. */
#define RC_PARTITION_TYPE    0x40
#define RC_PARTITION_WEIGHTS 0x00
#define RC_PARTITION_PUZZLES 0x01

/* The first `bytes` of the partition of a subtype, mapped for good; null when there is no such partition, it is smaller
 * or it cannot be mapped. What is in it is checked by those who read it. */
const uint8_t *rc_esp_map(uint32_t subtype, uint32_t bytes);

#endif
