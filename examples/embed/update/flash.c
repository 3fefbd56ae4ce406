/* SPDX-License-Identifier: Apache-2.0 */
#include "flash.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

uint32_t flash_power = UINT32_MAX;
static uint8_t *memory;
static uint32_t size;

const uint8_t *flash_open(const char *file, uint32_t bytes)
{
    struct stat found;
    const int fd = open(file, O_RDWR | O_CREAT, 0644);
    if (fd < 0 || fstat(fd, &found) != 0 || ftruncate(fd, (off_t)bytes) != 0) {
        return 0;
    }
    void *const map = mmap(0, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    (void)close(fd);
    if (map == MAP_FAILED) {
        return 0;
    }
    memory = map;
    size = bytes;
    if (found.st_size != (off_t)bytes) {
        memset(memory, 0xFF, bytes);
    }
    return memory;
}

static void set(uint32_t at, uint8_t byte)
{
    if (flash_power-- == 0u) {
        exit(3);
    }
    memory[at] = byte;
}

int flash_erase(uint32_t at, uint32_t bytes)
{
    if (at % FLASH_SECTOR != 0u || bytes % FLASH_SECTOR != 0u || at > size || bytes > size - at) {
        return -1;
    }
    for (uint32_t i = 0; i < bytes; i++) {
        set(at + i, 0xFFu);
    }
    return 0;
}

int flash_write(uint32_t at, const uint8_t *data, uint32_t bytes)
{
    if (at > size || bytes > size - at) {
        return -1;
    }
    for (uint32_t i = 0; i < bytes; i++) {
        set(at + i, data[i] & memory[at + i]); /* flash only clears bits */
    }
    return 0;
}
