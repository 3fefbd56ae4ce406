"""Every kernel against the NumPy twin, bit for bit: on this computer, under sanitizers, and on every emulated core."""

from __future__ import annotations

import platform
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest

from recurc.resources import resource_dir
from recurc.targets.boards import load_board
from recurc.targets.toolchain import find_compiler
from tests.kernels import harness
from tests.kernels.sanitizers import SANITIZE
from tests.kernels.vectors import OPS, Case, cases
from tests.tools import EMULATED, missing, need, need_aarch64, need_clang

HOST = frozenset({"host"})
X86 = platform.machine() == "x86_64"
HERE = ("portable", "avx2", "avxvnni", "avx512vnni") if X86 else ("portable", "neon-dot")
NOT_THIS_CPU = 96


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    """Builds the driver of all host cases once for each set of flags: (cases, program)."""
    made = {}

    def build(*flags, heap=False):
        need("host")
        if flags not in made:
            vectors = cases(HOST)
            out = tmp_path_factory.mktemp("driver")
            made[flags] = vectors, harness.build(load_board("host"), vectors, HOST, out, flags, heap)
        return made[flags]

    return build


def check_here(built, variant="portable", under=()):
    vectors, elf = built
    heard, status, said = harness.run_here(elf, variant, under)
    if status == NOT_THIS_CPU and variant != "portable":
        pytest.skip(f"this CPU does not run {variant}")
    assert status == 0, said[-3000:]
    assert harness.compare(vectors, heard) == []


@pytest.mark.parametrize("variant", HERE)
def test_kernels_here(variant, driver):
    check_here(driver(), variant)


@pytest.mark.parametrize("variant", HERE)
def test_kernels_here_compiled_with_clang(variant, driver, monkeypatch):
    """With the flags that GCC gets, warnings being errors."""
    monkeypatch.setenv("RECURC_HOST_CC", need_clang())
    check_here(driver("-O3"), variant)


def test_kernels_here_without_vector_instructions(driver):
    check_here(driver("-fno-tree-vectorize", "-O1"))


@pytest.mark.parametrize("variant", HERE)
def test_kernels_under_sanitizers(variant, tmp_path, driver):
    need("host")
    probe = tmp_path / "probe.c"
    probe.write_text("int main(void) { return 0; }\n")
    if subprocess.run(
        [find_compiler("host"), *SANITIZE, str(probe), "-o", str(tmp_path / "probe")], capture_output=True
    ).returncode:
        missing("the sanitizers' runtime")
    check_here(driver(*SANITIZE, "-O1", heap=True), variant)


@pytest.mark.parametrize(("cpu", "variant"), [("max", "neon-dot"), ("max", "portable"), ("cortex-a53", "portable")])
def test_kernels_on_aarch64(cpu, variant, driver, monkeypatch):
    compiler, emulator = need_aarch64()
    monkeypatch.setenv("RECURC_HOST_CC", compiler)
    check_here(driver("-static"), variant, (emulator, "-cpu", cpu))


def test_an_old_aarch64_core_does_not_get_the_dot_product(driver, monkeypatch):
    compiler, emulator = need_aarch64()
    monkeypatch.setenv("RECURC_HOST_CC", compiler)
    _, elf = driver("-static")
    assert harness.run_here(elf, "neon-dot", (emulator, "-cpu", "cortex-a53"))[1] == NOT_THIS_CPU


@pytest.mark.skipif(not X86, reason="computers of another architecture")
@pytest.mark.parametrize(("cpu", "runs", "lacks"), [("qemu64", "portable", "avx2"), ("Haswell", "avx2", "avx512vnni")])
def test_kernels_on_older_computers(cpu, runs, lacks, driver):
    if shutil.which("qemu-x86_64") is None:
        missing("qemu-x86_64")
    under = ("qemu-x86_64", "-cpu", cpu)
    assert harness.run_here(driver()[1], lacks, under)[1] == NOT_THIS_CPU
    check_here(driver(), runs, under)


@pytest.mark.parametrize("name", EMULATED)
def test_kernels_on_emulated_cores(name, tmp_path):
    need(name)
    board = load_board(name)
    variants = frozenset({"dsp", "mve", "v"}) & board.features
    vectors = cases(variants)
    elf = harness.build(board, vectors, variants, tmp_path)
    expected = sum(len(c.expected()) for c in vectors)
    assert harness.compare(vectors, harness.run_emulated(board, elf, expected)) == []


@pytest.mark.parametrize("vlen", [256, 512])
def test_vector_kernels_take_any_length_of_registers(vlen, tmp_path):
    need("riscv32-v-virt")
    board = load_board("riscv32-v-virt")
    args = tuple(a.replace("vlen=128", f"vlen={vlen}") for a in board.emulator.args)
    assert args != board.emulator.args
    vectors = cases(frozenset({"v"}))
    elf = harness.build(board, vectors, frozenset({"v"}), tmp_path)
    longer = replace(board, emulator=replace(board.emulator, args=args))
    expected = sum(len(c.expected()) for c in vectors)
    assert harness.compare(vectors, harness.run_emulated(longer, elf, expected)) == []


def test_arm_cores_are_checked_with_the_dsp_kernel():
    assert all("dsp" in load_board(n).features for n in EMULATED if load_board(n).family == "arm")


def test_a_core_with_helium_is_checked():
    assert any("mve" in load_board(n).features for n in EMULATED)


def test_vectors_cover_every_kernel():
    every = {c.op for c in cases(HOST | {"dsp", "mve", "v"})}
    assert every == set(OPS)
    kernels = {p.stem for p in resource_dir("runtime_c").glob("kernels/*/*.c")}
    text = (harness.HERE / "driver.c").read_text() + (resource_dir("runtime_c") / "kernels/host/rc_host.c").read_text()
    assert [k for k in sorted(kernels) if k not in text] == []


def test_a_wrong_output_is_noticed():
    good = cases()[0]
    bent = [o.copy() for o in good.outputs]
    bent[0].flat[0] += 1
    bad = Case(good.op, good.name, good.params, good.arrays, tuple(bent))
    assert harness.compare([good], good.expected()) == []
    assert harness.compare([bad], good.expected()) == [
        f"{good.op} {good.name}: byte 0 of {len(good.expected())}, {len(good.expected())} came"
    ]
    assert harness.compare([good], good.expected()[:-1]) != []
    assert harness.compare([good], good.expected() + b"x") == ["1 bytes too many"]


def test_vectors_hold_only_finite_expectations():
    """Not-a-number has other bits on other cores, so no vector may expect one."""
    for case in cases(HOST):
        for output in case.outputs:
            if output.dtype == np.float32:
                assert not np.isnan(output).any(), (case.op, case.name)
