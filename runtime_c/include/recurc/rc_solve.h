/* SPDX-License-Identifier: Apache-2.0 */
/* Answering a puzzle: run it, and ask again in other forms while the model is not sure. SPEC.md, section "Solving". */
#ifndef RECURC_SOLVE_H
#define RECURC_SOLVE_H

#include <stdint.h>

#include "recurc/rc.h"
#include "recurc/rc_status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Which answer is believed. */
enum {
    RC_ACCEPT_MARGIN = 0u,    /* that of the first run that halts */
    RC_ACCEPT_AGREEMENT = 1u, /* that of the first run that ends as an earlier one has */
    RC_ACCEPT_VOTE = 2u       /* that with which more than half of all runs end that there may be */
};

#define RC_POLICY_STEPS 255u /* of a run, at most */

/* How long to run and how often to ask again. */
typedef struct {
    uint32_t steps;         /* of the first run, at most: 1 .. rc_info.steps */
    uint32_t restart_steps; /* of each other one, the same */
    uint32_t restarts;      /* at most; there are no more than the image has forms, with noise than rc_info.restarts */
    uint32_t patience;      /* a run halts when its tokens have stayed the same for so many steps, */
    float threshold;        /* and its halting margin is above this finite number */
    uint32_t accept;        /* RC_ACCEPT_... */
    float noise;            /* that all runs but the first have on their carry: its standard deviation; 0: none */
    uint32_t noise_at;      /* RC_NOISE_... (rc.h) */
    uint32_t seed;          /* of the noise */
} rc_policy_t;

/* A policy that needs no tuning, as an initializer: runs of all compiled steps, in all forms that there are, or with the
 * noise that the model was built with; the first one that halts (margin above 0, tokens unchanged) is believed. What it is made of
 * are constants of the model. */
#define RC_POLICY {RC_STEPS, RC_STEPS, RC_RESTARTS, 1u, 0.0f, RC_ACCEPT_MARGIN, RC_NOISE, RC_NOISE_AT, RC_NOISE_SEED}

/* A puzzle under way, or its answer. The caller owns the memory; all fields may be read. */
typedef struct {
    rc_ctx_t *ctx;
    rc_policy_t policy;
    const uint8_t *puzzle; /* [seq_len] as the caller gave it */
    uint32_t puzzle_id;
    uint32_t row;       /* of the puzzle table that this run is asked with: puzzle_id, or that of its form */
    uint32_t forms;     /* that this puzzle is asked in */
    uint32_t run;       /* the run that the last step was of: 0 the puzzle itself, i its i-th form while there is one */
    uint32_t run_steps; /* steps of that run */
    uint32_t ended;     /* it has ended: the next step begins another one */
    uint32_t steps;     /* of all runs */
    uint32_t done;      /* the procedure has ended: the fields below are its answer */
    uint32_t solved;    /* the answer is believed */
    uint32_t answer_run;   /* the run that it is of */
    float margin;          /* after the last step of that run */
    uint32_t votes;        /* runs up to that one, itself counted, that have ended with the same answer */
    const uint8_t *answer; /* [seq_len]; until the model goes on or begins another puzzle */
    uint32_t epoch;        /* of the context, when it began this run */
} rc_solver_t;

/* What leads grids of colours from one form to another where each form has a row of the puzzle table; SPEC.md, section
 * "Form". `rows` are the image's records of that table. All of it returns RC_ERR_IMAGE_SECTION where a record is none. */
struct rc_grids {
    /* How many other forms a puzzle [seq_len] of a row has, `most` at most. */
    rc_status_t (*count)(const uint8_t *rows, const uint8_t *puzzle, uint32_t row, uint32_t most, uint32_t *found);
    /* The row that comes after a row. */
    rc_status_t (*after)(const uint8_t *rows, uint32_t row, uint32_t *next);
    /* Lead tokens [seq_len] in the form of row `from`, whatever they are, to that of row `to`. */
    rc_status_t (*lead)(const uint8_t *rows, uint32_t from, uint32_t to, const uint8_t *tokens, uint8_t *out);
};

extern const rc_grids_t rc_grids;

/* Begin: `puzzle` [seq_len] must stay as it is until the answer is there.
 * RC_ERR_ARGUMENT, RC_ERR_STEPS: the policy is none, or asks for noise where the model was built without, or for more steps
 * of a run than were compiled; nothing changes then. Else as rc_begin. */
rc_status_t rc_solve_begin(rc_solver_t *solver, rc_ctx_t *ctx, const rc_policy_t *policy, const uint8_t *puzzle,
                           uint32_t puzzle_id);

/* Run one supervision step; a run that follows another is begun with its first step. Do so until `done`. Leave the context
 * to it until then: a step of the program's own belongs to the run, and is not counted. To leave a step halfway, let the hook wait.
 * RC_ERR_STATE: it is, or never began, or the context has begun another puzzle since. RC_ERR_NUMBER: as rc_step, the puzzle has ended then.
 * RC_ERR_IMAGE_SECTION: the image's forms are none. */
rc_status_t rc_solve_step(rc_solver_t *solver);

/* Both at once. */
rc_status_t rc_solve(rc_solver_t *solver, rc_ctx_t *ctx, const rc_policy_t *policy, const uint8_t *puzzle,
                     uint32_t puzzle_id);

#ifdef __cplusplus
}
#endif

#endif
