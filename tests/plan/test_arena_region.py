"""Which region the arena gets: the fastest that holds it, without tiles that cost more than the region gains."""

from __future__ import annotations

from dataclasses import replace

import pytest

from recurc.plan.kernels import choose_kernels
from recurc.plan.layout import comfortable_scratch, make_layout
from recurc.plan.planner import make_plan
from recurc.storage import INT4
from recurc.targets.boards import list_boards, load_board
from tests.plan.programs import program
from tests.plan.sizes import with_sizes

SMALL = program(seq=36, hidden=128, ndim=128)
BOARDS = [b.name for b in list_boards() if b.kind != "host"]


def layouts(model, board):
    """(smallest arena, the one with comfortable tiles), bytes."""
    kernels = choose_kernels(board.features)
    comfortable = comfortable_scratch(model, INT4, kernels)
    return tuple(make_layout(model, INT4, kernels, scratch).arena_bytes for scratch in (0, comfortable))


@pytest.mark.parametrize("name", ["nucleo-h743", "stm32h7", "portenta-h7", "imxrt1064", "teensy41", "apollo510"])
def test_a_small_arena_lies_in_tightly_coupled_memory(name):
    plan = make_plan(SMALL, INT4, load_board(name))
    assert plan.fits and plan.placement["arena"] == "dtcm"


@pytest.mark.parametrize("name", BOARDS)
def test_memory_without_waits_comes_first(name):
    """Of the regions on the chip that a board has for the arena, those without wait states are asked before the others."""
    regions = [r for r in load_board(name).candidates("arena") if r.kind == "ram"]
    quick = [r for r in load_board(name).regions if r.wait_states == 0 and r.kind == "ram" and r.name != "itcm"]
    assert not quick or regions[: len(quick)] == quick


def test_variables_and_stack_make_way_for_an_arena_that_fills_the_fast_region():
    """As the bundled 9x9 model's, 126,400 bytes of 131,072 on an STM32H743."""
    board = load_board("stm32h7")
    _, wanted = layouts(SMALL, board)
    tight = with_sizes(board, dtcm=wanted + 64)
    plan = make_plan(SMALL, INT4, tight)
    assert plan.fits and plan.layout.arena_bytes == wanted
    assert (plan.placement["arena"], plan.placement["data"], plan.placement["stack"]) == ("dtcm", "axisram", "axisram")
    roomy = make_plan(SMALL, INT4, with_sizes(board, dtcm=wanted + (16 << 10)))
    assert {roomy.placement[part] for part in ("arena", "data", "stack")} == {"dtcm"}
    again = make_plan(SMALL, INT4, tight, layout=plan.layout)  # as after compiling
    assert again.placement == plan.placement


def test_they_stay_where_it_would_not_help():
    board = load_board("stm32h7")
    _, wanted = layouts(SMALL, board)
    plan = make_plan(SMALL, INT4, with_sizes(board, dtcm=wanted - 64))
    assert plan.fits and (plan.placement["data"], plan.placement["stack"]) == ("dtcm", "dtcm")


def test_small_tiles_are_no_price_for_a_faster_region_of_the_same_kind():
    board = load_board("stm32h7")
    smallest, wanted = layouts(SMALL, board)
    assert wanted - smallest > 8192
    plan = make_plan(SMALL, INT4, with_sizes(board, dtcm=smallest + 4096 + 9000))
    assert plan.placement["arena"] == "axisram" and plan.layout.arena_bytes == wanted


def test_but_for_memory_on_the_chip_they_are():
    """External RAM is slower by more than that."""
    board = load_board("soc-8mb")
    smallest, wanted = layouts(SMALL, board)
    inside = next(r for r in board.candidates("arena") if r.kind == "ram")
    tight = with_sizes(board, **{inside.name: smallest + 20_000})
    tight = replace(tight, placement={**tight.placement, "arena": (inside.name, *tight.placement["arena"][-1:])})
    plan = make_plan(SMALL, INT4, tight)
    assert plan.placement["arena"] == inside.name and plan.layout.arena_bytes < wanted
