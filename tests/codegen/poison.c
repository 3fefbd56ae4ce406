/* Writes what is not a finite number into the carry of a model between two of its ops, and requires that the step ends as
 * one that has left such a number: this step, or the next one where nothing read it any more. Usage: poison IMAGE. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "recurc/rc.h"
#include "recurc/rc_crc32.h"

#define ALIGN       64u
#define MOST_IMAGE  (1u << 20)
#define MOST_ARENA  (1u << 20)
#define MOST_TOKENS 256u
#define VALUES      4u

static uint8_t image_memory[MOST_IMAGE + ALIGN], arena_memory[MOST_ARENA + ALIGN], tokens[MOST_TOKENS];

static uint8_t *aligned(uint8_t *memory)
{
    return memory + (ALIGN - (uintptr_t)memory % ALIGN) % ALIGN;
}

/* Overwrite one element of a tensor that holds floats or halves. */
static void poison(const rc_ctx_t *ctx, uint32_t id, uint32_t element, uint32_t value)
{
    static const uint16_t halves[VALUES] = {0x7E00u, 0x7C00u, 0xFC00u, 0xFFFFu};
    const float floats[VALUES] = {NAN, INFINITY, -INFINITY, -NAN};
    const uint32_t size = rc_info.carry == 1u ? sizeof halves[0] : sizeof floats[0];
    uint32_t bytes = 0;
    uint8_t *tensor = (uint8_t *)(uintptr_t)rc_tensor(ctx, id, &bytes);
    const void *from = size == 2u ? (const void *)&halves[value] : (const void *)&floats[value];
    memcpy(tensor + element % (bytes / size) * size, from, size);
}

static uint32_t crc_of_all(const rc_ctx_t *ctx)
{
    uint32_t bytes = 0, crc = 0;
    for (uint32_t id = 0; id < RC_TENSOR_COUNT; id++) {
        const uint8_t *tensor = rc_tensor(ctx, id, &bytes);
        crc = tensor != 0 ? rc_crc32(crc, tensor, bytes) : crc;
    }
    return crc;
}

/* Whether the number is told of in this step or the next one; or nothing has read it, as scales of rows where a tensor has
 * those of its channels, and the step is the clean one. */
static int is_found(rc_ctx_t *ctx, uint32_t clean)
{
    const rc_status_t status = rc_step(ctx);
    return status == RC_ERR_NUMBER || (status == RC_OK && (crc_of_all(ctx) == clean || rc_step(ctx) == RC_ERR_NUMBER));
}

static uint32_t clean_crc(rc_ctx_t *ctx)
{
    return rc_begin(ctx, tokens, 0u) == RC_OK && rc_step(ctx) == RC_OK ? crc_of_all(ctx) : 0u;
}

int main(int argc, char **argv)
{
    static const uint32_t of_floats[] = {RC_TENSOR_Z_H, RC_TENSOR_Z_L},
                          of_bytes[] = {RC_TENSOR_H_SCALE, RC_TENSOR_L_SCALE};
    const uint32_t *ids = rc_info.carry == 2u ? of_bytes : of_floats;
    uint8_t *image = aligned(image_memory), *arena = aligned(arena_memory);
    FILE *file = argc == 2 ? fopen(argv[1], "rb") : 0;
    if (file == 0) {
        return 2;
    }
    const uint32_t bytes = (uint32_t)fread(image, 1, MOST_IMAGE, file);
    fclose(file);
    rc_ctx_t ctx;
    if (rc_open(&ctx, image, bytes, arena, MOST_ARENA, 0) != RC_OK) {
        return 3;
    }
    const uint32_t crc = clean_crc(&ctx);
    uint32_t tried = 0, wrong = 0;
    for (uint32_t op = 0; op < rc_info.ops; op++) {
        for (uint32_t i = 0; i < 2u * VALUES; i++, tried++) {
            if (rc_begin(&ctx, tokens, 0u) != RC_OK || rc_ops(&ctx, op) != RC_OK) {
                return 4;
            }
            poison(&ctx, ids[i % 2u], tried * 31u, i / 2u);
            if (!is_found(&ctx, crc)) {
                wrong++;
                printf("after op %lu: value %lu in tensor %lu\n", (unsigned long)op, (unsigned long)(i / 2u),
                       (unsigned long)(i % 2u));
            }
        }
    }
    if (crc == 0u || clean_crc(&ctx) != crc) {
        return 5;
    }
    printf("%lu tried, %lu wrong\n", (unsigned long)tried, (unsigned long)wrong);
    return wrong != 0u;
}
