/* SPDX-License-Identifier: Apache-2.0 */
/* A control task that runs every millisecond and uses floating point, and a model that gets the time in between: op by op,
 * with a deadline, and cancelled by the control task. The scheduler is as small as one can be: SysTick makes the control task
 * ready, PendSV switches stacks. With an RTOS the model's task looks just the same. */
#include <stdio.h>

#include "../common/puzzle.h"
#include "../common/sudoku_text.h"

#define SYST_CSR (*(volatile uint32_t *)0xE000E010u)
#define SYST_RVR (*(volatile uint32_t *)0xE000E014u)
#define ICSR     (*(volatile uint32_t *)0xE000ED04u)
#define SHPR3    (*(volatile uint32_t *)0xE000ED20u)
#define PENDSV   (1u << 28)
#define TICK     25000u /* clock cycles: 1 ms */

enum { CONTROL, MODEL };

static uint32_t control_stack[512] __attribute__((aligned(8)));
static uint32_t model_stack[2048] __attribute__((aligned(8)));
static uint32_t *stacks[2];
static volatile uint32_t running = MODEL, due, ticks, cancel_at;

static uint8_t arena[SUDOKU_ARENA_BYTES] __attribute__((aligned(SUDOKU_ARENA_ALIGN)));
static sudoku_ctx_t model;
static float angle = 1.0f;

/* -- the scheduler ------------------------------------------------------------------------------------------------------ */

void systick(void);
void pendsv(void);
uint32_t *next_stack(uint32_t *now);

void systick(void)
{
    ticks++;
    due = 1u;
    ICSR = PENDSV;
}

__attribute__((used)) uint32_t *next_stack(uint32_t *now)
{
    stacks[running] = now;
    running = due != 0u ? CONTROL : MODEL;
    return stacks[running];
}

__attribute__((naked)) void pendsv(void)
{
    __asm__ volatile("mrs r0, psp\n"
                     "tst lr, #0x10\n" /* the task has used floating point: the core has kept s0 to s15 */
                     "it eq\n"
                     "vstmdbeq r0!, {s16-s31}\n"
                     "stmdb r0!, {r4-r11, lr}\n"
                     "bl next_stack\n"
                     "ldmia r0!, {r4-r11, lr}\n"
                     "tst lr, #0x10\n"
                     "it eq\n"
                     "vldmiaeq r0!, {s16-s31}\n"
                     "msr psp, r0\n"
                     "bx lr\n");
}

/* -- the control task: turns a point a little further each millisecond ------------------------------------------------------ */

static void control(void)
{
    for (;;) {
        angle = angle * 0.9990234375f + 0.5f;
        if (cancel_at != 0u && ticks >= cancel_at) {
            cancel_at = 0u;
            sudoku_cancel(&model);
        }
        due = 0u;
        ICSR = PENDSV;
        __asm__ volatile("dsb\n\tisb" ::: "memory");
    }
}

/* -- the model's task --------------------------------------------------------------------------------------------------- */

static uint32_t deadline;

static uint32_t in_time(void *user)
{
    (void)user;
    return deadline != 0u && ticks >= deadline;
}

/* One supervision step, an op at a time: between two of them the task could wait for anything else. */
static sudoku_status_t step_by_ops(void)
{
    sudoku_status_t status = SUDOKU_OK;
    for (uint32_t op = 1; op <= SUDOKU_OPS && status == SUDOKU_OK; op++) {
        status = sudoku_ops(&model, op);
    }
    return status;
}

static void show(const char *what)
{
    uint32_t bytes = 0;
    const uint8_t *tokens = sudoku_tensor(&model, SUDOKU_TENSOR_TOKENS, &bytes);
    printf("%s ", what);
    for (uint32_t i = 0; i < bytes; i++) {
        putchar(digit_of(tokens[i]));
    }
    putchar('\n');
}

static int work(void)
{
    const sudoku_options_t options = {0u, in_time, 0};
    uint8_t puzzle[SUDOKU_SEQ_LEN];
    tokens_of(PUZZLE, puzzle, SUDOKU_SEQ_LEN);
    if (sudoku_open(&model, sudoku_weights(), SUDOKU_IMAGE_BYTES, arena, sizeof arena, &options) != SUDOKU_OK) {
        return 1;
    }

    (void)sudoku_begin(&model, puzzle, 0u);
    const uint32_t from = ticks;
    for (uint32_t step = 0; step < 2u; step++) {
        if (step_by_ops() != SUDOKU_OK) {
            return 2;
        }
    }
    show("by ops  ");
    const uint32_t took = ticks - from;

    (void)sudoku_begin(&model, puzzle, 0u);
    deadline = ticks + took / 4u + 1u;
    sudoku_status_t status = SUDOKU_OK;
    for (uint32_t step = 0; step < 2u && status == SUDOKU_OK; step++) {
        status = sudoku_step(&model);
    }
    printf("deadline %s, %s\n", sudoku_status_text(status), ticks - deadline < 8u ? "in time" : "late");
    deadline = 0u;

    (void)sudoku_begin(&model, puzzle, 0u);
    cancel_at = ticks + took / 4u + 1u;
    status = SUDOKU_OK;
    for (uint32_t step = 0; step < 2u && status == SUDOKU_OK; step++) {
        status = sudoku_step(&model);
    }
    printf("cancel   %s\n", sudoku_status_text(status));

    (void)sudoku_begin(&model, puzzle, 0u);
    (void)sudoku_step(&model);
    (void)sudoku_step(&model);
    show("at once ");
    printf("control  ran %s\n", ticks > 10u && angle > 1.0f ? "all the time" : "too seldom");
    return 0;
}

int main(void)
{
    /* The control task begins in `control`, with the frame that an exception leaves. */
    uint32_t *sp = control_stack + 512;
    *--sp = 1u << 24;
    *--sp = (uint32_t)(uintptr_t)control;
    for (uint32_t i = 0; i < 6u; i++) {
        *--sp = 0u;
    }
    *--sp = 0xFFFFFFFDu;
    for (uint32_t i = 0; i < 8u; i++) {
        *--sp = 0u;
    }
    stacks[CONTROL] = sp;

    SHPR3 |= 0xFFu << 16 | 0x40u << 24; /* PendSV below all others */
    SYST_RVR = TICK - 1u;
    SYST_CSR = 7u;
    /* From here on this is the model's task, on a stack of its own. */
    int status;
    __asm__ volatile("msr psp, %1\n\tmov r4, #2\n\tmsr control, r4\n\tisb\n\tbl work_entry\n\tmov r4, #0\n\tmsr "
                     "control, r4\n\tisb\n\tmov %0, r0"
                     : "=r"(status)
                     : "r"(model_stack + 2048)
                     : "r0", "r1", "r2", "r3", "r4", "r12", "lr", "cc", "memory");
    SYST_CSR = 0u;
    return status;
}

int work_entry(void);
__attribute__((used)) int work_entry(void)
{
    return work();
}
