"""The arena's layout: no overlaps, alignment, tiles within their budget, the same carry for every kernel set."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recurc.ir.lower import lower
from recurc.ir.lowering import CARRIES
from recurc.ops.attention.op import Attention
from recurc.ops.token_mix.op import TokenMix
from recurc.plan.kernels import KERNEL_SETS, IntKernel, choose_kernels, kernel_set, padded
from recurc.plan.layout import _SIZES, Struct, arena_pieces, comfortable_scratch, make_layout
from recurc.quant.weights import precisions
from recurc.storage import FP32, INT4, INT8
from tests.plan.programs import program
from tests.randmodels import random_reasoner

PROGRAMS = st.builds(
    program,
    mixer=st.sampled_from(["mlp_t", "attention"]),
    seq=st.integers(1, 100),
    hidden=st.sampled_from([8, 16, 40, 72, 128, 512]),
    plen=st.integers(0, 16),
    ndim=st.sampled_from([0, 40, 512]),
    heads=st.sampled_from([1, 2, 4]),
    layers=st.integers(1, 3),
    carry=st.sampled_from(CARRIES),
)


def sound(struct: Struct) -> None:
    """Buffers in order, aligned, apart, and the size is where the next would begin."""
    end = 0
    for b in struct.buffers:
        assert b.count > 0 and b.offset % 16 == 0 and b.offset >= end and b.offset - end < 16
        assert b.bytes == b.count * _SIZES[b.ctype]
        end = b.offset + b.bytes
    assert struct.bytes == -(-end // 16) * 16


@settings(max_examples=80, deadline=None, derandomize=True)
@given(PROGRAMS, st.sampled_from([INT4, INT8, FP32]), st.sampled_from(KERNEL_SETS), st.sampled_from([0, 3000, 20_000, 65_536]))
def test_every_layout_is_sound(program, form, kernels, budget):
    layout = make_layout(program, form, kernels, budget)
    for struct in (layout.carry, layout.heads, *(s.scratch for s in layout.shapes)):
        sound(struct)
    c = program.config
    assert (layout.carry.buffers[0].name, layout.carry.buffers[1].name) == ("z_h", "z_l")
    element = {"fp32": 4, "fp16": 2, "int8": 1}[program.carry]
    assert layout.carry.buffers[0].bytes == layout.carry.buffers[1].bytes == element * c.rows * c.hidden_size
    for shape in layout.shapes:
        rows = c.hidden_size if isinstance(shape.op, TokenMix) else c.rows
        assert shape.rows == rows and 1 <= shape.tile <= rows
        assert shape.scratch.bytes <= budget or shape.tile == 1, "a tile above one row stays within the budget"
    assert layout.heads.bytes <= budget or layout.heads_tile == 1
    assert layout.scratch_bytes == max(layout.heads.bytes, *(s.scratch.bytes for s in layout.shapes))
    total = layout.carry.bytes + layout.scratch_bytes
    assert total <= layout.arena_bytes < total + 64 and layout.arena_bytes % 64 == 0
    pieces = arena_pieces(layout)
    assert max(p.offset + p.bytes for p in pieces) <= layout.arena_bytes
    assert ("kv" in {p.kind for p in pieces}) == (c.mixer == "attention")
    assert len({p.name for p in pieces}) == len(pieces)
    assert [len(block.ops) for block in program.blocks] == [len(s) for s in layout.op_shape]


@settings(max_examples=30, deadline=None, derandomize=True)
@given(PROGRAMS, st.sampled_from([INT4, INT8, FP32]), st.sampled_from(KERNEL_SETS))
def test_more_room_never_gives_smaller_tiles(program, form, kernels):
    small, large = (make_layout(program, form, kernels, budget) for budget in (8_000, 64_000))
    for a, b in zip(small.shapes, large.shapes):
        assert -(-b.rows // b.tile) <= -(-a.rows // a.tile)


def test_layers_of_one_shape_share_code_and_scratch():
    layout = make_layout(program(layers=3), INT4, kernel_set("dsp"), 20_000)
    assert len(layout.shapes) == 2 and layout.op_shape == ((0, 1, 0, 1, 0, 1),)


def test_two_blocks_of_one_shape_share_code_and_scratch():
    small, both = (random_reasoner(layers=2, h_layers=h).config for h in (0, 4))
    one, two = (make_layout(lower(config), INT4, kernel_set("dsp"), 20_000) for config in (small, both))
    assert len(two.shapes) == len(one.shapes) == 2
    assert two.op_shape == ((0, 1) * 2, (0, 1) * 4) and two.arena_bytes == one.arena_bytes


def test_x_is_never_stored():
    """RAM holds z_H, z_L, the outputs and one tile: nothing else of the carry's size."""
    layout = make_layout(program(), INT4, kernel_set("dsp"), 20_000)
    assert layout.arena_bytes < 2 * 198_656 + 20_000 + 8_000


def test_scratch_counts_what_the_templates_use():
    r = random_reasoner(hidden=40, heads=2, ndim=40)
    layout = make_layout(lower(r.config), INT8, kernel_set("dsp"), 6_000)
    attention = next(s for s in layout.shapes if isinstance(s.op, Attention))
    counts = {b.name: b.count for b in attention.scratch.buffers}
    assert "w" not in counts and counts["r8"] == padded(20), "no kernel here unpacks weights"
    assert counts["p"] == counts["p8"] == padded(r.config.rows)
    rows = r.config.rows
    assert counts["k"] == rows * padded(20) and counts["v"] == 20 * padded(rows), "keys and values of one head"
    assert counts["mixed"] == rows * 40 and counts["ma"] == rows * 2


def test_unpacking_kernels_get_room_for_a_tile():
    unpacking = replace(kernel_set("dsp"), ints={INT4: IntKernel("f", "g", "int8_t", scratch=8, scratch_depth=64)})
    w = {b.name: b.bytes for s in make_layout(program(), INT4, unpacking, 20_000).shapes for b in s.scratch.buffers}["w"]
    assert w == 8 * 64


@pytest.mark.parametrize("rows", [2, 4])
def test_tiles_are_whole_passes_of_the_kernel(rows):
    kernels = replace(kernel_set("dsp"), ints={INT4: replace(kernel_set("dsp").ints[INT4], rows=rows)})
    for budget in range(30_000, 60_000, 3_000):
        for shape in make_layout(program(), INT4, kernels, budget).shapes:
            assert shape.tile % rows == 0 or shape.tile == shape.rows or shape.tile < rows, (budget, shape.name, shape.tile)


@pytest.mark.parametrize("carry", CARRIES)
def test_attention_stores_no_score_matrix(carry):
    """S = 916, the ARC and maze shape: the carry twice, mixed values once (int8), keys and values of one head."""
    p = program("attention", seq=900, carry=carry)
    layout = make_layout(p, INT8, kernel_set("dsp"), comfortable_scratch(p, INT8, kernel_set("dsp")))
    s, d = 916, 512
    element = {"fp32": 4, "fp16": 2, "int8": 1}[carry]
    floor = 2 * element * s * d + s * d + 2 * s * 64
    assert floor < layout.arena_bytes < floor + 128 * 1024


@pytest.mark.parametrize(
    ("features", "name"),
    [([], "portable"), (["dsp", "fpu-sp"], "dsp"), (["dsp", "mve"], "mve"), (["host"], "host"), (["fpu-sp"], "portable")],
)
def test_kernels_are_chosen_by_features(features, name):
    assert choose_kernels(features).name == name


def test_kernel_sets_name_files_that_exist():
    from recurc.resources import resource_dir

    kernels = resource_dir("runtime_c") / "kernels"
    header = (kernels.parent / "include" / "recurc" / "rc_kernels.h").read_text()
    for k in KERNEL_SETS:
        assert all((kernels / s).is_file() for s in k.sources), k.name
        stems = {s.split("/")[1].removesuffix(".c") for s in k.sources}
        used = {
            k.f32,
            *(
                name
                for p in precisions().values()
                if (ik := k.of(p.form))
                for name in (ik.tile, ik.quantize, ik.unpack)
                if name
            ),
            *(variant for _, variant in k.variants),
        }
        if k.header:  # through a table, each entry of which has files of its own
            table = (kernels.parent / "include" / k.header).read_text()
            assert all(
                f"*{name.removeprefix('rc_host->')};" in table or f"(*{name.removeprefix('rc_host->')})" in table
                for name in used
            )
            assert all(name in header + table for name in stems)
            continue
        assert used <= stems
        assert all(f"{name}(" in header or f" {name}" in header for name in stems)
    assert KERNEL_SETS[-1].requires == frozenset(), "the last one serves every target"


def test_more_room_is_asked_for_with_scratch():
    """Larger tiles for those who have the RAM, smaller ones for those who need it: the budget is the program's own."""
    kernels = kernel_set("dsp")
    sizes = [
        make_layout(p, INT4, kernels, comfortable_scratch(p, INT4, kernels)).scratch_bytes
        for p in (program(scratch=n) for n in (16 << 10, None, 120 << 10))
    ]
    assert sizes[0] <= 16 << 10 < sizes[1] <= 48 << 10 < sizes[2] <= 120 << 10
