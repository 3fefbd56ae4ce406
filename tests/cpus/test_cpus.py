"""The variants are what they say, and the tests that decide hold under two of them; all: `make test-cpus`."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.cpus import NUMERIC, ROOT, VARIANTS, Variant

SUM = """
import numpy, torch
a, b = (torch.randn(1, 999, generator=torch.Generator().manual_seed(s)) for s in (0, 1))
print((a @ b.T).item(), torch.nn.functional.linear(a, b).item(), torch.backends.cpu.get_cpu_capability())
"""
DECISIVE = (
    "tests/models/test_hrm.py::test_equals_the_original_models_outputs[rope]",
    "tests/models/test_hrm.py::test_equals_the_original_models_outputs[copy-mlp-t]",
    "tests/models/test_hrm.py::test_converted_it_is_the_same_model[copy-mlp-t]",
    "tests/models/test_reference.py::test_agrees_with_an_independent_forward[mlp-t]",
    "tests/quant/test_model.py::test_the_fp32_twin_equals_the_reference",
)
PLAIN = Variant("plain", {})


def variant(name: str) -> Variant:
    found = next(v for v in VARIANTS if v.name == name)
    if found.missing():
        pytest.skip(found.missing())
    return found


def told(of: Variant) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", SUM], cwd=ROOT, env=of.environment(), capture_output=True, text=True, check=True
    )
    return done.stdout.split()


def test_shuffled_sums_differ_in_their_last_bits():
    plain, shuffled = told(PLAIN), told(variant("shuffled"))
    for ours, other in zip(plain[:2], shuffled[:2]):
        assert ours != other and abs(float(ours) - float(other)) < 1e-4


def test_avx2_is_what_torch_runs():
    assert told(variant("avx2"))[2] == "AVX2"


@pytest.mark.parametrize("name", ["avx2", "shuffled"])
def test_decisive_tests_hold(name):
    chosen = variant(name)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *DECISIVE],
        cwd=ROOT,
        env=chosen.environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:]


def test_the_numeric_tests_are_there():
    assert all((ROOT / "tests" / name).exists() for name in NUMERIC)


def test_what_this_computer_lacks_is_named():
    absent = Variant("x", {}, frozenset({"avx9999"}))
    assert absent.missing() and "avx9999" in absent.missing() or "this computer is" in absent.missing()
