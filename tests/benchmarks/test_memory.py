"""The committed page is what our planner gives now, and what it says of the peer was measured for the same shapes."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from benchmarks import memory
from benchmarks.common import table, times
from benchmarks.own_memory import CARRIES, own_figures
from benchmarks.shapes import PLANNED, SUBJECTS
from recurc.emit.image import build_image
from recurc.ir.lower import lower
from recurc.models.reasoner import ReasonerConfig
from recurc.plan.kernels import choose_kernels
from recurc.quant.model import quantize_model
from recurc.quant.weights import precision_named
from recurc.targets.boards import load_board
from tests.randmodels import random_reasoner

SUDOKU, MAZE = SUBJECTS


def measured() -> dict:
    return json.loads(memory.MEASURED.read_text(encoding="utf-8"))


def test_the_committed_page_is_what_the_planner_gives_now():
    page = memory.page(measured())
    assert page == memory.PAGE.read_text(encoding="utf-8"), "run: python benchmarks/memory.py --no-peer"


def test_figures_measured_for_another_shape_are_refused():
    stale = measured()
    stale["results"][3]["shape"]["hidden"] += 1
    with pytest.raises(ValueError, match="without --no-peer"):
        memory.page(stale)


def test_measured_figures_are_written_and_read_alike():
    assert memory.dump(measured()) == memory.MEASURED.read_text(encoding="utf-8")
    assert json.loads(memory.dump(measured())) == measured()


@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda s: s.key)
def test_ratios_are_of_the_figures_beside_them(subject):
    """Recomputed from the page's own tables, not through the code that wrote it."""
    section = memory.PAGE.read_text(encoding="utf-8").split(f"## {subject.title}")[1].split("\n## ")[0]
    theirs, ours, ratios = (
        [[cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines()[2:]]
        for block in re.findall(r"(?:^\|.*\n)+", section, re.M)
    )

    def number(text: str) -> int:
        return int(text.replace(",", ""))

    assert len(ours) == len(subject.boards) * 2 * len(CARRIES)
    ram = {tuple(row[:3]): number(row[12]) for row in ours if row[-1] == "fits"}
    arena = {tuple(row[:3]): number(row[9]) for row in ours if row[-1] == "fits"}
    for row in ours:
        if row[-1] == "fits":
            assert sum(map(number, row[4:8])) == number(row[9]) >= number(row[8]), "pieces add up to the arena"
            assert number(row[9]) + number(row[10]) + number(row[11]) == number(row[12])
    assert len(ratios) == len(ram) > 0
    for row in ratios:
        least = [
            min(number(r[5]) + number(r[6]) for r in theirs if r[0].startswith(row[1]) and r[1] == graph)
            for graph in memory.GRAPHS.values()
        ]
        assert row[4:7] == [times(n, arena[tuple(row[:3])]) for n in least]
        assert row[8] == times(min(least), ram[tuple(row[:3])])


def test_the_shapes_are_the_published_ones():
    assert SUDOKU.block() == {
        "rows": 97,
        "hidden": 512,
        "inner": 1536,
        "inner_t": 512,
        "heads": 8,
        "layers": 2,
        "h_cycles": 3,
        "l_cycles": 6,
    }
    assert lower(SUDOKU.config).calls_per_step == 21
    assert MAZE.block() == {
        "rows": 916,
        "hidden": 512,
        "inner": 1536,
        "inner_t": 0,
        "heads": 8,
        "layers": 2,
        "h_cycles": 3,
        "l_cycles": 4,
    }


def test_the_published_hrm_is_planned():
    """27.3 M parameters: at 4 bits they fit 16 MB of external flash, and two blocks take no more RAM than one."""
    hrm = PLANNED[0].config
    assert (lower(hrm).macs_per_step, lower(hrm).calls_per_step) == (pytest.approx(6.87e9, rel=1e-3), 6)
    two, one = (own_figures(c, "stm32h7", "int4", "int8") for c in (hrm, replace(hrm, H_layers=0, family="trm")))
    assert two.problem is None and two.image < 14_000_000 and two.arena == one.arena
    assert own_figures(hrm, "stm32h7", "int8", "int8").problem.endswith("bytes more in qspi")
    section = memory.planned_section(PLANNED[0])
    assert "27,275,266 parameters" in section and f"{two.ram:,}" in section and "6 block calls" in " ".join(section.split())


@pytest.mark.parametrize("carry, limit", [("fp32", 460_000), ("fp16", 260_000), ("int8", 165_000)])
@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_the_sudoku_arena_is_within_what_was_promised(precision, carry, limit):
    figures = own_figures(SUDOKU.config, "stm32h7", precision, carry)
    assert figures.problem is None and figures.arena <= limit
    assert precision == "int8" or figures.image <= 2_620_000


def test_what_does_not_fit_says_so():
    figures = own_figures(MAZE.config, "stm32h7", "int4", "fp32")
    assert figures.problem and "bytes more in axisram" in figures.problem
    row = memory.own_table([figures]).splitlines()[-1]
    assert figures.problem.split(": ")[1] in row and f"{figures.least:,}" in row and "| fits" not in row
    assert "stm32h7" not in memory.ratio_table(MAZE, measured()["results"], [figures]), "no ratio without a plan"


def test_a_board_has_room_for_what_is_planned_on_it():
    for subject in (*SUBJECTS, *PLANNED):
        for figures in memory.figures_of(subject):
            if figures.problem is None:
                assert figures.arena <= max(r.size for r in load_board(figures.board).candidates("arena"))


def test_the_image_is_as_large_as_that_of_trained_weights():
    small = ReasonerConfig("trm", "mlp_t", 16, 6, 1, 64, 4, 4, 2, 2, 2, 4, "none", 64, 1)
    figures = own_figures(small, "mps2-an500", "int4", "fp32")
    reasoner = random_reasoner("mlp_t", seq=16, vocab=6, hidden=64, heads=4, pos="none", ndim=64, plen=1, puzzles=1)
    quantized = quantize_model(reasoner, precision_named("int4"))
    assert figures.image == len(build_image(quantized, choose_kernels(load_board("mps2-an500").features)).data)


def test_tables_are_aligned():
    text = table(("name", "bytes", "note"), [("a", 1234567, None), ("longer", 5, "x")])
    assert text.splitlines() == [
        "| name   |     bytes | note |",
        "| ------ | --------: | ---: |",
        "| a      | 1,234,567 |      |",
        "| longer |         5 |    x |",
    ]
    assert len({len(line) for line in text.splitlines()}) == 1
