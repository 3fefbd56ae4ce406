"""The peer's graphs compute the block: checked in the peer's interpreter against the plain NumPy forward."""

from __future__ import annotations

import json
import subprocess

import numpy as np
import pytest

from benchmarks.common import ROOT, ready_peer_python
from tests.models.plain_numpy import attention, rms, swiglu

MLP = {"rows": 7, "hidden": 32, "inner": 48, "inner_t": 16, "heads": 4, "layers": 2, "h_cycles": 2, "l_cycles": 3}
ATTENTION = {**MLP, "rows": 9, "inner_t": 0}
VARIANTS = {
    f"{weights}-{graph}{'-together' if heads == 'together' else ''}": {"weights": weights, "graph": graph, "heads": heads}
    for weights in ("float32", "int8", "int8-channel", "int4")
    for graph in ("call", "step", "while")
    for heads in ("one by one", "together")
}


@pytest.fixture(scope="module")
def peer():
    python = ready_peer_python("tflm")
    if python is None:
        pytest.skip("the peer is not installed; `make bench-memory` does it")
    return python


def random_given(shape: dict) -> dict[str, np.ndarray]:
    """Weights under the generator's names, and the inputs z_H, z_L, X."""
    rng = np.random.default_rng(5)
    s, d, inner, inner_t = (shape[key] for key in ("rows", "hidden", "inner", "inner_t"))
    sizes = {"c.gate": (inner, d), "c.up": (inner, d), "c.down": (d, inner)}
    if inner_t:
        sizes |= {"t.gate": (inner_t, s), "t.up": (inner_t, s), "t.down": (s, inner_t)}
    else:
        sizes |= {name: (d, d) for name in "qkvo"}
    given = {
        f"{i}.{name}": rng.normal(size=size) / np.sqrt(size[1]) for i in range(shape["layers"]) for name, size in sizes.items()
    }
    given |= {f"input.{i}": rng.normal(size=(s, d)) for i in range(3)}
    return {name: values.astype(np.float32) for name, values in given.items()}


def block(z: np.ndarray, w: dict[str, np.ndarray], shape: dict) -> np.ndarray:
    def mixed(x: np.ndarray, name: str) -> np.ndarray:
        return rms(x + swiglu(x, np.vstack([w[f"{name}.gate"], w[f"{name}.up"]]), w[f"{name}.down"]))

    for i in range(shape["layers"]):
        if shape["inner_t"]:
            z = mixed(z.T, f"{i}.t").T
        else:
            qkv = np.vstack([w[f"{i}.{name}"] for name in "qkv"])
            z = rms(z + attention(z, qkv, w[f"{i}.o"], shape["heads"], rope=True))
        z = mixed(z, f"{i}.c")
    return z


def step(z_h: np.ndarray, z_l: np.ndarray, x: np.ndarray, w: dict, shape: dict) -> tuple[np.ndarray, np.ndarray]:
    for _ in range(shape["h_cycles"]):
        for _ in range(shape["l_cycles"]):
            z_l = block(z_l + (z_h + x), w, shape)
        z_h = block(z_h + z_l, w, shape)
    return z_h, z_l


@pytest.fixture(scope="module", params=[MLP, ATTENTION], ids=["mlp", "attention"])
def ran(peer, request, tmp_path_factory):
    """(shape, weights, inputs in float64, outputs of the peer by name)."""
    folder, shape = tmp_path_factory.mktemp("graphs"), request.param
    given = random_given(shape)
    np.savez(folder / "given.npz", **given)
    variants = {k: v for k, v in VARIANTS.items() if v["heads"] == "one by one" or not shape["inner_t"]}
    done = subprocess.run(
        [
            str(peer),
            "-m",
            "tests.benchmarks.run_graphs",
            str(folder / "given.npz"),
            str(folder / "found.npz"),
            json.dumps({"shape": shape, "variants": variants}),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    w = {name: values.astype(np.float64) for name, values in given.items()}
    return shape, w, [w.pop(f"input.{i}") for i in range(3)], dict(np.load(folder / "found.npz"))


def names(found: dict, prefix: str) -> list[str]:
    return [key.removesuffix(".0") for key in found if key.startswith(prefix) and key.endswith(".0")]


def test_float_graphs_compute_the_block_and_the_step(ran):
    shape, w, (a, b, x), found = ran
    for name in names(found, "float32-call"):
        np.testing.assert_allclose(found[f"{name}.0"], block(b + (a + x), w, shape), atol=2e-5)
    z_h, z_l = step(a, b, x, w, shape)
    for name in [*names(found, "float32-step"), *names(found, "float32-while")]:
        np.testing.assert_allclose(found[f"{name}.0"], z_h, atol=2e-4, err_msg=name)
        np.testing.assert_allclose(found[f"{name}.1"], z_l, atol=2e-4, err_msg=name)


def test_loops_and_unrolled_graphs_agree_in_integers(ran):
    _, _, _, found = ran
    for name in names(found, "int"):
        if "-step" in name:
            for i in range(2):
                np.testing.assert_array_equal(found[f"{name}.{i}"], found[f"{name.replace('-step', '-while')}.{i}"])


@pytest.mark.parametrize("weights, least", [("int8", 0.9), ("int8-channel", 0.9), ("int4", 0.85)])
def test_integer_graphs_compute_about_the_same_call(ran, weights, least):
    """Static int8 is coarse on rows this short, so this only tells a right graph from a wrong one."""
    shape, w, (a, b, x), found = ran
    expected = block(b + (a + x), w, shape).ravel()
    for name in names(found, f"{weights}-call"):
        got = found[f"{name}.0"].astype(np.float64).ravel()
        assert np.dot(got, expected) / np.linalg.norm(got) / np.linalg.norm(expected) > least, name


def test_an_arena_is_head_and_tail(ran):
    _, _, _, found = ran
    for key in found:
        if key.endswith(".arena"):
            head, tail, total = found[key]
            assert head > 0 and tail > 0 and head + tail == total
