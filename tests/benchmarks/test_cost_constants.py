"""The script behind costs.json: fitting, attribution of addresses, and one sample measured again."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.cost_constants import SHAPES, Sample, errors, fit, generated_group, jobs, measure, not_negative, object_ranges
from benchmarks.modelled import build_plugin
from recurc.plan.cost import constants
from recurc.quant.weights import precisions
from recurc.targets.boards import load_board
from tests.tools import need

MAP = """
 .text          0x00000000        0x0 build/obj/000_model.o
 .text.rc_step
                0x00000100       0x40 build/obj/001_model.o
 .text.rc_pass_s4_dsp
                0x00000140       0x20 build/obj/012_rc_tile_s4_dsp.o
 .text          0x00000160       0x08 /usr/lib/gcc/libgcc.a(_x.o)
"""


def test_object_ranges(tmp_path):
    (tmp_path / "a.map").write_text(MAP)
    assert object_ranges(tmp_path / "a.map") == [
        (0x100, 0x140, "model"),
        (0x140, 0x160, "rc_tile_s4_dsp"),
        (0x160, 0x168, "libgcc"),
    ]


@pytest.mark.parametrize(
    "chain, group",
    [
        (["input_row", "load_row", "load_tokens", "attention_0"], "load_int8"),
        (["store_channels", "token_mix_0"], "store_int8"),
        (["linear_tile", "channel_mix_1"], "glue"),
        (["rc_to_half", "store_tokens", "attention_0"], "store_int8"),
        (["fill_carry", "rc_begin"], ""),
        (["rc_open"], ""),
    ],
)
def test_groups_of_generated_code(chain, group):
    assert generated_group(chain, "int8", "int4") == group


def test_fitting_recovers_what_was_put_in():
    rng = np.random.default_rng(0)
    true = {"f:call": 20.0, "f:mac": 0.75, "g:element": 11.0}
    samples = []
    for _ in range(8):
        units = {u: float(rng.integers(10, 10_000)) for u in true}
        counts = {g: round(sum(n * true[u] for u, n in units.items() if u[0] == g)) for g in "fg"}
        samples.append(Sample("s", units, counts, {}))
    found = fit(samples)
    assert found == pytest.approx(true, rel=1e-2)
    assert max(map(abs, errors(samples, found))) < 1e-3


def test_no_constant_is_negative():
    rows = np.array([[1.0, 1.0], [2.0, 1.0], [3.0, 1.0]])
    found = not_negative(rows, np.array([1.0, 3.0, 5.0]))
    assert found.min() >= 0 and found[0] > 0


def test_samples_cover_every_kind():
    kinds = {(name.split()[0], precision, carry) for name, precision, carry in jobs()}
    assert {p for _, p, _ in kinds} == {name for name, p in precisions().items() if not p.lossy}
    assert {c for *_, c in kinds} == {"fp32", "fp16", "int8"}
    assert len({config.rows for config, _ in SHAPES.values()}) > 5


def test_the_table_is_what_a_sample_measures_today(tmp_path):
    board = load_board("mps2-an500")
    need(board.name)
    (tmp_path / "plugin").mkdir()
    sample = measure(board, tmp_path, build_plugin(tmp_path / "plugin"), ("mlp a", "int4", "fp32"), False)
    table = constants("dsp", "cortex-m7")["instructions"]
    assert abs(errors([sample], table)[0]) < 0.03, "run benchmarks/cost_constants.py"
