"""Placement in a board's real memory: what fits, where, and what is said when it does not."""

from __future__ import annotations

import json
import re
import time
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recurc.errors import DoesNotFitError
from recurc.ir.lowering import CARRIES
from recurc.plan.budget import image_budget
from recurc.plan.layout import MAX_SCRATCH, arena_pieces, comfortable_scratch
from recurc.plan.pieces import KINDS, SectionSize, StackUse, bytes_by_kind, lay_out
from recurc.plan.planner import (
    ESTIMATED_CODE,
    ESTIMATED_CONSTANTS,
    ESTIMATED_DATA,
    LEAST_CODE,
    does_not_fit,
    make_plan,
    with_stack,
)
from recurc.plan.summary import plan_summary
from recurc.storage import FP32, INT4, INT8
from recurc.targets.boards import list_boards, load_board
from tests.plan.fitting import plan_memory
from tests.plan.programs import program
from tests.plan.sizes import DATA, measured, streamed, with_sizes
from tests.tools import EMULATED

CARRY = 97 * 512 * 4  # bytes of z_H at paper shape: 81 cells and 16 puzzle rows of 512 features
PLANNED = [b.name for b in list_boards() if b.family != "host"]


def test_the_papers_shape_fits_an_stm32h7_at_int4():
    plan = plan_memory(program(), INT4, load_board("stm32h7"))
    assert plan.placement == {"code": "flash", "data": "dtcm", "stack": "dtcm", "image": "qspi", "arena": "axisram"}
    assert plan.image_bytes == image_budget(program(), INT4, plan.kernels).total <= 2_620_000
    assert [b.bytes for b in plan.layout.carry.buffers[:2]] == [CARRY, CARRY]
    assert plan.kernels.name == "dsp" and plan.estimated


@pytest.mark.parametrize("carry,limit", [("fp32", 460_000), ("fp16", 260_000), ("int8", 165_000)])
def test_all_ram_of_the_papers_shape_stays_within_its_limit(carry, limit):
    """Arena, variables and stack together, on the Cortex-M7 with a stack of 4 KiB."""
    plan = plan_memory(program(carry=carry), INT4, load_board("stm32h7"), measured=measured())
    assert plan.stack_bytes == 4096
    assert plan.ram_bytes == plan.layout.arena_bytes + DATA + 4096
    assert plan.ram_bytes <= limit


def test_planning_is_quick_for_long_sequences_too():
    """Sequence 916, hidden 512; all precisions and carries on all boards, so that a loaded computer decides nothing."""
    started = time.process_time()
    plans = 0
    for carry in ("fp32", "fp16", "int8"):
        arc = program("attention", seq=900, carry=carry)
        for board in PLANNED[:6]:
            plan_summary(make_plan(arc, INT4, load_board(board)))
            plans += 1
    assert (time.process_time() - started) / plans < 0.5


@pytest.mark.parametrize("name", PLANNED)
@pytest.mark.parametrize("mixer,carry", [("mlp_t", "fp32"), ("attention", "int8")])
def test_sections_are_apart_within_their_regions_and_add_up(name, mixer, carry):
    board = load_board(name)
    plan = make_plan(program(mixer, hidden=128, carry=carry), INT4, board)
    assert plan.fits, plan.missing
    spans = sorted((s.address, s.address + s.bytes, s.region) for s in plan.sections)
    assert all(a[1] <= b[0] for a, b in zip(spans, spans[1:], strict=False))
    for s in plan.sections:
        assert s.region in board.placement[s.part]
        region = board.region(s.region)
        assert region.base <= s.address and s.address + s.bytes <= region.end
    assert {s.part for s in plan.sections} == {"code", "data", "stack", "image", "arena"}
    sizes = {s.name: s.bytes for s in plan.sections}
    assert (sizes[".text"], sizes[".rodata"], sizes[".bss"]) == (ESTIMATED_CODE, ESTIMATED_CONSTANTS, ESTIMATED_DATA)
    assert sizes[".recurc_arena"] == plan.layout.arena_bytes and sizes[".stack"] == board.stack_bytes


@pytest.mark.parametrize("mixer", ["mlp_t", "attention"])
def test_pieces_lie_in_their_sections_and_sums_are_spelled_out(mixer):
    plan = plan_memory(program(mixer, hidden=128), INT4, load_board("mps2-an386"))
    for p in plan.pieces:
        assert p.kind in KINDS and p.bytes > 0 and p.lifetime
        assert any(
            s.region == p.region and s.address <= p.address and p.address + p.bytes <= s.address + s.bytes
            for s in plan.sections
        ), p
    arena = plan.section(".recurc_arena")
    assert [
        (p.name, p.address - arena.address)
        for p in plan.pieces
        if p.region == arena.region and arena.address <= p.address < arena.address + arena.bytes
    ] == [(a.name, a.offset) for a in arena_pieces(plan.layout)]
    summary = plan_summary(plan)
    json.dumps(summary)
    for region in summary["regions"]:
        assert sum(region["parts"].values()) == region["used"] == region["size"] - region["free"]
        assert all(n > 0 for n in region["parts"].values())
        assert region["sum"].endswith(f"= {region['used']:,}")
        assert all(p["offset"] + p["bytes"] <= region["used"] for p in region["pieces"])
    parts: dict[str, int] = {}
    for region in summary["regions"]:
        for kind, size in region["parts"].items():
            parts[kind] = parts.get(kind, 0) + size
    assert parts["weights"] == plan.image.by_kind["weights"] and parts["stack"] == plan.stack_bytes
    assert parts["carry"] == 2 * plan.layout.carry.buffers[0].bytes
    assert (parts.get("kv", 0) > 0) == (mixer == "attention")
    model = summary["model"]
    assert model["macs_per_puzzle"] == model["macs_per_step"] * model["steps"] > model["macs_per_call"] > 0


def test_shared_memory_counts_once():
    from recurc.plan.pieces import Piece

    pieces = [
        Piece("a", "scratch", "ram", 100, 50, ""),
        Piece("b", "kv", "ram", 120, 50, ""),
        Piece("c", "scratch", "ram", 160, 20, ""),
        Piece("d", "io", "ram", 165, 10, ""),
    ]
    counted = bytes_by_kind(pieces)
    assert (counted["kv"], counted["io"], counted["scratch"]) == (50, 5, 25)


# -- what does not fit ------------------------------------------------------------------------------------------------


def test_an_image_that_fits_nowhere():
    board = load_board("stm32h7")
    with pytest.raises(DoesNotFitError) as e:
        plan_memory(program(), FP32, board)
    assert e.value.exit_code == 4 and e.value.code == "does-not-fit"
    image = image_budget(program(), FP32, plan_memory(program(), INT4, board).kernels).total
    missing = image - (16 << 20)
    assert f"{missing:,} bytes more in qspi" in str(e.value)
    assert f"{image:,}" in str(e.value)


@pytest.mark.parametrize("hidden", [1024, 1280])
def test_a_carry_that_fits_nowhere(hidden):
    plan = make_plan(program(hidden=hidden), INT4, load_board("stm32h7"))
    assert not plan.fits and plan.missing[0].region == "axisram" and plan.missing[0].parts == ("arena",)
    text = str(does_not_fit(plan))
    assert "axisram" in text and "arena" in text and "estimated" in text
    said = int(re.search(r"([\d,]+) bytes more", text)[1].replace(",", ""))
    carry = 2 * 97 * hidden * 4
    assert carry - (512 << 10) < said < carry - (512 << 10) + 2 * MAX_SCRATCH
    verdict = plan_summary(plan)["verdict"]
    assert verdict["text"] == f"does not fit: {said:,} bytes more in axisram"
    assert (verdict["fits"], verdict["missing_bytes"], verdict["region"]) == (False, said, "axisram")


def test_exactly_what_is_missing_makes_it_fit():
    board = load_board("stm32h7")
    model = program(hidden=1024)
    missing = make_plan(model, INT4, board).missing[0]
    size = board.region("axisram").size + missing.bytes
    assert make_plan(model, INT4, with_sizes(board, axisram=size)).fits
    assert make_plan(model, INT4, with_sizes(board, axisram=size - 64)).missing[0].bytes <= 64


def test_the_largest_contiguous_region_counts_not_the_total():
    """The H743 has 288 KB in SRAM1-3 beside the 512 KB of AXI SRAM; an arena of 600 KB fits neither."""
    plan = make_plan(program(hidden=720, ndim=720), INT4, load_board("stm32h7"))
    total = sum(r.size for r in load_board("stm32h7").regions if r.kind == "ram")
    assert not plan.fits and plan.layout.arena_bytes < total


def test_a_budget_smaller_than_the_code():
    """Code that is larger than its flash is said in bytes, before and after it is measured."""
    board = with_sizes(load_board("stm32h7"), flash=16 << 10)
    plan = make_plan(program(hidden=64, ndim=64), INT4, board)
    assert not plan.fits and plan.missing[0].region == "flash"
    assert make_plan(program(hidden=64, ndim=64), INT4, board, least=True).fits, "the least code would fit: the link decides"
    assert make_plan(program(hidden=64, ndim=64), INT4, board, measured=measured(code=12_000)).fits
    exact = make_plan(program(hidden=64, ndim=64), INT4, board, measured=measured(code=20_000))
    assert exact.missing[0].bytes == 20_000 + 1900 - (16 << 10) and not exact.estimated
    tiny = with_sizes(load_board("stm32h7"), flash=LEAST_CODE - 256)
    assert not make_plan(program(hidden=64, ndim=64), INT4, tiny, least=True).fits


def test_more_code_than_estimated_is_planned_and_moves_the_image():
    board = load_board("stm32h7")
    flash = board.region("flash").size
    small = program(hidden=256, ndim=256)
    image = image_budget(small, INT4, plan_memory(small, INT4, board).kernels).total
    room = flash - image
    assert make_plan(small, INT4, board, measured=measured(code=room - 4096)).placement["image"] == "flash"
    assert make_plan(small, INT4, board, measured=measured(code=room)).placement["image"] == "qspi"


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    sizes=st.lists(st.integers(1024, 3 << 20).map(lambda n: n // 256 * 256), min_size=4, max_size=4),
    mixer=st.sampled_from(["mlp_t", "attention"]),
    hidden=st.sampled_from([64, 256, 512]),
    form=st.sampled_from([INT4, INT8, FP32]),
    carry=st.sampled_from(CARRIES),
    least=st.booleans(),
)
def test_on_any_memory_a_plan_fits_or_says_what_is_missing(sizes, mixer, hidden, form, carry, least):
    """Regions of any size: nothing overlaps, what fits lies inside, and giving what is missing makes it fit."""
    board = with_sizes(load_board("stm32h7"), **dict(zip(("flash", "dtcm", "axisram", "qspi"), sizes, strict=True)))
    model = program(mixer, hidden=hidden, ndim=hidden, carry=carry)
    plan = make_plan(model, form, board, least=least)
    summary = plan_summary(plan)
    regions = {r.name: r for r in board.regions}
    over = {name: plan.end(name) - r.end for name, r in regions.items() if plan.end(name) > r.end}
    assert over == {m.region: m.bytes for m in plan.missing}
    assert plan.fits == (not over) == summary["verdict"]["fits"]
    for name in regions:
        spans = sorted((s.address, s.address + s.bytes) for s in plan.sections if s.region == name)
        assert all(a[1] <= b[0] for a, b in zip(spans, spans[1:], strict=False))
    for region in summary["regions"]:
        assert sum(region["parts"].values()) == region["used"]
    if not plan.fits:
        larger = {m.region: regions[m.region].size + m.bytes for m in plan.missing}
        assert make_plan(model, form, with_sizes(board, **larger), layout=plan.layout, least=least).fits


# -- choices ----------------------------------------------------------------------------------------------------------


def test_tiles_shrink_to_what_the_region_has_left():
    model = program(hidden=624, ndim=624)  # the carry takes 92 % of the board's largest region
    tight, roomy = (plan_memory(model, INT4, load_board(name)) for name in ("stm32h7", "mps2-an500"))
    assert tight.layout.arena_bytes <= load_board("stm32h7").region("axisram").size < roomy.layout.arena_bytes
    assert tight.layout.carry == roomy.layout.carry
    assert 25_000 < tight.layout.scratch_bytes < roomy.layout.scratch_bytes <= comfortable_scratch(model, INT4, roomy.kernels)


def test_a_larger_but_slower_region_is_not_preferred():
    """Tiles are cut to the first region that holds the arena at all, not to the largest one."""
    model = program(hidden=624, ndim=624)
    board = load_board("mps2-an500")
    placement = {**board.placement, "data": ("psram",), "stack": ("psram",)}
    tight = plan_memory(model, INT4, replace(with_sizes(board, ssram23=520_000), placement=placement))
    assert tight.placement["arena"] == "ssram23" and tight.layout.arena_bytes <= 520_000
    tiny = replace(with_sizes(board, ssram23=100_000), placement=placement)
    assert plan_memory(model, INT4, tiny).placement["arena"] == "psram"


def test_a_twin_takes_the_layout_of_its_board():
    plan = plan_memory(program(), INT4, load_board("stm32h7"))
    twin = load_board(load_board("stm32h7").twin)
    other = plan_memory(program(), INT4, twin, plan.kernels, plan.layout)
    assert other.layout is plan.layout and other.kernels is plan.kernels


def test_addresses_follow_the_linkers_rules():
    board = load_board("mps2-an386")
    regions = {r.name: r for r in board.regions}
    place = {"code": "ssram1", "data": "ssram23", "stack": "ssram23", "image": "ssram1", "arena": "ssram23"}
    sizes = [
        SectionSize(".stack", 4096, 64),
        SectionSize(".text", 1001, 4, gap=256),
        SectionSize(".rodata", 8, 8),
        SectionSize(".data", 24, 8),
        SectionSize(".bss", 4, 4),
        SectionSize(".recurc_arena", 64, 64),
    ]
    found = {s.name: s for s in lay_out(sizes, place, regions)}
    flash, ram = regions["ssram1"].base, regions["ssram23"].base
    assert found[".text"].address == flash + 256 and found[".rodata"].address == flash + 256 + 1008 - 1008 % 8
    assert found[".data"].address == ram + 4096
    assert (found[".data"].load_region, found[".data"].load_address) == ("ssram1", found[".rodata"].address + 8)
    assert found[".bss"].address == ram + 4096 + 24 and found[".recurc_arena"].address == ram + 4096 + 64


# -- stack and tables -------------------------------------------------------------------------------------------------


def test_a_stack_path_deeper_than_the_reserve_does_not_fit():
    plan = plan_memory(program(), INT4, load_board("stm32h7"))
    use = StackUse(plan.stack_bytes, (("main", 100), ("f", 3000)), 112)
    assert with_stack(plan, use).fits
    deep = with_stack(plan, replace(use, worst_bytes=plan.stack_bytes + 8))
    assert not deep.fits and deep.missing[0].bytes == 8
    text = str(does_not_fit(deep))
    assert "8 bytes more in dtcm" in text and "main 100 > f 3000" in text and "stack_bytes" in text
    assert plan_summary(deep)["stack"]["worst"] == plan.stack_bytes + 8


def test_a_streamed_table_lies_behind_the_image_or_comes_over_the_wire():
    model = streamed(program(hidden=128, ndim=128), "fp32", 1000)
    board = load_board("stm32h7")
    plain = replace(board, placement={k: v for k, v in board.placement.items() if k != "table"})
    over_wire = plan_memory(model, INT4, plain)
    assert over_wire.table is None and over_wire.table_bytes == 128 + 1000 * (4 * 128 + 4)
    assert plan_summary(over_wire)["table"]["mode"] == "wire"
    with_flash = replace(board, placement={**board.placement, "table": ("flash", "qspi")})
    placed = plan_memory(model, INT4, with_flash)
    flash = board.region("flash")
    end = max(s.address + s.bytes for s in placed.sections if s.region == "flash")
    assert placed.placement["image"] == "flash" and placed.table.region == "flash"
    assert placed.table.address % 4096 == 0 and end <= placed.table.address < end + 4096
    assert placed.table.address + placed.table.bytes <= flash.end
    region = next(r for r in plan_summary(placed)["regions"] if r["name"] == "flash")
    assert sum(region["parts"].values()) == region["used"] == placed.table.address + placed.table.bytes - flash.base
    large = plan_memory(streamed(model, "fp32", 20_000), INT4, with_flash)
    assert large.table.region == "qspi" and large.table.address == board.region("qspi").base
    assert plan_memory(streamed(model, "int8", 200_000), INT4, with_flash).table is None
    later = make_plan(model, INT4, with_flash, table_not_below=placed.table.address + 8192)
    assert later.table.address == placed.table.address + 8192


@pytest.mark.parametrize("name", EMULATED)
def test_emulated_boards_hold_a_small_model(name):
    assert plan_memory(program(hidden=64, ndim=64), INT4, load_board(name)).fits
