"""What a number counts stands beside it, in the same words in every command: bytes, parameters, shares."""

from __future__ import annotations

import re

import pytest

from recurc.cli.main import main
from recurc.ir.lower import lower
from recurc.models.checkpoint import load
from recurc.plan.budget import image_budget
from recurc.plan.kernels import kernel_set
from recurc.quant.layer_precisions import layer_forms
from recurc.quant.weights import precision_named
from recurc.report import study_page, sweep_page, tune_page
from recurc.report.numbers import IMAGE_BYTES, LINEAR_BYTES, READ_BYTES
from recurc.report.timing import time_columns
from recurc.report.wording import fact_rows
from tests.report.samples import document


def told(capsys, *args) -> str:
    assert main(args) == 0
    return " ".join(capsys.readouterr().out.split())


def test_each_count_of_bytes_says_what_it_counts(capsys):
    out = told(capsys, "inspect", "sudoku4-tiny")
    assert LINEAR_BYTES in out and IMAGE_BYTES in out
    assert READ_BYTES in " ".join(sweep_page.NOTES) and READ_BYTES in " ".join(study_page.NOTES)
    assert IMAGE_BYTES in " ".join(tune_page.NOTES) and LINEAR_BYTES in READ_BYTES


@pytest.mark.parametrize("precision", ["int4", "int4-g32", "int8"])
def test_the_bytes_of_the_image_add_up(precision, capsys):
    out = told(capsys, "report", "sudoku4-tiny", "--precision", precision)
    sums = re.search(r"image bytes ([^=]*) = ([\d,]+) ", out)
    assert sums and "headers and padding" in sums[1]
    config = load("sudoku4-tiny").config
    program = lower(config)
    total = image_budget(program, layer_forms(program, precision_named(precision), {}), kernel_set("dsp")).total
    number = [int(n.replace(",", "")) for n in re.findall(r"[\d,]+", sums[1])]
    assert sum(number) == total == int(sums[2].replace(",", "")) and len(number) == 5


def test_a_build_that_was_planned_without_parts_has_no_sum():
    rows = dict(fact_rows({**document(), "image_parts": None}))
    assert "image" in rows and "image bytes" not in rows


def test_parameters_say_whether_puzzle_embeddings_count(capsys):
    assert "parameters 38,082 without puzzle embeddings, 38,114 with them" in told(capsys, "inspect", "sudoku4-tiny")
    assert "parameters 38,082, puzzle embeddings not counted" in told(capsys, "report", "sudoku4-tiny")


def test_a_share_says_of_what(capsys):
    assert "share of time" in time_columns({"seconds": 1.0}) and "share of cycles" in time_columns({"seconds": None})
