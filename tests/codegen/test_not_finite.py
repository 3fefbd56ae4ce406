"""Weights and tables that overflow or hold no numbers: every target says so, and none does what C leaves open."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from recurc.device.frames import STATUS_NUMBER, STATUS_STATE
from recurc.device.session import DeviceRefusedError
from recurc.errors import InputError
from recurc.quant.model import QuantizedModel, quantize_model
from recurc.quant.twin import Twin
from recurc.quant.weights import precision_named
from recurc.storage.fp32 import FloatWeights
from recurc.targets.boards import load_board
from recurc.targets.host import HostEngine
from recurc.verify.device import connect
from tests.codegen.builder import compile_model, emulated_firmware
from tests.device.runs import run_all
from tests.randmodels import random_inputs, random_reasoner
from tests.tools import need

STEPS = 3
BAD = (float("nan"), float("inf"), -float("inf"), 3e38, -3e38, 1e30)
SHAPES = {
    "token mix": lambda: random_reasoner("mlp_t", pos="none", hidden=24, ndim=24, layers=1, cycles=(1, 2), seq=10, steps=STEPS),
    "attention": lambda: random_reasoner(hidden=24, heads=3, ndim=24, layers=1, cycles=(1, 1), seq=10, steps=STEPS),
}


def poisoned(model: QuantizedModel, seed: int) -> QuantizedModel:
    """The model with a few floats of one table, vector or layer replaced by what overflows or is no number."""
    rng = np.random.default_rng(seed)

    def poison(values: np.ndarray) -> np.ndarray:
        values = np.array(values, np.float32)
        flat = values.reshape(-1)
        flat[rng.integers(0, flat.size, rng.integers(1, max(2, flat.size // 4)))] = np.float32(rng.choice(BAD))
        return values

    kind = rng.choice(["tables", "vectors", "weights"], p=[0.2, 0.2, 0.6])
    held = dict(getattr(model, kind))
    name = rng.choice(sorted(held))
    if kind == "weights":
        w = held[name]
        held[name] = replace(w, w=poison(w.w)) if isinstance(w, FloatWeights) else replace(w, scale=poison(w.scale))
    else:
        held[name] = poison(held[name])
    return replace(model, **{kind: held})


def outcome(model, inputs: np.ndarray, ids: np.ndarray) -> list:
    """What each step leaves, until one is refused: "refused" then."""
    found = []
    model.begin(inputs, ids)
    for _ in range(STEPS):
        try:
            model.step()
        except InputError as e:
            assert "not a finite number" in str(e)
            return [*found, "refused"]
        found.append(model.bits())
    return found


class EngineRun:
    def __init__(self, engine: HostEngine) -> None:
        self.engine, self.step = engine, engine.step

    def begin(self, inputs: np.ndarray, ids: np.ndarray) -> None:
        self.engine.begin(inputs[0], int(ids[0]))

    def bits(self) -> tuple:
        return tuple(self.engine.tensor(n).tobytes() for n in ("z_H", "z_L", "logits", "q"))


class TwinRun(Twin):
    def bits(self) -> tuple:
        return tuple(getattr(self, n)[0].tobytes() for n in ("z_H", "z_L", "logits", "q"))


def disagreement(folder: Path, shape: str, precision: str, carry: str, seed: int, shared: Path) -> tuple[bool, str]:
    """Whether a poisoned model is refused, and where twin, portable kernels and the host's variants differ."""
    reasoner = SHAPES[shape]()
    model = poisoned(quantize_model(reasoner, precision_named(precision), method="min-max", carry=carry), seed)
    inputs, ids = random_inputs(reasoner, 1)
    with np.errstate(all="ignore"):
        wanted = outcome(TwinRun(model), inputs, ids)
    runs = {"portable": compile_model(folder / "portable", model, shared=shared)}
    host = compile_model(folder / "host", model, "host", shared=shared)
    for name in host.variants or ("the",):
        made = (folder / "host" / "model.so", folder / "host" / "model.rcm")
        runs[f"{name} host"] = HostEngine(*made, kernels=name) if host.variants else host
    for name, engine in runs.items():
        if host.variants and name.endswith(" host"):
            engine._use(name.removesuffix(" host"))  # it counts for all engines of the library
        got = outcome(EngineRun(engine), inputs, ids)
        if got != wanted:
            return True, f"{name}: {len(got)} steps, {got[-1] == 'refused'}; twin: {len(wanted)}, {wanted[-1] == 'refused'}"
    return wanted[-1] == "refused", ""


@pytest.fixture(scope="module")
def kernels_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("kernels")


@pytest.mark.parametrize("shape, precision, carry", [
    ("token mix", "int4", "fp32"), ("token mix", "int8", "int8"), ("attention", "int4", "fp16"), ("attention", "fp32", "fp32"),
])  # fmt: skip
def test_all_agree_on_what_is_not_finite(shape, precision, carry, tmp_path, kernels_folder):
    need("host")
    found = [disagreement(tmp_path / str(seed), shape, precision, carry, seed, kernels_folder) for seed in range(2)]
    assert not [why for _, why in found if why]


UBSAN = ("-O1", "-fsanitize=undefined", "-fno-sanitize-recover=all", "-fsanitize-undefined-trap-on-error", "-fno-sanitize=vptr")


def sanitized(folder: Path, shape: str, precision: str, carry: str, seed: int) -> str:
    """The portable kernels and a poisoned model compiled to trap where C leaves open what happens; run by this process."""
    from recurc.plan.kernels import kernel_set
    from recurc.targets.toolchain import compile_shared
    from tests.codegen.builder import COMMON, RUNTIME, write_sources

    reasoner = SHAPES[shape]()
    model = poisoned(quantize_model(reasoner, precision_named(precision), method="min-max", carry=carry), seed)
    kernels = kernel_set("portable")
    write_sources(folder, model, kernels, 20_000)
    sources = [folder / "model.c", *(RUNTIME / "kernels" / s for s in kernels.sources), *(RUNTIME / s for s in COMMON)]
    library = compile_shared(sources, [folder, RUNTIME / "include"], folder / "model.so", UBSAN)
    inputs, ids = random_inputs(reasoner, 1)
    return str(outcome(EngineRun(HostEngine(library, folder / "model.rcm")), inputs, ids)[-1] == "refused")


@pytest.mark.parametrize("shape, precision, carry", [
    ("token mix", "int4", "int8"), ("attention", "int8", "fp16"), ("attention", "int4", "int8"),
])  # fmt: skip
def test_no_behaviour_is_undefined(shape, precision, carry, tmp_path):
    need("host")
    program = (
        "import sys; from pathlib import Path; from tests.codegen.test_not_finite import sanitized; "
        "print([sanitized(Path(sys.argv[1]) / str(s), *sys.argv[2:5], s) for s in (0, 1)])"
    )
    command = [sys.executable, "-c", program, str(tmp_path), shape, precision, carry]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.returncode == 0 and "True" in done.stdout, (done.returncode, done.stdout, done.stderr[-2000:])


@pytest.mark.parametrize("name, precision, carry", [
    ("mps2-an500", "int4", "fp16"), ("mps3-an547", "int8", "int8"), ("riscv32-v-virt", "int4", "fp32"),
])  # fmt: skip
def test_emulated_cores_agree(name, precision, carry, tmp_path):
    """Keys that overflow, of which only scores could tell: the vector units of two of them take a NaN for no number at all."""
    need(name)
    board, reasoner = load_board(name), SHAPES["attention"]()
    model = quantize_model(reasoner, precision_named(precision), method="min-max", carry=carry)
    qkv = next(n for n in model.weights if "qkv" in n)
    scale = np.array(model.weights[qkv].scale)
    scale[len(scale) // 3 : 2 * len(scale) // 3] = np.float32(3e38)
    model = replace(model, weights={**model.weights, qkv: replace(model.weights[qkv], scale=scale)})
    inputs, ids = random_inputs(reasoner, 1)
    assert outcome(TwinRun(model), inputs, ids) == ["refused"]
    with connect(board, emulated_firmware(tmp_path, board, model), "qemu", step_timeout=60) as session:
        session.load(inputs[0])
        with pytest.raises(DeviceRefusedError, match="not a finite number") as e:
            run_all(session, STEPS, puzzle=int(ids[0]))
        assert e.value.status == STATUS_NUMBER
        with pytest.raises(DeviceRefusedError) as e:
            session.read_raw("z_H")
        assert e.value.status == STATUS_STATE


def test_a_finished_puzzle_goes_no_further(tmp_path):
    need("host")
    reasoner = SHAPES["token mix"]()
    model = quantize_model(reasoner, precision_named("int8"))
    inputs, ids = random_inputs(reasoner, 1)
    twin, engine = Twin(model), compile_model(tmp_path / "m", model)
    twin.begin(inputs, ids)
    engine.begin(inputs[0], int(ids[0]))
    for _ in range(STEPS):
        twin.step()
        engine.step()
    before = engine.carry_bytes(), engine.raw("logits"), engine.raw("q")
    for step in (twin.step, engine.step, lambda: engine.run_ops(1), lambda: engine.run_ops(engine.ops)):
        with pytest.raises(InputError, match="all compiled supervision steps"):
            step()
    assert (engine.carry_bytes(), engine.raw("logits"), engine.raw("q")) == before
    engine.begin(inputs[0], int(ids[0]))
    engine.step()


def main() -> None:
    """`python -m tests.codegen.test_not_finite N`: N poisoned models of every kind, all targets of this computer."""
    import tempfile

    count, refused, wrong, top = int(sys.argv[1]), 0, [], tempfile.mkdtemp()
    for seed in range(count):
        rng = np.random.default_rng(seed)
        kind = tuple(str(rng.choice(list(c))) for c in (SHAPES, ("fp32", "int8", "int4"), ("fp32", "fp16", "int8")))
        is_refused, why = disagreement(Path(top) / str(seed), *kind, seed, Path(top))
        refused += is_refused
        wrong += [f"{seed} {kind}: {why}"] if why else []
    print(f"{count} models, {refused} refused, {len(wrong)} disagreements", *wrong, sep="\n  ")
    raise SystemExit(bool(wrong))


if __name__ == "__main__":
    main()
