"""The generated C against the NumPy twin, bit for bit, whole models in every precision, shape and kernel set."""

from __future__ import annotations

import subprocess
from functools import partial

import numpy as np
import pytest

from recurc.ir.lower import lower
from recurc.plan.kernels import kernel_set
from recurc.quant.model import quantize_model
from recurc.quant.twin import Twin
from recurc.quant.weights import precision_named
from recurc.targets.boards import load_board
from recurc.targets.toolchain import compile_objects, find_compiler
from tests.codegen.bits import TENSORS, differences
from tests.codegen.builder import COMMON, HERE_SETS, RUNTIME, compile_model, write_sources
from tests.kernels.sanitizers import SANITIZE
from tests.randmodels import random_inputs, random_reasoner, sudoku4
from tests.tools import missing, need

token_mix = partial(random_reasoner, "mlp_t", pos="none")
MODELS = {
    "trained sudoku4": sudoku4,
    "rope": partial(random_reasoner, hidden=64, seq=12, plen=2, ndim=64, layers=1),
    "rope, odd": partial(random_reasoner, hidden=72, ndim=100, plen=0, cycles=(1, 3)),
    "rope on a grid": partial(random_reasoner, pos="rope2d-nano", hidden=24, heads=2, seq=9, plen=2, layers=1),
    "learned": partial(random_reasoner, pos="learned", hidden=40, heads=2, ndim=40),
    "learned, odd heads": partial(random_reasoner, pos="learned", hidden=40, heads=8, ndim=64, plen=0, cycles=(2, 1)),
    "no positions": partial(random_reasoner, pos="none", hidden=32, ndim=0, plen=0, layers=1, vocab=3),
    "token mix": partial(token_mix, hidden=72, ndim=144, plen=2),
    "token mix, no puzzles": partial(token_mix, hidden=40, ndim=0, plen=0, cycles=(1, 1)),
    "token mix, deep": partial(token_mix, hidden=24, ndim=24, plen=3, layers=3, cycles=(3, 1), seq=10),
    "hrm, rope": partial(random_reasoner, hidden=32, heads=2, layers=1, h_layers=2, cycles=(2, 2)),
    "hrm, learned, odd": partial(random_reasoner, pos="learned", hidden=40, heads=2, ndim=72, h_layers=1, cycles=(1, 3)),
    "hrm, token mix": partial(token_mix, hidden=24, ndim=40, layers=1, h_layers=2, cycles=(2, 1), seq=10),
    "one cell": partial(token_mix, seq=1, vocab=2, hidden=8, heads=1, ndim=8),
}
PRECISIONS = ("fp32", "int8", "int4")


@pytest.mark.parametrize(
    ("shape", "precision"),
    [
        *((shape, precision) for shape in MODELS for precision in PRECISIONS),
        *(
            (shape, precision)
            for precision in ("int3", "int2", "int4-g32", "int2-g32")
            for shape in ("trained sudoku4", "rope, odd", "learned, odd heads", "token mix, deep", "one cell")
        ),
    ],
)
def test_engine_equals_the_twin(shape, precision, tmp_path, kernels_folder):
    reasoner = MODELS[shape]()
    model = quantize_model(reasoner, precision_named(precision), method="min-max")
    engines = {
        name: compile_model(tmp_path / name, model, name, 6_000 if "odd" in shape else 20_000, kernels_folder)
        for name in HERE_SETS
    }
    assert differences(model, reasoner, engines) == []


@pytest.mark.parametrize("carry", ["fp16", "int8"])
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(
    "shape",
    [
        "trained sudoku4",
        "rope, odd",
        "learned, odd heads",
        "token mix, deep",
        "one cell",
        "hrm, learned, odd",
        "hrm, token mix",
    ],
)
def test_narrow_carries_equal_the_twin(shape, precision, carry, tmp_path, kernels_folder):
    reasoner = MODELS[shape]()
    model = quantize_model(reasoner, precision_named(precision), method="min-max", carry=carry)
    engines = {
        name: compile_model(tmp_path / name, model, name, 6_000 if "odd" in shape else 20_000, kernels_folder)
        for name in HERE_SETS
    }
    assert differences(model, reasoner, engines) == []
    stored = {"fp16": 2, "int8": 1}[carry] * engines["portable"].info.rows * engines["portable"].info.hidden
    scales = 4 * engines["portable"].info.rows * (carry == "int8")
    assert len(engines["portable"].carry_bytes()) == 2 * (stored + scales)


@pytest.mark.parametrize("carry", ["fp32", "int8"])
@pytest.mark.parametrize("shape", ["rope, odd", "learned, odd heads", "token mix, deep", "one cell"])
@pytest.mark.parametrize(("first", "step"), [(0, 1), (1, 1), (2, 3)])
def test_layers_may_differ_in_precision(shape, first, step, carry, tmp_path, kernels_folder):
    """Neighbouring layers in every order of precisions, fp32 among them: one op's layers differ, and ops of one shape."""
    reasoner = MODELS[shape]()
    turn = ("fp32", "int8", "int4-g32", "int2", "int4", "int3", "int2-g32")  # seven: every step meets all of them
    order = [turn[(first + i * step) % 7] for i in range(40)]
    names = [ref.name for ref in lower(reasoner.config).linears]
    model = quantize_model(
        reasoner, precision_named("int4"), method="min-max", carry=carry, layer_precisions=dict(zip(names, order))
    )
    assert len(set(model.forms.values())) > 2
    engines = {
        name: compile_model(tmp_path / name, model, name, 6_000 if "odd" in shape else 20_000, kernels_folder)
        for name in HERE_SETS
    }
    assert differences(model, reasoner, engines) == []


def test_the_naive_precision_too(tmp_path, kernels_folder):
    reasoner = random_reasoner()
    model = quantize_model(reasoner, precision_named("int4-naive"))
    assert differences(model, reasoner, {"portable": compile_model(tmp_path, model, shared=kernels_folder)}) == []


def test_other_depths_are_compiled_in(tmp_path, kernels_folder):
    reasoner = random_reasoner(cycles=(2, 3))
    model = quantize_model(reasoner, precision_named("int8"), steps=7, h_cycles=1, l_cycles=2)
    engine = compile_model(tmp_path, model, shared=kernels_folder)
    assert (engine.info.steps, engine.info.h_cycles, engine.info.l_cycles) == (7, 1, 2)
    assert differences(model, reasoner, {"portable": engine}) == []


def test_tile_sizes_do_not_change_a_bit(tmp_path, kernels_folder):
    reasoner = random_reasoner(seq=13, pos="learned")
    model = quantize_model(reasoner, precision_named("int4"))
    engines = {
        f"{scratch} {name}": compile_model(tmp_path / f"{scratch}{name}", model, name, scratch, kernels_folder)
        for scratch in (0, 300_000)
        for name in HERE_SETS
    }
    assert len({e.info.arena_bytes for e in engines.values()}) == len(engines)
    assert differences(model, reasoner, engines) == []


def test_beginning_again_forgets_everything(tmp_path, kernels_folder):
    reasoner = random_reasoner()
    model = quantize_model(reasoner, precision_named("int4"))
    engine, fresh = (compile_model(tmp_path / n, model, shared=kernels_folder) for n in "ab")
    inputs, ids = random_inputs(reasoner, 2)
    engine.begin(inputs[0], int(ids[0]))
    engine.step()
    for e in (engine, fresh):
        e.begin(inputs[1], int(ids[1]))
        e.step()
    assert all(engine.tensor(t).tobytes() == fresh.tensor(t).tobytes() for t in TENSORS)


@pytest.mark.parametrize(("shape", "precision"), [("rope, odd", "int4"), ("token mix", "int8"), ("learned", "fp32")])
def test_whole_model_under_sanitizers(shape, precision, tmp_path):
    """A process that opens the image from exactly sized blocks, runs two steps and prints z_H."""
    need("host")
    reasoner = MODELS[shape]()
    model = quantize_model(reasoner, precision_named(precision), method="min-max")
    kernels = kernel_set("portable")
    _, layout = write_sources(tmp_path, model, kernels, 6_000)
    inputs, ids = random_inputs(reasoner, 1)
    (tmp_path / "tokens").write_bytes(inputs[0].tobytes())
    (tmp_path / "run.c").write_text(_RUN)
    files = [
        tmp_path / "run.c",
        tmp_path / "model.c",
        *(RUNTIME / "kernels" / s for s in kernels.sources),
        *(RUNTIME / s for s in COMMON),
    ]
    objects = compile_objects(
        load_board("host"), files, [tmp_path, RUNTIME / "include"], {}, tmp_path, (*SANITIZE, "-O1", "-URC_WATCHDOG_MS")
    )  # there is no port here
    built = subprocess.run(
        [find_compiler("host"), *SANITIZE, *map(str, objects), "-o", str(tmp_path / "run")], capture_output=True, text=True
    )
    if "cannot find" in built.stderr and "san" in built.stderr:
        missing("the sanitizers' runtime")
    assert built.returncode == 0, built.stderr[-2000:]
    done = subprocess.run(
        [str(tmp_path / "run"), str(ids[0])], cwd=tmp_path, capture_output=True, env={"ASAN_OPTIONS": "detect_leaks=0"}
    )
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    twin = Twin(model)
    twin.begin(inputs, ids)
    twin.step()
    twin.step()
    assert np.frombuffer(done.stdout, np.float32).tobytes() == twin.z_H[0].tobytes()
    assert layout.arena_bytes % 64 == 0


_RUN = """
#include <stdio.h>
#include <stdlib.h>
#include "model_config.h"
#include "recurc/rc.h"

static uint8_t *read_all(const char *name, uint32_t bytes)
{
    /* 64-byte aligned, and ending where the block ends */
    uint8_t *block = malloc(bytes + 64u);
    uint8_t *at = block + (64u - (uint32_t)((uintptr_t)block % 64u)) % 64u;
    FILE *f = fopen(name, "rb");
    if (f == 0 || fread(at, 1, bytes, f) != bytes) {
        exit(3);
    }
    fclose(f);
    return at;
}

int main(int argc, char **argv)
{
    static _Alignas(64) uint8_t arena[RC_ARENA_BYTES];
    uint8_t *image = read_all("model.rcm", RC_IMAGE_BYTES);
    uint8_t *tokens = read_all("tokens", RC_SEQ_LEN);
    rc_ctx_t ctx;
    const uint32_t puzzle = argc > 1 ? (uint32_t)atoi(argv[1]) : 0u;
    if (rc_open(&ctx, image, RC_IMAGE_BYTES, arena, sizeof arena, 0) != RC_OK) {
        return 4;
    }
    if (rc_begin(&ctx, tokens, puzzle) != RC_OK) {
        return 5;
    }
    for (int step = 0; step < 2; step++) {
        if (rc_step(&ctx) != RC_OK) {
            return 6;
        }
    }
    uint32_t bytes = 0;
    const uint8_t *z = rc_tensor(&ctx, RC_TENSOR_Z_H, &bytes);
    fwrite(z, 1, bytes, stdout);
    return 0;
}
"""
