"""The host library's choice of kernels: every variant that this CPU runs gives the same bits on whole models."""

from __future__ import annotations

import platform

import numpy as np
import pytest

from recurc.errors import InputError
from recurc.quant.model import quantize_model
from recurc.quant.weights import precision_named
from recurc.targets.host import HostEngine, cpu_signature
from recurc.targets.toolchain import compile_shared
from tests.codegen.builder import compile_model
from tests.randmodels import random_inputs, random_reasoner
from tests.tools import need, need_clang

SHAPES = {
    "token mix": lambda: random_reasoner(mixer="mlp_t", hidden=40, ndim=40, seq=37),
    "attention": lambda: random_reasoner(mixer="attention", seq=21),
}


@pytest.fixture(scope="module")
def model():
    return quantize_model(random_reasoner(), precision_named("int8"))


@pytest.fixture(scope="module")
def built(model, tmp_path_factory):
    """Folder with a model's host library and image."""
    need("host")
    folder = tmp_path_factory.mktemp("host")
    compile_model(folder, model, "host")
    return folder


def outcome(engine, inputs, ids):
    found = []
    for row, puzzle in zip(inputs, ids):
        engine.begin(row, int(puzzle))
        for _ in range(2):
            engine.step()
            found.append(engine.carry_bytes() + engine.tensor("logits").tobytes() + engine.tensor("q").tobytes())
    return found


@pytest.mark.parametrize("carry", ["fp32", "int8"])
@pytest.mark.parametrize("precision", ["int4", "int8", "fp32"])
@pytest.mark.parametrize("shape", SHAPES)
def test_every_variant_gives_the_same_bits(shape, precision, carry, tmp_path):
    need("host")
    reasoner = SHAPES[shape]()
    engine = compile_model(tmp_path, quantize_model(reasoner, precision_named(precision), carry=carry), "host")
    inputs, ids = random_inputs(reasoner, 2)
    results = {}
    for name in engine.variants:
        chosen = HostEngine(tmp_path / "model.so", tmp_path / "model.rcm", kernels=name)
        assert chosen.kernels == name
        results[name] = outcome(chosen, inputs, ids)
    assert "portable" in results
    assert [name for name in results if results[name] != results["portable"]] == []
    assert np.isfinite(np.frombuffer(results["portable"][-1][-8:], np.float32)).all()


@pytest.mark.parametrize("shape, precision", [("attention", "int4"), ("token mix", "int4-g32"), ("token mix", "fp32")])
def test_clang_gives_the_same_bits_as_gcc(shape, precision, tmp_path, monkeypatch):
    need("host")
    reasoner = SHAPES[shape]()
    quantized = quantize_model(reasoner, precision_named(precision))
    inputs, ids = random_inputs(reasoner, 2)
    compile_model(tmp_path / "gcc" / "model", quantized, "host")
    monkeypatch.setenv("RECURC_HOST_CC", need_clang())
    compile_model(tmp_path / "clang" / "model", quantized, "host")
    results, variants = {}, {}
    for compiler in ("gcc", "clang"):
        paths = tmp_path / compiler / "model" / "model.so", tmp_path / compiler / "model" / "model.rcm"
        variants[compiler] = HostEngine(*paths).variants
        for name in variants[compiler]:
            results[compiler, name] = outcome(HostEngine(*paths, kernels=name), inputs, ids)
    if platform.machine() == "x86_64":  # on Arm an older Clang has one variant less
        assert variants["clang"] == variants["gcc"]
    assert [key for key in results if results[key] != results["gcc", "portable"]] == []


def test_the_best_variant_is_chosen_unless_another_is_named(built, monkeypatch):
    paths = built / "model.so", built / "model.rcm"
    monkeypatch.delenv("RECURC_KERNELS", raising=False)
    best = HostEngine(*paths).variants[0]
    monkeypatch.setenv("RECURC_KERNELS", "portable")
    assert HostEngine(*paths).kernels == "portable"
    assert HostEngine(*paths, kernels=best).kernels == best


def test_kernels_that_this_cpu_lacks_are_refused(built, monkeypatch):
    monkeypatch.setenv("RECURC_KERNELS", "avx9")
    with pytest.raises(InputError, match="avx9"):
        HostEngine(built / "model.so", built / "model.rcm")


def test_a_library_of_another_version_is_refused_by_name(built, tmp_path):
    """One without a function that is called here: it was made before that was written."""
    need("host")
    (tmp_path / "old.c").write_text("int rc_open(void) { return 0; }\nint rc_info;\n")
    library = compile_shared([tmp_path / "old.c"], [], tmp_path / "old.so")
    with pytest.raises(InputError, match="another version of recurc.*rc_noise.*rc_solve_begin.*Build again") as e:
        HostEngine(library, built / "model.rcm")
    assert e.value.where == str(library) and "rc_open" not in e.value.why


def test_other_kernel_sets_have_no_variants(model, tmp_path):
    need("host")
    engine = compile_model(tmp_path, model, "portable")
    assert (engine.variants, engine.kernels) == ((), None)


def test_a_build_stays_good_on_another_cpu_of_the_same_architecture(monkeypatch):
    """Only the architecture counts: the library holds kernels for all of its CPUs."""
    assert cpu_signature() == platform.machine()
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    assert cpu_signature() == "riscv64"
