"""Configuration to program: where its limits lie, to the unit, and the schedule that every engine runs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from recurc.errors import InputError
from recurc.ir.lower import lower
from recurc.ir.lowering import IMAGE_TABLE_BYTES
from recurc.ir.program import Loop, Update
from recurc.ops.attention.op import Attention
from recurc.ops.token_mix.op import TokenMix
from tests.randmodels import random_reasoner


def config(mixer: str = "attention", **changes):
    return replace(random_reasoner(mixer).config, **changes)


def test_a_token_is_one_byte():
    assert lower(config(vocab_size=256)).config.vocab_size == 256
    with pytest.raises(InputError, match="257 tokens") as e:
        lower(config(vocab_size=257))
    assert e.value.where == "vocab_size"


@pytest.mark.parametrize("mixer", ["attention", "mlp_t"])
@pytest.mark.parametrize(
    ("width", "heads", "pos", "good"),
    [(32, 4, "rope", True), (32, 5, "rope", False), (33, 2, "none", False), (20, 4, "rope", False), (20, 4, "learned", True),
     (20, 4, "none", True)],
)  # fmt: skip
def test_heads_divide_the_width_into_even_parts_where_it_is_turned(mixer, width, heads, pos, good):
    c = config(mixer, hidden_size=width, num_heads=heads, pos_encodings=pos, puzzle_emb_ndim=0, puzzle_emb_len=0)
    if good or mixer == "mlp_t":
        assert lower(c).config.head_dim == width // heads
        return
    with pytest.raises(InputError, match="heads do not divide") as e:
        lower(c)
    assert e.value.where == "num_heads"


def test_the_largest_table_that_stays_in_the_image():
    rows = IMAGE_TABLE_BYTES // (4 * 32)
    for count, storage in ((rows, "image"), (rows + 1, "fp32")):
        table = lower(config(num_puzzle_identifiers=count), puzzle_table="auto").tables["puzzles"]
        assert (table.storage, table.rows, table.dim) == (storage, count, 32)
    asked = lower(config(num_puzzle_identifiers=rows + 1), puzzle_table="image").tables["puzzles"]
    assert asked.storage == "image", "asked for is asked for"


def test_the_depth_is_the_trained_one_unless_asked_otherwise():
    c = config(H_cycles=2, L_cycles=3, halt_max_steps=5)
    for asked, depth in (({}, (5, 2, 3)), ({"steps": 7}, (7, 2, 3)), ({"h_cycles": 4}, (5, 4, 3)),
                         ({"l_cycles": 1}, (5, 2, 1))):  # fmt: skip
        program = lower(c, **asked)
        assert tuple(vars(program.depth).values()) == depth
        steps, high, low = program.schedule, program.schedule.body[0], program.schedule.body[0].body[0]
        assert (steps.count, high.count, low.count) == depth


@pytest.mark.parametrize("levels", [0, 1], ids=["trm", "hrm"])
def test_the_schedule(levels):
    """A step is H times { L times z_L += z_H + X, block; z_H += z_L, block }."""
    program = lower(random_reasoner(h_layers=levels).config)
    (h,) = program.schedule.body
    low_loop, high = h.body
    assert isinstance(h, Loop) and isinstance(low_loop, Loop) and isinstance(high, Update)
    (low,) = low_loop.body
    assert (low.state, low.sources, low.block) == ("z_L", ("z_H", "X"), "L_level")
    assert (high.state, high.sources, high.block) == ("z_H", ("z_L",), "H_level" if levels else "L_level")
    assert [block.name for block in program.blocks] == ["L_level", "H_level"][: 1 + levels]


def test_shapes_of_the_layers():
    c = config(hidden_size=32, num_heads=4)
    attention, mix = lower(c).blocks[0].ops[:2]
    assert isinstance(attention, Attention) and attention.rope
    assert (attention.qkv.k, attention.qkv.n, attention.qkv.parts) == (32, 96, 12), "a part a head of q, k and v"
    assert (attention.o.k, attention.o.n) == (32, 32)
    assert (mix.gate_up.k, mix.gate_up.n, mix.gate_up.parts, mix.down.k, mix.down.n) == (32, 2 * c.inter, 2, c.inter, 32)
    token = lower(config("mlp_t")).blocks[0].ops[0]
    assert isinstance(token, TokenMix) and token.gate_up.k == token.down.n == c.rows
    program = lower(config(pos_encodings="learned"))
    assert not program.blocks[0].ops[0].rope and program.tables["positions"].rows == c.rows
    assert (program.lm_head.n, program.q_head.n) == (c.vocab_size, 2)
