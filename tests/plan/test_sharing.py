"""A library's plan: RAM is shared with the program that it is a part of, and weights may lie outside the board's flash."""

from __future__ import annotations

from dataclasses import replace

import pytest

from recurc.ir.lower import lower
from recurc.models.checkpoint import load
from recurc.package.registry import delivered_as
from recurc.plan.cost import estimate
from recurc.plan.planner import make_plan
from recurc.plan.sharing import SLOWER, shared_plan
from recurc.plan.summary import plan_summary
from recurc.quant.weights import precision_named
from recurc.targets.boards import Board, load_board

FORM = precision_named("int4").form
LIBRARY = ("library",)


def program(name="sudoku9-mlp", **knobs):
    return lower(load(name).config, **knobs)


def instructions(plan, board):
    found = estimate(plan_summary(plan)["work"], board, plan.placement["image"])
    return found["instructions"], found["cycles"]


@pytest.mark.parametrize("name", ["stm32h7", "mps2-an500"])
def test_a_smaller_arena_that_costs_at_most_one_percent(name):
    board = load_board(name)
    whole = make_plan(program(), FORM, board)
    shared = shared_plan(whole, board, board)
    assert shared.fits and shared.layout.arena_bytes < 0.9 * whole.layout.arena_bytes
    for slower, fast in zip(instructions(shared, board), instructions(whole, board), strict=True):
        assert slower <= (1 + SLOWER) * fast


def test_what_was_asked_for_stays():
    board = load_board("mps2-an500")
    asked = make_plan(program(scratch=40_000), FORM, board)
    assert shared_plan(asked, board, board) is asked
    unknown = replace(board, core="cortex-m3")
    plan = make_plan(program(), FORM, unknown)
    assert shared_plan(plan, unknown, unknown) is plan


def small_flash() -> Board:
    """A board whose flash has room for code, not for weights."""
    board = load_board("mps2-an500")
    code = board.placement["code"][0]
    return replace(board, regions=tuple(replace(r, size=64 * 1024) if r.name == code else r for r in board.regions),
                   placement={**board.placement, "image": (code,)})  # fmt: skip


def test_weights_that_lie_elsewhere_take_no_room():
    board = small_flash()
    for kept in (delivered_as(board, LIBRARY), delivered_as(board, ("firmware", "library"), "file"),
                 delivered_as(board, LIBRARY, "array")):  # fmt: skip
        assert not make_plan(program(), FORM, kept).fits
    plan = make_plan(program(), FORM, delivered_as(board, LIBRARY, "file"))
    assert plan.fits
    summary = plan_summary(plan)
    apart = next(r for r in summary["regions"] if "weights" in r["parts"])
    assert apart["name"] == "elsewhere" and "your program" in apart["note"] and apart["used"] == plan.image_bytes
    assert sum(r["used"] for r in summary["regions"] if r["name"] == board.placement["code"][0]) < 64 * 1024
    assert delivered_as(load_board("host"), LIBRARY, "file").regions == ()
