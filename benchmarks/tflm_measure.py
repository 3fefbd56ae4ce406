"""Runs in the peer's environment: builds .tflite files, loads them into the recording interpreter, prints what it allocates.

    python -m benchmarks.tflm_measure <cases.json

stdin: [{"shape": {...}, "variant": {...}, "invoke": bool}, ...]; stdout: {"versions": {...}, "results": [...]}, a result a
case: file_bytes, head (activations and scratch), tail (what persists: tensor and operator data), total, in bytes.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from importlib.metadata import version
from typing import Any

import numpy as np
from tflite_micro import runtime

from benchmarks.tflm_graphs import Shape, Variant, build

ROOMY = 128 << 20
ALIGN = 64


def recorded(interpreter: runtime.Interpreter) -> dict[str, int]:
    """The arena's use; the interpreter only prints it, on the process's stderr."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as file:
        kept = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            interpreter.print_allocations()
        finally:
            os.dup2(kept, 2)
            os.close(kept)
        file.seek(0)
        text = file.read().decode()
    found = dict(re.findall(r"Arena allocation (total|head|tail) (\d+) bytes", text))
    if set(found) != {"total", "head", "tail"}:
        raise RuntimeError(f"the recording interpreter printed something else than expected:\n{text}")
    return {key: int(value) for key, value in found.items()}


def run(
    model: bytes, inputs: list[np.ndarray] | None = None, outputs: int = 1, arena: int = ROOMY
) -> tuple[list[np.ndarray], dict[str, int]]:
    """Run a model once; returns its outputs and the arena's use. Inputs left out are random, of unit variance."""
    interpreter = runtime.Interpreter.from_bytes(model, arena_size=arena)
    rng = np.random.default_rng(1)
    for i in range(3):
        details = interpreter.get_input_details(i)
        x = rng.standard_normal(details["shape"]) if inputs is None else inputs[i]
        if details["dtype"] == np.int8:
            quantization = details["quantization_parameters"]
            x = np.clip(np.rint(x / quantization["scales"][0]) + quantization["zero_points"][0], -128, 127)
        interpreter.set_input(np.asarray(x, dtype=details["dtype"]), i)
    interpreter.invoke()
    return [interpreter.get_output(i) for i in range(outputs)], recorded(interpreter)


def measure(case: dict[str, Any]) -> dict[str, int]:
    """One case's figures.

    Raises:
        RuntimeError: the interpreter refuses the model, or it computes constants, so the graph would be wrong.
    """
    model = build(Shape(**case["shape"]), Variant(**case["variant"]))
    if case["invoke"]:
        (out,), arena = run(model)
        if not 0.5 < out.std() / (1.0 if out.dtype == np.float32 else 255 / 12) < 1.5:
            raise RuntimeError(f"the output's deviation is {out.std()}, and after a norm it should be 1")
    else:
        arena = recorded(runtime.Interpreter.from_bytes(model, arena_size=ROOMY))
    # What was recorded is also enough: an arena of just that size is accepted.
    runtime.Interpreter.from_bytes(model, arena_size=-(-arena["total"] // ALIGN) * ALIGN)
    return {"file_bytes": len(model), **arena}


def main() -> None:
    cases = json.load(sys.stdin)
    results = []
    for i, case in enumerate(cases):
        print(f"benchmarks: {i + 1}/{len(cases)} {case['variant']}", file=sys.stderr, flush=True)
        results.append({**case, **measure(case)})
    json.dump({"versions": {"tflite-micro": version("tflite-micro")}, "results": results}, sys.stdout)


if __name__ == "__main__":
    main()
