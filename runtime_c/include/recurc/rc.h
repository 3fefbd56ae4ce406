/* SPDX-License-Identifier: Apache-2.0 */
/* The compiled model as the rest of the firmware, the wire server and the host engine see it.
 * The functions are in the generated model.c; this header is the same for every model. */
#ifndef RECURC_RC_H
#define RECURC_RC_H

#include <stdint.h>

#include "recurc/rc_status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Tensors that can be read back. Element types: f32 but for the two token rows (u8, one byte a cell) and the carry,
 * which is f32, f16 or i8 as rc_info.carry says. */
typedef enum {
    RC_TENSOR_Z_H = 0,     /* carry [rows][hidden] */
    RC_TENSOR_Z_L = 1,     /* carry [rows][hidden] */
    RC_TENSOR_LOGITS = 2,  /* [seq_len][vocab] f32, of the last supervision step run */
    RC_TENSOR_Q = 3,       /* [2] f32: halt, continue */
    RC_TENSOR_TOKENS = 4,  /* predicted tokens [seq_len] u8 */
    RC_TENSOR_INPUT = 5,   /* input tokens [seq_len] u8 */
    RC_TENSOR_H_SCALE = 6, /* int8 carry: scales of z_H's rows, [rows] f32 */
    RC_TENSOR_L_SCALE = 7, /* int8 carry: scales of z_L's rows, [rows] f32 */
    RC_TENSOR_COLUMNS = 8, /* int8 carry, within a step: scales of the channels, [hidden] f32, of the tensor that the
                            * last op has left with them; there is none else */
    RC_TENSOR_ANSWER = 9,  /* answer of the last SOLVE, [seq_len] u8: the server's, rc_tensor has none */
    RC_TENSOR_COUNT = 10
} rc_tensor_id_t;

/* The version of this interface: it changes when a program that used the older one must be changed. */
#define RC_API_VERSION 1u

/* Forms of a puzzle that has a row for each, see rc_solve.h: what leads a grid from one to another. */
typedef struct rc_grids rc_grids_t;

/* Constants of the compiled model. */
typedef struct {
    uint32_t api;                          /* RC_API_VERSION that the model was compiled with: the header's own? */
    uint32_t seq_len, vocab, rows, hidden; /* rows = seq_len + puzzle rows */
    uint32_t puzzles;                      /* rows of the puzzle table; 0: the model has none */
    uint32_t steps, h_cycles, l_cycles;    /* trained or overridden depth */
    uint32_t arena_bytes, image_bytes;
    uint32_t halt_rule;   /* 0: q_halt > threshold; 1: q_halt - q_continue > threshold */
    uint32_t carry;       /* how z_H and z_L are stored: 0 f32, 1 f16, 2 i8 with a scale a row */
    uint32_t table_dtype; /* streamed puzzle table: 0 none (or in the image), 1 f32 rows, 2 i8 rows */
    uint32_t table_rows, record_bytes;
    uint32_t ops;            /* of a supervision step: every op of every block call, then the heads */
    uint32_t forms;          /* of a puzzle, that it can be asked again in; 0: none */
    uint32_t forms_offset;   /* where they lie in the image, see rc_solve.h */
    uint32_t restarts;       /* runs after the first that may have noise; 0: the model was built without */
    uint32_t key_offset;     /* where the image has the key of the streamed table that belongs to it, 16 bytes */
    uint32_t known_steps;    /* that the known answer has room for, see rc_known.h */
    uint32_t known_offset;   /* where the image has it */
    const rc_grids_t *grids; /* forms have rows of their own; null: they are the same for every puzzle */
    const char *name;        /* model, precision; for people */
} rc_info_t;

extern const rc_info_t rc_info;

/* The weights image where it is linked in as generated (weights.S, or as a C array): rc_info.image_bytes bytes. */
extern const uint8_t rc_image_start[];

static inline const uint8_t *rc_weights(void)
{
    return rc_image_start;
}

/* Called again and again while the model works: every RC_HOOK_MACS multiply-adds, and every 4096 bytes of an image that is
 * checked. Feed a watchdog, show progress, let another task run; 0 to go on. Anything else cancels: the call under way
 * returns RC_ERR_CANCELLED, and the puzzle has ended. It may call rc_cancel and rc_tensor; what else it calls of this context
 * while a puzzle is worked on returns RC_ERR_STATE, but for rc_open, which takes a context as bare memory: not to be called
 * there. */
typedef uint32_t (*rc_hook_t)(void *user);

/* What rc_open can be told; all of it may be 0. */
typedef struct {
    uint32_t flags; /* RC_OPEN_... */
    rc_hook_t hook; /* null: none */
    void *user;     /* what it is called with */
} rc_options_t;

/* The image's bytes are taken as they are: its header and its table of sections are checked, the checksums of the sections
 * are not computed. For a wake-up with memory that an earlier rc_open has found good. */
#define RC_OPEN_UNCHECKED 1u

#define RC_BEGUN 2u /* the carry holds a puzzle */

/* One instance. The caller owns the memory; fields are private to model.c. Zeros, as static memory has, are a
 * context that is not open: calls return RC_ERR_STATE, or nothing. Other memory is no context until rc_open was called. */
typedef struct {
    const uint8_t *image;
    uint8_t *arena;
    uint8_t *answers;        /* how the runs of a puzzle have ended, a row of [seq_len] each; null: there is but one */
    uint32_t step;           /* supervision steps run since rc_begin */
    uint32_t state;          /* 0 closed, 1 open, RC_BEGUN */
    uint32_t puzzle;         /* row of the puzzle table */
    const float *puzzle_row; /* that row, as it is added */
    const uint8_t *table;    /* memory-mapped table; null: rows are given with rc_row */
    uint32_t row_index, row_got, row_ready;
    uint32_t op;              /* ops of the step under way that have been run; 0: between steps */
    uint32_t op_next, op_end; /* of the schedule: the op that it comes to, and the one before which it stops */
    uint32_t columns;         /* the last op has left its tensor with a scale a channel */
    uint32_t finite;          /* no row that is not finite has been stored since rc_begin; of fp16 carries only */
    uint32_t same;            /* steps in a row, up to the last one, that have left all predicted tokens as they were */
    uint32_t spent;           /* multiply-adds since the hook was called */
    volatile uint32_t cancelled;
    uint32_t busy;  /* rc_ops is at work: what the hook calls of this context is refused */
    uint32_t again; /* a puzzle is begun in another form: it stays cancelled if it is */
    uint32_t epoch; /* how often a puzzle was begun */
    rc_options_t options;
} rc_ctx_t;

/* Check the image (magic, version, flags, sizes, every CRC; its architecture must be the one that was compiled, its
 * weights may be any) and take the arena (rc_info.arena_bytes bytes at a multiple of RC_ARENA_ALIGN; it needs no
 * initialisation). `options` may be null, and is copied. A context that was open is closed first, whatever comes. RC_ERR_ARGUMENT: null, or flags that there are not; RC_ERR_CANCELLED: the hook did. RC_ERR_SELFTEST: floats are rounded otherwise than IEEE 754 has it, by flags or
 * by a mode of the FPU: results would be others. */
rc_status_t rc_open(rc_ctx_t *ctx, const uint8_t *image, uint32_t image_size, uint8_t *arena, uint32_t arena_size,
                    const rc_options_t *options);

/* Check the image as rc_open does, then compute the sha256 of its bytes. RC_ERR_IMAGE_HASH: it is not the one that
 * the header tells, whatever the checksums say. Needs no context and no arena; 42 instructions a byte on a Cortex-M. `options` may be
 * null; its hook is called as by rc_open. */
rc_status_t rc_prove(const uint8_t *image, uint32_t image_size, const rc_options_t *options);

/* A streamed puzzle table that lies in memory (a mapped file or external flash): its header is checked here, each row
 * when it is used. RC_ERR_TABLE: not this model's table, or the model streams none. */
rc_status_t rc_table(rc_ctx_t *ctx, const uint8_t *table, uint32_t bytes);

/* Take `n` bytes of the record of puzzle `index`, beginning at `offset`; with its last byte the record is checked and
 * becomes the puzzle's row. Offset 0 starts anew and the row held before is gone; a piece may come twice, but none may
 * be left out. The puzzle under way has ended: rc_begin comes next.
 * RC_ERR_ARGUMENT: no bytes, or some beyond the record's end; RC_ERR_PUZZLE: no such index; with both nothing changes.
 * RC_ERR_ROW: a piece is missing, or the record is corrupt or of another model; no row is held then. */
rc_status_t rc_row(rc_ctx_t *ctx, uint32_t index, uint32_t offset, const uint8_t *data, uint32_t n);

/* Run the puzzle whose answer the image knows, and compare: flags that change results, and memory that fails, are found.
 * `steps` 0: the first ops of the first step only, those of every kind; else so many steps, at most all that are stored.
 * The puzzle under way has ended. RC_ERR_SELFTEST: something differs. RC_ERR_IMAGE_SECTION: the image knows no answer.
 * With a streamed table as rc_begin: rc_known (rc_known.h) tells which puzzle's row has to be there. */
rc_status_t rc_selftest(rc_ctx_t *ctx, uint32_t steps);

/* Load a puzzle (tokens[seq_len], one byte a cell) and set the carry to its initial value. With a streamed table:
 * RC_ERR_ROW unless the puzzle's row is there (or, memory-mapped, is good); the puzzle under way has ended then. With
 * RC_ERR_TOKEN and RC_ERR_PUZZLE nothing changes. */
rc_status_t rc_begin(rc_ctx_t *ctx, const uint8_t *tokens, uint32_t puzzle);

/* Run one supervision step: H x (L x low-level call, high-level call), then the heads. RC_ERR_STEPS: rc_info.steps
 * have been run, and nothing is; RC_ERR_NUMBER: the step left something that is not a finite number, and the puzzle has
 * ended; RC_ERR_CANCELLED: the hook or rc_cancel ended it. */
rc_status_t rc_step(rc_ctx_t *ctx);

/* Go on with the supervision step under way until `ops` of its ops are done, 0 .. rc_info.ops; the last one are
 * the heads, and with them the step has ended. In between the carry can be looked at as the op has left it.
 * RC_ERR_ARGUMENT: there are not so many, or more have been run already; else as rc_step. */
rc_status_t rc_ops(rc_ctx_t *ctx, uint32_t ops);

/* What op `op` of a step is, counted from 0, for people: rc_ops(ctx, op + 1) runs it after those before it. Its kind, its
 * weights and the state that it changes, such as "channel_mix L_level.layers.0.mlp on z_L"; ops of one name do the same work.
 * Null from rc_info.ops on. The names are an object of their own: a program that does not ask for them has none. */
const char *rc_op_name(uint32_t op);

/* Where noise is added. */
enum {
    RC_NOISE_AT_START = 0u, /* to all states as they start: before the first step of a run */
    RC_NOISE_AT_STEP = 1u   /* to the state that the heads read, before each step */
};

/* Add to the carry the noise that run `run` has before the step that comes next: normal numbers times `sigma`, of a seed (SPEC.md,
 * section "Noise"). RC_ERR_STATE: no puzzle, or within a step. RC_ERR_ARGUMENT: sigma is negative or not finite, there is no such
 * place, or the model was built without noise. RC_ERR_CANCELLED: the hook is called meanwhile, and may say so. Where an element is
 * no finite number then, the step ends with RC_ERR_NUMBER. */
rc_status_t rc_noise(rc_ctx_t *ctx, uint32_t at, float sigma, uint32_t seed, uint32_t run);

/* End the puzzle under way: the call that works on it, or else the next one that would, returns RC_ERR_CANCELLED. From any
 * task, or an interrupt. */
void rc_cancel(rc_ctx_t *ctx);

/* Address and size in bytes of a tensor; null when there is none of that id, or no puzzle under way. Logits, q and tokens
 * are of the last step, all 0 before the first; within a step there are no logits. In the hook the carry is as the work has
 * left it so far. */
const uint8_t *rc_tensor(const rc_ctx_t *ctx, uint32_t id, uint32_t *bytes);

/* The halting margin of the last step: what a threshold is compared with (rc_info.halt_rule). Of a model that has
 * run none since rc_begin: 0. */
float rc_margin(const rc_ctx_t *ctx);

/* 1 when the model halts after the last step: the margin is above the threshold, and the predicted tokens have stayed the
 * same for `patience` steps. */
uint32_t rc_halts(const rc_ctx_t *ctx, float threshold, uint32_t patience);

#ifdef __cplusplus
}
#endif

#endif
