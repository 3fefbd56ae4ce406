"""Runs supervision steps in onnxruntime, as told: one JSON command a line on stdin, one JSON answer a line on stdout.

Runs in the peer's environment: `python -m benchmarks.onnx_worker FOLDER`, FOLDER holding model.npz. Commands:
{"run": VARIANT, "threads": 1 or 2, "puzzles": 1 or 2}: one step; with two puzzles each runs on a thread of its own.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from benchmarks.onnx_block import Export, Feed, export_block, export_heads, quantized


class Runner:
    """One variant with a number of threads: the loop of block calls in Python, as any user would write it."""

    def __init__(self, model: Export, block: Path, heads: Path, threads: int) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3
        self.block, self.heads = (
            ort.InferenceSession(str(p), options, providers=["CPUExecutionProvider"]) for p in (block, heads)
        )
        self.model = model

    def step(self, x: np.ndarray, observe: Callable[[Feed], None] = lambda feed: None) -> np.ndarray:
        """One supervision step from the initial carry on; returns z_H [S, D]."""
        h_cycles, l_cycles = self.model.cycles
        z_h, z_l = (np.broadcast_to(self.model.arrays[n], x.shape).astype(np.float32) for n in ("h_init", "l_init"))

        def call(z: np.ndarray, injection: np.ndarray) -> np.ndarray:
            feed = {"z": z, "injection": injection}
            observe(feed)
            return self.block.run(None, feed)[0]

        for _ in range(h_cycles):
            for _ in range(l_cycles):
                z_l = call(z_l, z_h + x)
            z_h = call(z_h, z_l)
        logits, _ = self.heads.run(None, {"z": z_h})
        logits.argmax(axis=-1)
        return z_h


def timed(steps: list[Callable[[], Any]]) -> dict[str, float]:
    """Milliseconds of steps that run side by side: wall and this process's CPU time."""
    workers = [threading.Thread(target=step) for step in steps[1:]]
    wall, cpu = time.perf_counter(), time.process_time()
    for worker in workers:
        worker.start()
    steps[0]()
    for worker in workers:
        worker.join()
    return {"wall": 1e3 * (time.perf_counter() - wall), "cpu": 1e3 * (time.process_time() - cpu)}


def main(folder: Path) -> None:
    """Export, quantize, run one step of each variant (results.npz: z_H by variant), then obey."""
    logging.disable(logging.INFO)  # onnxruntime's tools say what they do, node by node
    with np.load(folder / "model.npz") as stored:
        model = Export(dict(stored))
    block, heads = export_block(model, folder / "block.onnx"), export_heads(model, folder / "heads.onnx")
    exact, feeds = Runner(model, block, heads, 1), []
    for x in model.x[1:]:
        exact.step(x, feeds.append)
    blocks = quantized(block, folder, feeds)
    head_feeds = [{"z": feed["z"]} for feed in feeds]
    runners = {}
    heads_of = quantized(heads, folder, head_feeds)
    for name in blocks:
        for threads in (1, 2):
            runners[name, threads] = Runner(model, blocks[name], heads_of[name], threads)
        runners[name, 0] = Runner(model, blocks[name], heads_of[name], 1)  # the second puzzle's
    results = {name: runners[name, 1].step(model.x[0]) for name in blocks}
    np.savez(folder / "results.npz", **results)
    print(json.dumps({"version": ort.__version__, "variants": list(blocks)}), flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        first = runners[order["run"], order["threads"] if order["puzzles"] == 1 else 1]
        second = runners[order["run"], 0]
        steps = [lambda r=r: r.step(model.x[0]) for r in (first, second)[: order["puzzles"]]]
        print(json.dumps(timed(steps)), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
