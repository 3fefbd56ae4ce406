/* Runs a generated model on one puzzle and prints, after each step, a CRC of all that can be read: a program of somebody
 * else's, which knows the public headers only. Usage: steps IMAGE. */
#include <stdint.h>
#include <stdio.h>

#include "recurc/rc.h"
#include "recurc/rc_crc32.h"

#define ALIGN       64u
#define MOST_IMAGE  (1u << 20)
#define MOST_ARENA  (1u << 20)
#define MOST_TOKENS 256u

static uint8_t image_memory[MOST_IMAGE + ALIGN], arena_memory[MOST_ARENA + ALIGN];

static uint8_t *aligned(uint8_t *memory)
{
    return memory + (ALIGN - (uintptr_t)memory % ALIGN) % ALIGN;
}

static uint32_t crc_of_all(const rc_ctx_t *ctx)
{
    uint32_t crc = 0;
    for (uint32_t id = 0; id < RC_TENSOR_COUNT; id++) {
        uint32_t bytes = 0;
        const uint8_t *tensor = rc_tensor(ctx, id, &bytes);
        crc = tensor != 0 ? rc_crc32(crc, tensor, bytes) : crc;
    }
    return crc;
}

int main(int argc, char **argv)
{
    uint8_t *image = aligned(image_memory), *arena = aligned(arena_memory), tokens[MOST_TOKENS];
    FILE *file = argc == 2 ? fopen(argv[1], "rb") : 0;
    if (file == 0) {
        return 2;
    }
    const uint32_t bytes = (uint32_t)fread(image, 1, MOST_IMAGE, file);
    fclose(file);
    for (uint32_t i = 0; i < rc_info.seq_len && i < MOST_TOKENS; i++) {
        tokens[i] = (uint8_t)(i * 7u % rc_info.vocab);
    }
    rc_ctx_t ctx;
    rc_status_t status = rc_open(&ctx, image, bytes, arena, MOST_ARENA, 0);
    if (status == RC_OK) {
        status = rc_begin(&ctx, tokens, 0u);
    }
    for (uint32_t step = 0; status == RC_OK && step < rc_info.steps; step++) {
        status = rc_step(&ctx);
        printf("%08lx\n", (unsigned long)crc_of_all(&ctx));
    }
    printf("%s\n", rc_status_text(status));
    return status == RC_OK ? 0 : 1;
}
