"""Writes benchmarks/host.md and host.png: a step on this computer beside onnxruntime, `recurc eval` beside torch.

    python benchmarks/host.py                   measure, then write (some minutes)
    python benchmarks/host.py --rounds 3        faster, noisier
    python benchmarks/host.py --no-measure      write again what was measured last (host.json)

onnxruntime is installed into an environment of its own (build/benchmarks/onnxruntime). The same weights run in turns, one
step each, so that all meet the same load.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch

import recurc
from benchmarks.common import ENVIRONMENTS, FOLDER, ROOT, peer_python, table
from recurc.evaluate.fidelity import carry_fidelity
from recurc.evaluate.runs import run_engine
from recurc.make.project import compile_host_engine
from recurc.models.reference import Reference
from recurc.targets.host import HostEngine

MEASURED, PAGE, PLOT = FOLDER / "host.json", FOLDER / "host.md", FOLDER / "host.png"
MODEL = ROOT / "examples" / "models" / "sudoku9-paper"
CYCLES = {"h_cycles": 3, "l_cycles": 6}  # the published depth: 21 block calls a step, 12.8 GMAC
PRECISIONS = ("fp32", "int8", "int4")
CASES = ({"threads": 1, "puzzles": 1}, {"threads": 2, "puzzles": 1}, {"threads": 2, "puzzles": 2})
EVAL_PUZZLES = 16
PEAK_SOURCE = FOLDER / "firmware" / "vnni_peak.c"
BEST_INT8 = ("int8 dynamic", "int8 static")


def key(threads: int, puzzles: int) -> str:
    return f"{threads} threads, {puzzles} puzzles"


# -- the peer -------------------------------------------------------------------------------------------------------------


def export(model: recurc.Model, inputs: np.ndarray, ids: np.ndarray, folder: Path) -> None:
    """model.npz for the peer: weights in fp32 and the input rows of some puzzles."""
    w, c = model.reasoner.tensors, model.config
    arrays = {
        "h_init": w["H_init"],
        "l_init": w["L_init"],
        "lm_head": w["lm_head.weight"],
        "q_head": w["q_head.weight"],
        "q_bias": w["q_head.bias"],
        "eps": c.rms_norm_eps,
        "cycles": tuple(CYCLES.values()),
        "layers": dict(c.levels)["L_level"],
    }
    for i in range(arrays["layers"]):
        for part, name in (("mlp_t", "token_"), ("mlp", "")):
            prefix = f"L_level.layers.{i}.{part}"
            arrays[f"{i}.{name}up"] = w[f"{prefix}.gate_up_proj.weight"]
            arrays[f"{i}.{name}down"] = w[f"{prefix}.down_proj.weight"]
    x = Reference(model.reasoner).embed(torch.from_numpy(inputs.astype(np.int64)), torch.from_numpy(ids.astype(np.int64)))
    whole = ("cycles", "layers")
    np.savez(
        folder / "model.npz",
        x=x.numpy(),
        **{n: np.asarray(a, dtype=np.int64 if n in whole else np.float32) for n, a in arrays.items()},
    )


class Peer:
    """onnxruntime in its own environment and process."""

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(
            [str(peer_python("onnxruntime")), "-W", "ignore", "-m", "benchmarks.onnx_worker", str(folder)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.about = self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        while line := self._process.stdout.readline():
            if line.startswith("{"):
                return json.loads(line)
        raise SystemExit(f"the peer ended with status {self._process.wait()}; it says why above")

    def run(self, name: str, case: dict[str, int]) -> dict[str, float]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"run": name, **case}) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def multiplication_peak() -> float | None:
    """GMAC a second that one core does when it does nothing but multiply bytes (VPDPBUSD); None where it has no such thing."""
    if "avx512_vnni" not in Path("/proc/cpuinfo").read_text(encoding="utf-8"):
        return None
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "peak"
        subprocess.run(["gcc", "-O2", "-march=native", str(PEAK_SOURCE), "-o", str(program)], check=True)
        return round(float(subprocess.run([str(program)], capture_output=True, text=True, check=True).stdout), 1)


# -- measuring ------------------------------------------------------------------------------------------------------------


def timed(engines: list[HostEngine]) -> dict[str, float]:
    """Milliseconds of one step of each engine, side by side: wall and this process's CPU time."""
    workers = [threading.Thread(target=e.step) for e in engines[1:]]
    wall, cpu = time.perf_counter(), time.process_time()
    for worker in workers:
        worker.start()
    engines[0].step()
    for worker in workers:
        worker.join()
    return {"wall": 1e3 * (time.perf_counter() - wall), "cpu": 1e3 * (time.process_time() - cpu)}


def summary(runs: list[dict[str, float]], puzzles: int) -> dict[str, float]:
    """Milliseconds a step and puzzle."""
    wall, cpu = ([r[k] / puzzles for r in runs] for k in ("wall", "cpu"))
    figures = {"wall": statistics.median(wall), "wall_best": min(wall), "cpu": statistics.median(cpu)}
    return {name: round(value, 1) for name, value in figures.items()}


def measure_steps(rounds: int) -> dict[str, Any]:
    model, data = recurc.load(MODEL), recurc.load_dataset(MODEL / "data", "test")
    inputs, ids = data.inputs[:4], data.puzzle_ids[:4]
    train = recurc.load_dataset(MODEL / "data", "train")
    state = next(iter(Reference(model.reasoner).steps(inputs[:1], ids[:1], model.config.trained.but(steps=1, **CYCLES))))
    exact = state.z_H.numpy()[0]
    ENVIRONMENTS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ENVIRONMENTS, prefix="host-") as name:
        folder = Path(name)
        export(model, inputs, ids, folder)
        peer = Peer(folder)
        engines: dict[str, HostEngine] = {}
        for precision in PRECISIONS:
            quantized = model.quantize(precision, train if precision == "int4" else None, puzzles=8, **CYCLES)
            engines[precision] = compile_host_engine(folder / precision, quantized.model)
            engines[precision].begin(inputs[0], int(ids[0]))
        seconds = {e: e.clone() for e in engines.values()}
        carries: dict[str, np.ndarray] = {}
        for precision, engine in engines.items():
            seconds[engine].begin(inputs[0], int(ids[0]))
            engine.step()
            carries[f"recurc {precision}"] = engine.tensor("z_H")
        with np.load(folder / "results.npz") as stored:
            carries |= {f"onnxruntime {v}": stored[v] for v in peer.about["variants"]}
        difference = float(np.abs(carries["onnxruntime fp32"] - exact).max())
        if difference > 1e-2:
            raise SystemExit(f"the exported graph is not this model: z_H differs by {difference:.3g} after a step")
        subjects: dict[str, Callable[[dict[str, int]], dict[str, float]]] = {}
        for variant in peer.about["variants"]:
            subjects[f"onnxruntime {variant}"] = lambda case, v=variant: peer.run(v, case)
        for precision, engine in engines.items():
            subjects[f"recurc {precision}"] = lambda case, e=engine: timed([e, seconds[e]][: case["puzzles"]])
        runs: dict[str, dict[str, list]] = {s: {} for s in subjects}
        load = [os.getloadavg()[0]]
        for turn in range(rounds + 1):  # the first turn warms up
            for case in CASES:
                for name, run in subjects.items():
                    if name.startswith("recurc") and case == CASES[1]:
                        continue  # one puzzle keeps to one thread here
                    result = run(case)
                    if turn:
                        runs[name].setdefault(key(**case), []).append(result)
            load.append(os.getloadavg()[0])
            print(f"host: round {turn} of {rounds}, load {load[-1]:.1f}", file=sys.stderr)
        peer.close()
    return {
        "onnxruntime": peer.about["version"],
        "kernels": engines["int8"].kernels,
        "rounds": rounds,
        "macs_per_step": quantized.model.program.macs_per_step,
        "load": [round(min(load), 1), round(max(load), 1)],
        "fp32_difference": float(f"{difference:.2g}"),
        "fidelity": {n: round(float(carry_fidelity(z[None], exact[None]).mean()), 5) for n, z in carries.items()},
        "steps": {n: {c: summary(r, 2 if c.endswith("2 puzzles") else 1) for c, r in by.items()} for n, by in runs.items()},
    }


def measure_eval() -> dict[str, Any]:
    """Puzzles a second: all steps of the model as trained, with what `recurc eval` runs and with the torch reference."""
    model, data = recurc.load(MODEL), recurc.load_dataset(MODEL / "data", "test")
    inputs, ids, steps = data.inputs[:EVAL_PUZZLES], data.puzzle_ids[:EVAL_PUZZLES], model.config.halt_max_steps
    found: dict[str, Any] = {"puzzles": EVAL_PUZZLES, "steps": steps, "rates": {}}

    def rate(run: Callable[[], Any]) -> dict[str, float]:
        wall, cpu = time.perf_counter(), time.process_time()
        run()
        return {
            "wall": round(EVAL_PUZZLES / (time.perf_counter() - wall), 2),
            "cpu": round(EVAL_PUZZLES / (time.process_time() - cpu), 2),
        }

    for precision in PRECISIONS:
        with tempfile.TemporaryDirectory() as folder:
            engine = compile_host_engine(Path(folder), model.quantize(precision).model)
        run_engine(engine, inputs[:2], ids[:2], 1)
        found["rates"][f"recurc {precision}"] = rate(lambda e=engine: run_engine(e, inputs, ids, steps))
    reference = Reference(model.reasoner)
    found["rates"]["torch fp32 reference"] = rate(lambda: list(reference.steps(inputs, ids, steps)))
    found["torch"] = torch.__version__
    return found


# -- the page -------------------------------------------------------------------------------------------------------------


def cpu_name() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown CPU")


def best_int8(steps: dict[str, Any], case: str, what: str) -> float:
    return min(steps[f"onnxruntime {name}"][case][what] for name in BEST_INT8)


def limit(measured: dict[str, Any]) -> str:
    """What the hardware leaves to be won: a paragraph, or nothing where the peak is not known."""
    if not measured.get("peak"):
        return ""
    one, m = key(**CASES[0]), measured["steps"]
    floor, peer = m["macs_per_step"] / measured["peak"] / 1e6, best_int8(m["steps"], one, "wall_best")
    ours = m["steps"]["recurc int8"][one]["wall_best"]
    took, gmac = f"{floor:.1f} ms, {floor / peer:.2f} times", m["macs_per_step"] / 1e9
    return f"""
How far the hardware goes: one core here does {measured["peak"]:.0f} GMAC a second in a loop of nothing but VPDPBUSD on
registers, so the {gmac:.1f} GMAC alone take {took} onnxruntime's best int8 ({peer:.1f} ms; best runs).
recurc's int8 takes {ours:.1f} ms, {100 * floor / ours:.0f} % of that peak with quantizing, SiLU, norms and transposes included.
"""


def page(measured: dict[str, Any]) -> str:
    """The page, from the figures alone."""
    m, steps, e = measured["steps"], measured["steps"]["steps"], measured["eval"]
    one, split, two = (key(**case) for case in CASES)
    rows = [
        [
            n,
            by[one]["cpu"],
            by[one]["wall"],
            by[one]["wall_best"],
            f"{by[one]['cpu'] / best_int8(steps, one, 'cpu'):.2f} x",
            f"{by[one]['wall'] / best_int8(steps, one, 'wall'):.2f} x",
            f"{m['fidelity'][n]:.4f}",
        ]
        for n, by in steps.items()
    ]
    pairs = [
        [
            n,
            by[split if split in by else one]["wall"],
            by[two]["wall"],
            by[two]["wall_best"],
            f"{by[two]['wall'] / best_int8(steps, two, 'wall'):.2f} x",
        ]
        for n, by in steps.items()
    ]
    rates = [[n, r["wall"], r["cpu"]] for n, r in e["rates"].items()]
    header = [
        "runtime",
        "CPU, median",
        "wall, median",
        "wall, best",
        "CPU / onnxruntime's best int8",
        "wall / onnxruntime's best int8",
        "fidelity after one step",
    ]
    return f"""# A supervision step on this computer

Written by `python benchmarks/host.py`; the figures are in `host.json`. {measured["cpu"]}, {measured["cores"]} cores;
recurc with kernels "{m["kernels"]}", onnxruntime {m["onnxruntime"]}, torch {e["torch"]}. Model: sudoku9-paper (S = 97,
D = 512) at the published depth of 21 block calls, {m["macs_per_step"] / 1e9:.1f} GMAC a step. The runtimes took turns, one
step each, {m["rounds"]} rounds. The load average of the machine was {m["load"][0]} to {m["load"][1]} meanwhile: it is
shared, so CPU time (of the whole process) tells more than wall time.

Included on both sides is a whole step. onnxruntime runs one graph a block call, with residual additions, norms and SiLU
in it (fused where it can), and one graph for the heads; the loop is in Python. The weights are the same. onnxruntime's int8
has a scale an output channel for weights and a scale a tensor for activations, computed anew (dynamic) or calibrated on three
puzzles (static, only MatMul quantized); MatMulNBits has blocks of 32 with zero points, and computes in int8 (accuracy level 4)
or fp32. recurc has a scale a channel for weights and a scale a row for activations, computed anew. The exported fp32 graph
gives our fp32 reference's z_H within {m["fp32_difference"]}; fidelity is the cosine with it.

## One thread, one puzzle: milliseconds a step

{table(header, rows)}
{limit(measured)}
![milliseconds of CPU time a step](host.png)

## Two threads: milliseconds a step and puzzle

{table(["runtime", "one puzzle, median", "two puzzles, median", "two puzzles, best", "two / onnxruntime's best int8"], pairs)}

recurc runs a puzzle on one thread whatever is allowed, so its first column is that of the table above, and several puzzles side
by side. onnxruntime's int8 graphs lose time when a second thread joins at this size.

## Puzzles a second of `recurc eval`

{e["puzzles"]} puzzles of {e["steps"]} steps at the model's own depth, as many threads as cores. A CPU second is one core's.

{table(["", "puzzles a second", "puzzles a CPU second"], rates)}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description="Host benchmark: writes benchmarks/host.md and host.png.")
    parser.add_argument("--rounds", type=int, default=11, help="rounds of measured steps")
    parser.add_argument("--no-measure", action="store_true", help="write the page from host.json")
    args = parser.parse_args()
    if not args.no_measure:
        measured = {
            "cpu": cpu_name(),
            "cores": os.cpu_count(),
            "peak": multiplication_peak(),
            "steps": measure_steps(args.rounds),
            "eval": measure_eval(),
        }
        MEASURED.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
    measured = json.loads(MEASURED.read_text(encoding="utf-8"))
    from benchmarks.host_plot import draw

    text = page(measured)
    PAGE.write_text(text, encoding="utf-8")
    draw(PLOT, measured["steps"]["steps"])
    print(text)


if __name__ == "__main__":
    main()
