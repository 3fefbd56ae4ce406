"""Changes that would make a model fit are really tried, cheapest first, and what they promise holds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from recurc.arguments import named_as_options
from recurc.errors import DoesNotFitError
from recurc.ir.lower import lower
from recurc.plan.advice import advice_text, cheapest_changes
from recurc.plan.planner import make_plan
from recurc.storage import FP32, GROUPED, INT4, INT8
from recurc.targets.boards import list_boards, load_board
from recurc.targets.fit import alternatives, early_plan, refusal
from tests.plan.programs import program
from tests.plan.sizes import with_sizes


@pytest.fixture(autouse=True)
def on_the_command_line():
    with named_as_options():
        yield


def changes(prog, form, board, boards=()):
    plan = make_plan(prog, form, board)
    assert not plan.fits
    return plan, cheapest_changes(plan, board, boards)


def test_nothing_is_advised_where_it_fits():
    plan = make_plan(program(), INT4, load_board("stm32h7"))
    assert cheapest_changes(plan, load_board("stm32h7"), list_boards()) == ()


def test_fewer_bits_for_an_image_too_large():
    board = load_board("stm32h7")
    plan, found = changes(program(), FP32, board)
    fitting = [c.options for c in found if c.fits]
    assert fitting == [("--precision int8",), ("--precision int4",), ("--precision int3",), ("--precision int2",)]
    assert all(c.saves >= plan.missing[0].bytes for c in found if c.fits)
    assert all(not c.fits and c.missing_bytes > 0 and c.region for c in found if c.options[0].startswith("--carry"))
    ways = (f"with --precision {name}" for name in ("int8", "int4", "int3", "int2"))
    assert advice_text(found) == "Would fit " + ", or ".join(ways)


def test_weights_in_groups_are_not_advised_and_are_advised_about():
    board = with_sizes(load_board("stm32h7"), qspi=2_600_000)
    _, found = changes(program(), GROUPED, board)
    fewer = [c.options for c in found if c.options[0].startswith("--precision")]
    assert fewer == [("--precision int4",), ("--precision int3",), ("--precision int2",)]
    assert not any("g32" in option for c in changes(program(), FP32, board)[1] for option in c.options)


def test_a_smaller_carry_for_too_little_ram():
    """A quarter of the RAM: fp16 is not enough, int8 is; what is promised is what planning it gives."""
    board = with_sizes(load_board("stm32h7"), axisram=200_000)
    plan, found = changes(program(), INT4, board)
    assert [c.options for c in found if c.fits] == [("--carry int8",)]
    fp16 = next(c for c in found if c.options == ("--carry fp16",))
    really = make_plan(program(carry="fp16"), INT4, board)
    assert fp16.missing_bytes == really.missing[0].bytes
    assert fp16.saves == plan.missing[0].bytes - really.missing[0].bytes


def test_a_streamed_table_comes_first():
    config = replace(program(hidden=128, ndim=128).config, num_puzzle_identifiers=40_000)
    plan, found = changes(lower(config, puzzle_table="image"), FP32, load_board("stm32h7"))
    assert plan.missing[0].region == "qspi"
    assert found[0].fits and found[0].options == ("--puzzle-table fp32",)
    assert make_plan(lower(config, puzzle_table="fp32"), FP32, load_board("stm32h7")).fits


def test_combinations_only_when_no_single_change_is_enough():
    board = with_sizes(load_board("stm32h7"), axisram=200_000, qspi=6_000_000)
    _, found = changes(program(), FP32, board)
    fitting = [set(c.options) for c in found if c.fits]
    assert fitting[0] == {"--carry int8", "--precision int8"}
    assert all(len(options) > 1 for options in fitting)


def test_another_board_is_the_smallest_that_fits():
    board = with_sizes(load_board("stm32h7"), axisram=64_000, dtcm=64_000)
    plan = make_plan(program(), INT4, board)
    others = [replace(with_sizes(load_board("stm32h7"), axisram=size), name=f"a{size}") for size in (900_000, 300_000, 600_000)]
    found = cheapest_changes(plan, board, others)
    assert [c.options for c in found if c.fits] == [("--target a600000",)]


def test_boards_that_are_advised_are_parts_one_can_buy():
    names = {b.name for b in alternatives(load_board("stm32h7"))}
    assert "stm32h7" not in names and "host" not in names and not any(n.startswith("mps") for n in names)


def test_a_refusal_says_it_all():
    board = with_sizes(load_board("stm32h7"), axisram=200_000)
    with pytest.raises(DoesNotFitError) as e:
        early_plan(program(), INT4, board)
    error = e.value.as_dict()
    assert "--carry int8" in error["next"] and error["code"] == "does-not-fit"
    verdict = error["plan"]["verdict"]
    assert verdict["changes"][0]["fits"] and verdict["missing_bytes"] > 0
    assert f"{verdict['missing_bytes']:,} bytes more in {verdict['region']}" in error["what"]


def test_only_the_estimate_refuses_nothing():
    board = with_sizes(load_board("stm32h7"), flash=16 << 10)
    assert not make_plan(program(hidden=64, ndim=64), INT4, board).fits
    assert early_plan(program(hidden=64, ndim=64), INT4, board).fits
    plan = make_plan(program(hidden=64, ndim=64), INT4, board)
    assert "flash" in str(refusal(plan, board))


def test_when_nothing_helps_it_says_so():
    board = with_sizes(load_board("stm32h7"), axisram=1024, dtcm=1024)
    _, found = changes(program(), INT4, board)
    assert not any(c.fits for c in found) and "No change" in advice_text(found)


def test_boards_one_can_build_for_come_before_those_that_are_only_described():
    """Sequence 916: int4 on a part that can be built for comes before int8 on one that is only described."""
    board = load_board("stm32h7")
    error = refusal(make_plan(program("attention", seq=900, carry="int8"), INT8, board), board)
    fitting = [c for c in error.summary["verdict"]["changes"] if c["fits"]]
    for change in fitting:
        targets = [o.split()[-1] for o in change["options"] if o.startswith("--target")]
        assert targets and all(load_board(t).linkable for t in targets) and not change["note"]
    plan = make_plan(program("attention", seq=900, carry="int8"), INT8, board)
    described = cheapest_changes(plan, board, [load_board("esp32-s3-n8r8")])
    assert described[0].fits and "written, not compiled here" in described[0].note
    assert described[0].note in advice_text(described)
