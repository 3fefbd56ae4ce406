"""What is not a finite number, in the carry of a model under way: the step says so, and nothing on its way is undefined."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from recurc.emit.sources import engine_files
from recurc.plan.kernels import kernel_set
from recurc.quant.model import quantize_model
from recurc.quant.weights import precision_named
from recurc.resources import resource_dir
from tests.codegen.builder import write_sources
from tests.randmodels import random_reasoner
from tests.tools import need_clang

RUNTIME = resource_dir("runtime_c")
PROGRAM = Path(__file__).parent / "poison.c"
SHAPES = {
    "token mix": lambda: random_reasoner("mlp_t", pos="none", hidden=24, ndim=24, layers=1, cycles=(1, 2), seq=10, steps=3),
    "attention": lambda: random_reasoner(hidden=24, heads=3, ndim=24, layers=1, cycles=(1, 1), seq=10, steps=3),
}
SANITIZE = "-O1 -g -fsanitize=address,undefined,float-cast-overflow,float-divide-by-zero -fno-sanitize-recover=all".split()


@pytest.mark.parametrize("compiler, shape, precision, carry", [
    ("gcc", "attention", "int4", "fp32"), ("gcc", "token mix", "int8", "fp16"), ("gcc", "attention", "fp32", "int8"),
    ("clang", "attention", "int8", "fp16"), ("clang", "token mix", "int4-g32", "int8"), ("clang", "token mix", "fp32", "fp32"),
])  # fmt: skip
def test_the_step_says_so(compiler, shape, precision, carry, tmp_path):
    need_clang()
    kernels = kernel_set("portable")
    write_sources(
        tmp_path, quantize_model(SHAPES[shape](), precision_named(precision), method="min-max", carry=carry), kernels, 20_000
    )
    files = [PROGRAM, tmp_path / "model.c", *engine_files(kernels, RUNTIME)]
    command = [
        compiler,
        "-std=c11",
        *SANITIZE,
        f"-I{tmp_path}",
        f"-I{RUNTIME}/include",
        *map(str, files),
        "-o",
        str(tmp_path / "poison"),
    ]
    done = subprocess.run([*command, "-lm"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[:2000]
    ran = subprocess.run([str(tmp_path / "poison"), str(tmp_path / "model.rcm")], capture_output=True, text=True)
    assert ran.returncode == 0 and " 0 wrong" in ran.stdout, (ran.returncode, ran.stdout[-1500:], ran.stderr[-1500:])
