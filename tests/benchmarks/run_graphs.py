"""Runs in the peer's environment: block graphs of one shape with given weights and inputs, outputs into a file.

argv: file with weights by name and "input.0".. "input.2"; file to write; then JSON: {"shape": ..., "variants": {name: ...}}.
"""

import json
import sys

import numpy as np

from benchmarks.tflm_graphs import Shape, Variant, build
from benchmarks.tflm_measure import run


def main() -> None:
    given = dict(np.load(sys.argv[1]))
    wanted = json.loads(sys.argv[3])
    inputs = [given.pop(f"input.{i}") for i in range(3)]
    found = {}
    for name, variant in wanted["variants"].items():
        variant = Variant(**variant)
        count = 1 if variant.graph == "call" else 2
        outputs, arena = run(build(Shape(**wanted["shape"]), variant, given), inputs, count)
        for i, output in enumerate(outputs):
            found[f"{name}.{i}"] = output
        found[f"{name}.arena"] = np.array([arena[key] for key in ("head", "tail", "total")])
    np.savez(sys.argv[2], **found)


if __name__ == "__main__":
    main()
