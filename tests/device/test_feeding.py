"""The watchdog is fed all through a step, the heads included: the longest time without is a small part of it."""

from __future__ import annotations

import pytest

from recurc.quant.model import quantize_model
from recurc.quant.weights import precision_named
from recurc.targets.boards import load_board
from recurc.verify.device import connect
from tests.codegen.builder import emulated_firmware
from tests.device.runs import run_all
from tests.randmodels import random_inputs, random_reasoner
from tests.tools import need

# Ticks of a step and its longest stretch without feeding, told as "ticks" and "stack used".
SPY = """
#include "recurc/rc.h"
#include "recurc/rc_port.h"
void __real_rc_port_watchdog_feed(void);
void __wrap_rc_port_watchdog_feed(void);
rc_status_t __real_rc_step(rc_ctx_t *ctx);
rc_status_t __wrap_rc_step(rc_ctx_t *ctx);
uint32_t __wrap_rc_port_stack_used(void);
uint32_t __wrap_rc_port_stack_size(void);
static uint64_t last;
static uint32_t inside, longest;
static void look(void)
{
    const uint64_t now = rc_port_ticks();
    if (inside != 0u && now - last > longest) {
        longest = (uint32_t)(now - last);
    }
    last = now;
}
void __wrap_rc_port_watchdog_feed(void)
{
    look();
    __real_rc_port_watchdog_feed();
}
rc_status_t __wrap_rc_step(rc_ctx_t *ctx)
{
    look();
    inside = 1u;
    const rc_status_t status = __real_rc_step(ctx);
    look();
    inside = 0u;
    return status;
}
uint32_t __wrap_rc_port_stack_used(void)
{
    return longest;
}
uint32_t __wrap_rc_port_stack_size(void)
{
    return 0u; /* unknown: what is told as used need not fit */
}
"""
_NAMES = ("rc_port_watchdog_feed", "rc_step", "rc_port_stack_used", "rc_port_stack_size")
WRAPPED = tuple(f"-Wl,--wrap={name}" for name in _NAMES)


@pytest.mark.parametrize("mixer, carry", [("mlp_t", "fp16"), ("attention", "int8")])
def test_no_part_of_a_step_starves_it(mixer, carry, tmp_path):
    need("mps2-an500")
    board = load_board("mps2-an500")
    pos = "none" if mixer == "mlp_t" else "rope"
    # Most of its time goes to the heads: many cells and words, one short block.
    reasoner = random_reasoner(mixer, pos=pos, seq=48, vocab=250, hidden=16, heads=2, ndim=16, layers=1, cycles=(1, 1), steps=1,
                               expansion=0.1)  # fmt: skip
    model = quantize_model(reasoner, precision_named("int8"), carry=carry)
    (tmp_path / "spy.c").write_text(SPY)
    elf = emulated_firmware(tmp_path, board, model, 3_000, [tmp_path / "spy.c"], (*WRAPPED, "-DRC_HOOK_MACS=5000u"))
    inputs, ids = random_inputs(reasoner, 1)
    with connect(board, elf, "qemu", step_timeout=60) as session:
        session.load(inputs[0])
        _, result = run_all(session, 1, puzzle=int(ids[0]))
    assert 0 < result.stack_used < result.ticks / 12, (result.stack_used, result.ticks)
