"""Placement in a board's real memory: what fits, where, and what is said when it does not."""

from __future__ import annotations

import re
import time
from dataclasses import replace

import pytest

from recurc.codegen.image import build_image
from recurc.errors import DoesNotFitError
from recurc.ir.lower import lower
from recurc.plan.kernels import choose_kernels
from recurc.plan.layout import MAX_SCRATCH
from recurc.plan.planner import CODE_RESERVE, DATA_RESERVE, plan_memory
from recurc.quant.model import quantize_model
from recurc.quant.weights import precision_named
from recurc.targets.boards import load_board
from tests.plan.test_layout import program
from tests.randmodels import random_reasoner
from tests.tools import EMULATED

CARRY = 97 * 512 * 4  # bytes of z_H at paper shape: 81 cells and 16 puzzle rows of 512 features
FLASH = 2 << 20


@pytest.fixture(scope="module")
def paper():
    """The paper's shape, 5.03 M parameters, random weights, int4."""
    r = random_reasoner("mlp_t", seq=81, vocab=11, hidden=512, heads=8, pos="none", ndim=512, plen=16, puzzles=1,
                        cycles=(3, 6), steps=16)
    assert r.parameters == 5_028_866 or 4_900_000 < r.parameters < 5_200_000
    return r


def test_the_papers_shape_fits_an_stm32h7_at_int4(paper):
    board = load_board("stm32h7")
    started = time.process_time()
    model = quantize_model(paper, precision_named("int4"), method="min-max")
    image = build_image(model, choose_kernels(board.features))
    plan = plan_memory(model.program, 4, len(image.data), board)
    assert len(image.data) < 2.75e6
    assert plan.placement == {"code": "flash", "data": "dtcm", "stack": "dtcm", "image": "qspi", "arena": "axisram"}
    assert [b.bytes for b in plan.layout.carry.buffers[:2]] == [CARRY, CARRY]
    assert 2 * CARRY < plan.layout.arena_bytes <= 460 * 1024
    assert plan.kernels.name == "dsp"
    assert time.process_time() - started < 20


@pytest.mark.parametrize(("bits", "image", "region"), [(32, 20_300_000, "qspi"), (8, 17_000_000, "qspi")])
def test_an_image_that_fits_nowhere(bits, image, region):
    with pytest.raises(DoesNotFitError) as e:
        plan_memory(program(), bits, image, load_board("stm32h7"))
    assert e.value.exit_code == 4 and e.value.code == "does-not-fit"
    missing = image - (16 << 20)
    assert f"{missing:,} bytes more in {region}" in str(e.value)
    assert f"{image:,} bytes" in str(e.value) and "int4" in e.value.next


def test_the_papers_shape_at_fp32_is_refused(paper):
    """Weights alone take 20.1 MB; the board has 16 MB of QSPI flash."""
    weights = sum(4 * ref.k * ref.n for ref in lower(paper.config).linears)
    with pytest.raises(DoesNotFitError, match="qspi"):
        plan_memory(lower(paper.config), 32, weights, load_board("stm32h7"))


@pytest.mark.parametrize("hidden", [1024, 2048])
def test_a_carry_that_fits_nowhere(hidden):
    with pytest.raises(DoesNotFitError) as e:
        plan_memory(program(hidden=hidden), 4, 1 << 20, load_board("stm32h7"))
    text = str(e.value)
    assert "axisram" in text and "arena" in text and e.value.exit_code == 4
    said = int(re.search(r"([\d,]+) bytes more", text)[1].replace(",", ""))
    carry = 2 * 97 * hidden * 4
    assert carry - (512 << 10) < said < carry - (512 << 10) + 2 * MAX_SCRATCH
    assert "RAM" in e.value.next


def test_a_small_image_stays_in_internal_flash():
    free = FLASH - CODE_RESERVE
    board = load_board("stm32h7")
    assert plan_memory(program(), 4, free, board).placement["image"] == "flash"
    assert plan_memory(program(), 4, free + 64, board).placement["image"] == "qspi"


@pytest.mark.parametrize("name", [*EMULATED, "stm32h7"])
@pytest.mark.parametrize("mixer", ["mlp_t", "attention"])
def test_no_region_is_overbooked(name, mixer):
    board = load_board(name)
    plan = plan_memory(program(mixer, hidden=128), 4, 300_000, board)
    used: dict[str, int] = {}
    for part in plan.parts:
        assert part.region in [r.name for r in board.candidates(part.name)]
        used[part.region] = used.get(part.region, 0) + part.bytes
    assert all(size <= board.region(region).size for region, size in used.items())
    assert {p.name for p in plan.parts} == {"code", "data", "stack", "image", "arena"}
    sizes = {p.name: p.bytes for p in plan.parts}
    assert (sizes["code"], sizes["data"]) == (CODE_RESERVE, DATA_RESERVE)
    assert (sizes["image"], sizes["arena"]) == (300_000, plan.layout.arena_bytes)
    assert plan.layout.scratch_bytes <= MAX_SCRATCH


def test_tiles_shrink_to_what_the_region_has_left():
    model = program(hidden=624, ndim=624)  # the carry takes 92 % of the board's largest region
    tight, roomy = (plan_memory(model, 4, 1000, load_board(name)) for name in ("stm32h7", "mps2-an500"))
    assert tight.layout.arena_bytes <= load_board("stm32h7").region("axisram").size < roomy.layout.arena_bytes
    assert tight.layout.carry == roomy.layout.carry
    assert 25_000 < tight.layout.scratch_bytes < roomy.layout.scratch_bytes


def test_a_larger_but_slower_region_is_not_preferred():
    """Tiles are cut to the first region that holds the arena at all, not to the largest one."""
    model = program(hidden=624, ndim=624)
    board = load_board("mps2-an500")
    small = replace(board.region("ssram23"), size=520_000)
    regions = tuple(small if r.name == "ssram23" else r for r in board.regions)
    placement = {**board.placement, "data": ("psram",), "stack": ("psram",)}
    tight = plan_memory(model, 4, 1000, replace(board, regions=regions, placement=placement))
    assert tight.placement["arena"] == "ssram23" and tight.layout.arena_bytes <= 520_000
    tiny = tuple(replace(r, size=100_000) if r.name == "ssram23" else r for r in board.regions)
    assert plan_memory(model, 4, 1000, replace(board, regions=tiny, placement=placement)).placement["arena"] == "psram"


def test_a_twin_takes_the_layout_of_its_board():
    plan = plan_memory(program(), 4, 2_600_000, load_board("stm32h7"))
    twin = load_board(load_board("stm32h7").twin)
    other = plan_memory(program(), 4, 2_600_000, twin, plan.kernels, plan.layout)
    assert other.layout is plan.layout and other.kernels is plan.kernels
