/* Sizes of the stand-in model of the device tests. */
#ifndef MODEL_CONFIG_H
#define MODEL_CONFIG_H
#define RC_SEQ_LEN 16u
#define RC_VOCAB   6u
#define RC_HIDDEN  8u
#define RC_ROWS    17u
#ifdef RC_DUMMY_ARENA
#define RC_ARENA_BYTES RC_DUMMY_ARENA
#else
#define RC_ARENA_BYTES 8192u
#endif

#ifndef DUMMY_CARRY
#define DUMMY_CARRY 0 /* stored type of the carry: 0 f32, 1 f16, 2 i8 */
#endif

/* DUMMY_TABLE (1 f32, 2 i8): the model streams rows of RC_PUZZLE_DIM from a table of 3 puzzles; DUMMY_KEY is byte 0 of
 * its key. TABLE_PATH: the table is memory-mapped, else its rows come over the wire. */
#define RC_PUZZLES 3u
#ifndef DUMMY_TABLE
#define DUMMY_TABLE 0
#endif
#ifndef DUMMY_KEY
#define DUMMY_KEY 0x51
#endif
#define RC_PUZZLE_DIM 601u
#if DUMMY_TABLE == 1
#define RC_RECORD_BYTES 2408u
#elif DUMMY_TABLE == 2
#define RC_RECORD_BYTES 612u
#else
#define RC_RECORD_BYTES 0u
#endif
#ifdef TABLE_PATH
#include <stdint.h>
extern const uint8_t rc_dummy_table[];
extern const uint8_t rc_dummy_table_end[];
#define RC_TABLE_ADDRESS rc_dummy_table
#define RC_TABLE_BYTES   ((uint32_t)(rc_dummy_table_end - rc_dummy_table))
#endif
#endif
