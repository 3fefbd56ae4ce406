"""Random sequences of calls of a generated model, under the sanitizers: every status is the one that is documented."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from recurc.emit.sources import engine_files
from recurc.plan.kernels import kernel_set
from recurc.quant.model import quantize_model
from recurc.quant.weights import precision_named
from recurc.symmetries import Symmetry
from tests.codegen.builder import RUNTIME, write_sources
from tests.randmodels import random_reasoner
from tests.tools import need

RUNS = int(os.environ.get("RECURC_FUZZ_API", "3000"))  # 1000000: the whole campaign, half an hour
# Other forms of a puzzle of 4 cells and 5 tokens: each of them is another run of `rc_solve`.
FORMS = (Symmetry((3, 2, 1, 0), (0, 1, 2, 3, 4)), Symmetry((1, 0, 3, 2), (0, 2, 1, 4, 3)))
SANITIZED = "-O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all"
FLAGS = f"-std=c11 {SANITIZED} -ffp-contract=off -DRC_HOOK_MACS=1000u".split()


@pytest.mark.parametrize("mixer", ["mlp_t", "attention"])
def test_every_status_is_the_documented_one(mixer, tmp_path):
    need("host")
    pos = "none" if mixer == "mlp_t" else "rope"
    reasoner = random_reasoner(mixer, pos=pos, seq=4, vocab=5, hidden=16, heads=2, ndim=16, layers=1, cycles=(1, 1), steps=3)
    kernels = kernel_set("portable")
    model = quantize_model(reasoner, precision_named("int8"), symmetries=FORMS)
    write_sources(tmp_path, model, kernels, 4_000)
    sources = [Path(__file__).with_name("fuzz_api.c"), tmp_path / "model.c", *engine_files(kernels, RUNTIME)]
    program = tmp_path / "fuzz_api"
    includes = [f"-I{tmp_path}", f"-I{RUNTIME / 'include'}"]
    subprocess.run(["cc", *FLAGS, *includes, *map(str, sources), "-o", str(program)], check=True)
    for seed in range(1, 3):
        done = subprocess.run([program, str(RUNS // 2), str(seed), tmp_path / "model.rcm"], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr[-3000:]
