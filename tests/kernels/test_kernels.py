"""Every kernel against the NumPy twin, bit for bit: on this computer, under sanitizers, and on every emulated core."""

from __future__ import annotations

import subprocess

import numpy as np
import pytest

from recurc.resources import resource_dir
from recurc.targets.boards import load_board
from recurc.targets.host import host_features
from recurc.targets.toolchain import find_compiler
from tests.kernels import harness
from tests.kernels.vectors import OPS, Case, cases
from tests.tools import EMULATED, missing, need

HOST_VARIANTS = frozenset({"panels", "vnni"} if "avx512vnni" in host_features() else {"panels"})
SANITIZE = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer")


def check_here(tmp_path, variants, flags, heap=False):
    need("host")
    vectors = cases(variants)
    elf = harness.build(load_board("host"), vectors, variants, tmp_path, flags, heap)
    heard, status, said = harness.run_here(elf)
    assert status == 0, said[-3000:]
    assert harness.compare(vectors, heard) == []


def test_kernels_here(tmp_path):
    native = ("-march=native",) if "vnni" in HOST_VARIANTS else ()
    check_here(tmp_path, HOST_VARIANTS, native)


def test_kernels_here_without_vector_instructions(tmp_path):
    check_here(tmp_path, frozenset({"panels"}), ("-fno-tree-vectorize", "-O1"))


def test_kernels_under_sanitizers(tmp_path):
    need("host")
    probe = tmp_path / "probe.c"
    probe.write_text("int main(void) { return 0; }\n")
    if subprocess.run([find_compiler("host"), *SANITIZE, str(probe), "-o", str(tmp_path / "probe")],
                      capture_output=True).returncode:
        missing("the sanitizers' runtime")
    native = ("-march=native",) if "vnni" in HOST_VARIANTS else ()
    check_here(tmp_path, HOST_VARIANTS, (*native, *SANITIZE, "-O1"), heap=True)


@pytest.mark.parametrize("name", EMULATED)
def test_kernels_on_emulated_cores(name, tmp_path):
    need(name)
    board = load_board(name)
    variants = frozenset({"dsp", "mve"}) & board.features
    vectors = cases(variants)
    elf = harness.build(board, vectors, variants, tmp_path)
    expected = sum(len(c.expected()) for c in vectors)
    assert harness.compare(vectors, harness.run_emulated(board, elf, expected)) == []


def test_arm_cores_are_checked_with_the_dsp_kernel():
    assert all("dsp" in load_board(n).features for n in EMULATED if load_board(n).family == "arm")


def test_a_core_with_helium_is_checked():
    assert any("mve" in load_board(n).features for n in EMULATED)


def test_vectors_cover_every_kernel():
    every = {c.op for c in cases(frozenset({"dsp", "mve", "panels", "vnni"}))}
    assert every == set(OPS)
    kernels = {p.stem for p in resource_dir("runtime_c").glob("kernels/*/*.c")}
    text = (harness.HERE / "driver.c").read_text()
    assert [k for k in sorted(kernels) if k not in text] == []


def test_a_wrong_output_is_noticed():
    good = cases()[0]
    bent = [o.copy() for o in good.outputs]
    bent[0].flat[0] += 1
    bad = Case(good.op, good.name, good.params, good.arrays, tuple(bent))
    assert harness.compare([good], good.expected()) == []
    assert harness.compare([bad], good.expected()) == [
        f"{good.op} {good.name}: byte 0 of {len(good.expected())}, {len(good.expected())} came"]
    assert harness.compare([good], good.expected()[:-1]) != []
    assert harness.compare([good], good.expected() + b"x") == ["1 bytes too many"]


def test_vectors_hold_only_finite_expectations():
    """Not-a-number has other bits on other cores, so no vector may expect one."""
    for case in cases(frozenset({"panels"})):
        for output in case.outputs:
            if output.dtype == np.float32:
                assert not np.isnan(output).any(), (case.op, case.name)
