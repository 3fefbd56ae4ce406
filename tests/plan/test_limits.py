"""Limits to the byte: what just fits fits, one byte less does not, and the missing byte is told with its place and part."""

from __future__ import annotations

from dataclasses import replace

import pytest

from recurc.errors import DoesNotFitError
from recurc.ir.lower import lower
from recurc.ops.attention.op import Attention
from recurc.plan.kernels import kernel_set
from recurc.plan.layout import (
    MAX_SCRATCH,
    MAX_TILE,
    MIN_TILE,
    Sizing,
    _heads_struct,
    arena_pieces,
    comfortable_scratch,
    make_layout,
    op_struct,
)
from recurc.plan.pieces import Piece, SectionSize, StackUse, bytes_by_kind
from recurc.plan.planner import TABLE_ALIGN, Measured, make_plan, with_stack
from recurc.storage import FP32, INT4, INT8
from recurc.storage.form import forms_of
from recurc.targets.boards import load_board
from tests.plan.fitting import plan_memory
from tests.plan.programs import program
from tests.plan.sizes import measured, streamed, with_sizes

MODEL = program(hidden=64, ndim=64)


def strict(name: str = "stm32h7", **placement):
    """A board each of whose parts has one place only."""
    board = load_board(name)
    one = {"code": "flash", "data": "dtcm", "stack": "dtcm", "image": "qspi", "arena": "axisram", **placement}
    return replace(board, placement={part: (region,) for part, region in one.items()})


@pytest.mark.parametrize(("region", "parts"), [("flash", {"code"}), ("dtcm", {"stack", "data"}), ("qspi", {"image"})])
def test_a_region_of_just_the_size_and_one_of_a_byte_less(region, parts):
    board = strict()
    plan = make_plan(MODEL, INT4, board, measured=measured())
    used = plan.end(region) - board.region(region).base
    assert make_plan(MODEL, INT4, with_sizes(board, **{region: used}), measured=measured()).fits
    short = make_plan(MODEL, INT4, with_sizes(board, **{region: used - 1}), measured=measured())
    assert not short.fits and [(m.region, m.bytes) for m in short.missing] == [(region, 1)]
    assert set(short.missing[0].parts) <= parts and short.missing[0].parts
    with pytest.raises(DoesNotFitError, match=f"1 bytes more in {region}"):
        plan_memory(MODEL, INT4, with_sizes(board, **{region: used - 1}), measured=measured())


def test_the_smallest_arena_just_fits():
    board = strict()
    least = make_layout(MODEL, INT4, make_plan(MODEL, INT4, board).kernels, 0).arena_bytes
    assert make_plan(MODEL, INT4, with_sizes(board, axisram=least)).layout.arena_bytes == least
    assert make_plan(MODEL, INT4, with_sizes(board, axisram=least)).fits
    short = make_plan(MODEL, INT4, with_sizes(board, axisram=least - 1))
    assert [(m.region, m.bytes, m.parts) for m in short.missing] == [("axisram", 1, ("arena",))]
    two = replace(board, placement={**board.placement, "arena": ("axisram", "dtcm")})
    outside = tuple(replace(r, kind="external-ram") if r.name == "dtcm" else r for r in two.regions)
    first = make_plan(MODEL, INT4, with_sizes(replace(two, regions=outside), axisram=least)).placement["arena"]
    assert first == "axisram", "the first that holds it at all"
    assert make_plan(MODEL, INT4, with_sizes(two, axisram=least - 1)).placement["arena"] == "dtcm"


def test_what_lacks_most_is_told_first_with_the_parts_that_found_no_room():
    board = with_sizes(strict(), flash=4096, qspi=64, dtcm=1024)
    plan = make_plan(MODEL, INT4, board, measured=measured())
    lacks = [m.bytes for m in plan.missing]
    assert len(lacks) == 3 and lacks == sorted(lacks, reverse=True)
    by = {m.region: m.parts for m in plan.missing}
    assert by["qspi"] == ("image",) and by["flash"] == ("code",) and set(by["dtcm"]) <= {"stack", "data"}
    text = str(pytest.raises(DoesNotFitError, plan_memory, MODEL, INT4, board, measured=measured()).value)
    assert all(f"{m.bytes:,} bytes more in {m.region}" in text for m in plan.missing)


def test_a_part_without_room_goes_where_it_lacks_least():
    board = strict(data="dtcm", stack="dtcm")
    board = replace(board, placement={**board.placement, "image": ("flash", "qspi")})
    image = make_plan(MODEL, INT4, board).image_bytes
    plan = make_plan(MODEL, INT4, with_sizes(board, flash=24 << 10, qspi=image - 64))
    assert plan.placement["image"] == "qspi" and [(m.region, m.bytes) for m in plan.missing] == [("qspi", 64)]


@pytest.mark.parametrize(("more", "missing"), [(-1, ()), (0, ()), (1, (1,)), (16, (16,)), (17, (17,))])
def test_the_stack_to_the_byte(more, missing):
    plan = plan_memory(MODEL, INT4, load_board("stm32h7"))
    found = with_stack(plan, StackUse(plan.stack_bytes + more, (("main", 8),), 0))
    assert tuple(m.bytes for m in found.missing) == missing and found.fits == (not missing)


def test_ram_is_arena_variables_and_stack():
    board = replace(load_board("stm32h7"), stack_bytes=4001)  # rounded up to what the processor wants
    plan = make_plan(MODEL, INT4, board, measured=measured(data=3300))
    assert plan.section(".stack").bytes == 4016
    assert plan.ram_bytes == 4016 + 3300 + plan.layout.arena_bytes


def test_a_table_that_just_fits_behind_the_image():
    model = streamed(MODEL, "int8", 500)
    board = strict(table="qspi")
    placed = make_plan(model, INT4, board, measured=measured()).table
    assert placed.address % TABLE_ALIGN == 0 and TABLE_ALIGN == 4096, "a page of flash"
    size = placed.address + placed.bytes - board.region("qspi").base
    assert make_plan(model, INT4, with_sizes(board, qspi=size), measured=measured()).table == placed
    assert make_plan(model, INT4, with_sizes(board, qspi=size - 1), measured=measured()).table is None
    plan = make_plan(model, INT4, board, measured=measured())
    assert plan.end("qspi") == placed.address + placed.bytes
    elsewhere = make_plan(model, INT4, board, measured=measured(), table_not_below=board.region("flash").base)
    assert elsewhere.table == placed, "a bound in another region moves nothing"


def test_initial_values_of_variables_take_flash_too():
    sizes = (SectionSize(".text", 12_001, 16), SectionSize(".recurc_image", 0, 64), SectionSize(".rodata", 1901, 8),
             SectionSize(".data", 100, 8), SectionSize(".ARM.exidx", 8, 4), SectionSize(".bss", 33, 8),
             SectionSize(".recurc_arena", 0, 64))  # fmt: skip
    board, linked = strict(), Measured(sizes)
    plan = make_plan(MODEL, INT4, board, measured=linked)
    data, constants = plan.section(".data"), plan.section(".rodata")
    end = constants.address + constants.bytes
    assert data.region == "dtcm" and data.load_region == "flash" and data.load_address == -(-end // 8) * 8 > end
    assert plan.section(".ARM.exidx").address == data.load_address + 100, "what follows in flash lies behind them"
    assert ("initial values of variables", "flash", data.load_address, 100) in [
        (p.name, p.region, p.address, p.bytes) for p in plan.pieces
    ]
    used = plan.end("flash") - board.region("flash").base
    assert used == data.load_address + 108 - board.region("flash").base
    assert make_plan(MODEL, INT4, with_sizes(board, flash=used), measured=linked).fits
    last = Measured(tuple(x for x in sizes if x.name != ".ARM.exidx"))
    assert make_plan(MODEL, INT4, with_sizes(board, flash=used - 8), measured=last).fits
    short = make_plan(MODEL, INT4, with_sizes(board, flash=used - 9), measured=last)
    assert [(m.region, m.bytes) for m in short.missing] == [("flash", 1)]


# -- scratch --------------------------------------------------------------------------------------------------------------


def sizing(p, form, kernels):
    return Sizing(p, forms_of(p, form), kernels)


@pytest.mark.parametrize("mixer", ["mlp_t", "attention"])
@pytest.mark.parametrize("name", ["portable", "dsp", "mve", "rvv"])
@pytest.mark.parametrize("budget", [9_000, 12_345, 20_000, 31_000, 40_001, 50_000])
def test_tiles_are_as_few_as_the_budget_allows(mixer, name, budget):
    p, kernels = program(mixer, hidden=128, ndim=128), kernel_set(name)
    z = sizing(p, INT4, kernels)
    for shape in make_layout(p, INT4, kernels, budget).shapes:

        def size_of(tile, op=shape.op, rows=shape.rows):
            return op_struct(z, op, rows, tile).bytes

        most = max((t for t in range(1, min(shape.rows, MAX_TILE) + 1) if size_of(t) <= budget), default=1)
        assert shape.tile <= most
        step = z.rows(*shape.op.linears)
        if most >= step:  # evened out, and whole passes: no tile more than with the largest, but for what rounding costs
            assert -(-shape.rows // shape.tile) <= -(-shape.rows // max(most // step * step, 1))
        even = -(-shape.rows // -(-shape.rows // most))
        assert shape.tile == even or even % step, "no small rest: the tiles are as alike as whole passes allow"


def test_a_budget_is_used_to_its_last_byte():
    p, kernels = program(hidden=128, ndim=128), kernel_set("dsp")
    z = sizing(p, INT4, kernels)
    op = p.blocks[0].ops[1]
    rows = op.rows(p.config)
    exact = op_struct(z, op, rows, rows).bytes
    assert make_layout(p, INT4, kernels, exact).shapes[1].tile == rows
    assert make_layout(p, INT4, kernels, exact - 1).shapes[1].tile < rows


@pytest.mark.parametrize(("hidden", "own"), [(128, False), (136, True)])
def test_rows_lie_at_the_end_of_h_where_there_is_room_beside_the_inner_rows(hidden, own):
    """Inner rows of 256 take 1,024 bytes; as int16 they come back into half of them, while the fp32 rows are still needed."""
    config = replace(program("attention", hidden=hidden, ndim=hidden, heads=4).config, expansion=1)
    p, kernels = lower(config, carry="fp16"), kernel_set("dsp")
    shape = next(s for s in make_layout(p, INT4, kernels, 20_000).shapes if s.op.kind == "channel_mix")
    assert shape.op.gate_up.part_n == 256 and sizing(p, INT4, kernels).row_bytes(shape.op.down) == 512
    assert shape.has("t") == own


@pytest.mark.parametrize(("carry", "form", "there"), [("int8", FP32, True), ("int8", INT4, False), ("fp32", FP32, False)])
def test_sums_of_rows_have_a_place_of_their_own_only_where_nothing_else_has(carry, form, there):
    for mixer in ("mlp_t", "attention"):
        for shape in make_layout(program(mixer, carry=carry), form, kernel_set("dsp"), 20_000).shapes:
            assert any(b.name == "sums" for b in shape.scratch.buffers) == there


def test_comfortable_scratch_holds_the_heads_and_attentions_own_buffers():
    kernels = kernel_set("dsp")
    assert comfortable_scratch(program(hidden=64, ndim=64), INT4, kernels) == MAX_SCRATCH
    long = program("attention", seq=900, hidden=512)
    op = next(op for op in long.blocks[0].ops if isinstance(op, Attention))
    least = op_struct(sizing(long, INT4, kernels), op, 916, MIN_TILE).bytes
    assert comfortable_scratch(long, INT4, kernels) == least > MAX_SCRATCH
    wide = lower(replace(program("mlp_t", seq=400).config, vocab_size=256))
    heads = _heads_struct(sizing(wide, INT4, kernels), 1).bytes
    assert comfortable_scratch(wide, INT4, kernels) == heads > 400 * 256 * 4
    assert comfortable_scratch(lower(wide.config, scratch=1024), INT4, kernels) == heads
    assert comfortable_scratch(program(hidden=64, ndim=64, scratch=1024), INT4, kernels) < MAX_SCRATCH


def test_a_row_of_the_table_has_room_on_its_way_in():
    p = lower(replace(program(seq=4, hidden=8, plen=250, ndim=2000, layers=1).config, vocab_size=2), puzzle_table="fp32")
    layout = make_layout(p, FP32, kernel_set("dsp"), 0)
    others = max(layout.heads.bytes, *(s.scratch.bytes for s in layout.shapes))
    assert p.puzzle_table.dim * 4 + 8 > others, "or this shows nothing"
    assert layout.scratch_bytes >= p.puzzle_table.dim * 4 + 8


def test_layers_of_one_shape_and_other_widths_have_functions_of_their_own():
    p = program(layers=2)
    names = {ref.name: INT4 for ref in p.linears}
    one = {**names, p.blocks[0].ops[1].gate_up.name: INT8}
    layout = make_layout(p, one, kernel_set("dsp"), 20_000)
    assert layout.op_shape == ((0, 1, 0, 2),)


def test_what_the_arenas_pieces_are():
    p = lower(program("attention").config, carry="int8")
    kinds = {piece.name: piece.kind for piece in arena_pieces(make_layout(p, INT4, kernel_set("dsp"), 20_000))}
    assert {kinds[n] for n in ("z_h", "z_l", "z_h_scale", "z_l_scale")} == {"carry"}
    assert {kinds[n] for n in ("q", "input", "tokens", "heads.logits")} == {"io"}
    assert {kinds[f"attention_0.{n}"] for n in ("k", "v", "mixed", "ka", "va", "ma")} == {"kv"}
    assert kinds["heads.t"] == kinds["attention_0.p"] == kinds["channel_mix_1.h"] == "scratch"


def test_memory_that_is_shared_or_overlaps_counts_once():
    def piece(kind, address, size):
        return Piece("x", kind, "ram", address, size, "")

    found = bytes_by_kind([piece("scratch", 0, 100), piece("scratch", 50, 100), piece("scratch", 10, 20), piece("io", 140, 30),
                           piece("kv", 0, 16), piece("carry", 1000, 8)])  # fmt: skip
    assert (found["kv"], found["io"], found["scratch"], found["carry"]) == (16, 30, 140 - 16, 8)
