/* Maps the partitions that hold weights and puzzle table. */
#include "rc_esp_flash.h"

#include "esp_partition.h"

const uint8_t *rc_esp_map(uint32_t subtype, uint32_t bytes)
{
    const esp_partition_t *found =
        esp_partition_find_first((esp_partition_type_t)RC_PARTITION_TYPE, (esp_partition_subtype_t)subtype, NULL);
    const void *start = NULL;
    esp_partition_mmap_handle_t handle = 0;
    if (found == NULL || found->size < bytes ||
        esp_partition_mmap(found, 0, bytes, ESP_PARTITION_MMAP_DATA, &start, &handle) != ESP_OK) {
        return NULL;
    }
    return start;
}
