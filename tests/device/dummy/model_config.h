/* Sizes of the stand-in model of the device tests. */
#ifndef MODEL_CONFIG_H
#define MODEL_CONFIG_H
#define RC_SEQ_LEN 16u
#define RC_VOCAB 6u
#define RC_HIDDEN 8u
#define RC_ROWS 17u
#ifdef RC_DUMMY_ARENA
#define RC_ARENA_BYTES RC_DUMMY_ARENA
#else
#define RC_ARENA_BYTES 2048u
#endif
#endif
