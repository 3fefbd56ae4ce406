"""Writes benchmarks/memory.md and memory.png: RAM of recurc beside TensorFlow Lite Micro's arena for the same step.

    python benchmarks/memory.py                 measure the peer, then write
    python benchmarks/memory.py --no-peer       write with the peer's figures measured last (tflm_memory.json)

The peer is installed into an environment of its own (build/benchmarks/tflm).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import recurc
from benchmarks.common import FOLDER, ROOT, peer_python, table, times
from benchmarks.own_memory import CARRIES, PRECISIONS, Figures, own_figures
from benchmarks.shapes import PLANNED, SUBJECTS, Subject
from recurc.ir.lower import lower
from recurc.plan.budget import parameter_count

MEASURED = FOLDER / "tflm_memory.json"
PAGE = FOLDER / "memory.md"
PLOT = FOLDER / "memory.png"
WEIGHTS = {
    "float32": "float32",
    "int8": "int8, a scale a tensor",
    "int8-channel": "int8, a scale a channel",
    "int4": "int4, a scale a tensor",
}
GRAPHS = {"call": "one block call", "step": "one step, unrolled", "while": "one step, WHILE loops"}


def peer_cases(subject: Subject) -> list[dict[str, Any]]:
    """What is measured of the peer for one shape. Long graphs of the large shape are allocated but not run."""
    variants = [(weights, graph, "one by one") for weights in WEIGHTS for graph in GRAPHS]
    variants = [v for v in variants if v[0] != "float32" or v[1] == "call"]
    if subject.config.mixer == "attention":
        variants += [("int8", graph, "together") for graph in GRAPHS]
    return [
        {
            "subject": subject.key,
            "shape": subject.block(),
            "variant": {"weights": weights, "graph": graph, "heads": heads},
            "invoke": graph == "call" or subject.config.rows < 256,
        }
        for weights, graph, heads in variants
    ]


def measure_peer() -> dict[str, Any]:
    """Measure every case in the peer's environment."""
    cases = [case for subject in SUBJECTS for case in peer_cases(subject)]
    command = [str(peer_python("tflm")), "-m", "benchmarks.tflm_measure"]
    done = subprocess.run(command, cwd=ROOT, input=json.dumps(cases), text=True, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def results_of(measured: dict[str, Any], subject: Subject) -> list[dict[str, Any]]:
    """The peer's results for a shape as it is now.

    Raises:
        ValueError: they were measured for other shapes or variants.
    """
    found = [r for r in measured["results"] if r["subject"] == subject.key]
    if [{key: r[key] for key in ("subject", "shape", "variant", "invoke")} for r in found] != peer_cases(subject):
        raise ValueError(f"{MEASURED.name} has other cases than {subject.key} has now; run without --no-peer")
    return found


def kept(subject: Subject, graph: str) -> int:
    """int8 bytes that the application keeps beside the arena between calls: the state that a call does not return."""
    return subject.config.rows * subject.config.hidden_size if graph == "call" else 0


def peer_label(result: dict[str, Any], attention: bool) -> str:
    label = WEIGHTS[result["variant"]["weights"]]
    return f"{label}; heads {result['variant']['heads']}" if attention else label


def peer_table(subject: Subject, results: list[dict[str, Any]]) -> str:
    rows = []
    for r in results:
        v = r["variant"]
        width = 4 if v["weights"] == "float32" else 1
        rows.append(
            (
                peer_label(r, subject.config.mixer == "attention"),
                GRAPHS[v["graph"]],
                r["file_bytes"],
                r["head"],
                r["tail"],
                r["total"],
                width * kept(subject, v["graph"]),
            )
        )
    return table(("weights", "graph", "model file", "activations", "metadata", "arena", "kept beside"), rows, 2)


def own_table(figures: list[Figures]) -> str:
    rows = []
    for f in figures:
        name = (f.board, f.precision, f.carry)
        if f.problem:
            rows.append(
                (
                    *name,
                    f.image,
                    None,
                    None,
                    None,
                    None,
                    f.least,
                    None,
                    None,
                    None,
                    None,
                    f.problem.removeprefix(f"does not fit {f.board}: "),
                )
            )
        else:
            rows.append(
                (
                    *name,
                    f.image,
                    f.kinds["carry"],
                    f.kinds["kv"],
                    f.kinds["scratch"],
                    f.kinds["io"],
                    f.least,
                    f.arena,
                    f.data,
                    f.stack,
                    f.ram,
                    "fits",
                )
            )
    header = (
        "board",
        "weights",
        "carry",
        "image",
        "z_H + z_L",
        "K, V, mixed",
        "scratch",
        "in, out",
        "least arena",
        "arena",
        "data",
        "stack",
        "RAM in all",
        "verdict",
    )
    return table(header, rows, 3)


def ratio_table(subject: Subject, results: list[dict[str, Any]], figures: list[Figures]) -> str:
    """Theirs over ours; theirs is the smallest of each form of graph, with what the application keeps beside it."""

    def least(precision: str, graph: str) -> int:
        return kept(subject, graph) + min(
            r["total"] for r in results if r["variant"]["graph"] == graph and r["variant"]["weights"].startswith(precision)
        )

    rows = []
    for f in figures:
        if f.problem is None:
            theirs = [least(f.precision, graph) for graph in GRAPHS]
            rows.append(
                (f.board, f.precision, f.carry, f.arena, *(times(t, f.arena) for t in theirs), f.ram, times(min(theirs), f.ram))
            )
    header = (
        "board",
        "weights",
        "carry",
        "our arena",
        *(f"theirs: {text}" for text in GRAPHS.values()),
        "our RAM in all",
        "their least / that",
    )
    return table(header, rows, 3)


def subject_section(subject: Subject, results: list[dict[str, Any]], figures: list[Figures]) -> str:
    b = subject.block()
    mixing = f"token mixing {b['inner_t']} wide" if b["inner_t"] else f"{b['heads']} heads"
    calls = b["h_cycles"] * (b["l_cycles"] + 1)
    return f"""## {subject.title}

S = {b["rows"]} rows, D = {b["hidden"]}, {mixing}, channel mixing {b["inner"]} wide, {b["layers"]} layers. One supervision step
is {calls} block calls. z_H and z_L alone are {2 * b["rows"] * b["hidden"]:,} bytes in int8.

TensorFlow Lite Micro, bytes:

{peer_table(subject, results)}

recurc, bytes. One firmware runs calls, steps and puzzles: the figures do not depend on the depth.

{own_table(figures)}

Theirs / ours at the same width of weights. Theirs: the smallest arena of each form of graph, and what is kept beside it.

{ratio_table(subject, results, figures)}
"""


def planned_section(subject: Subject) -> str:
    """Our side alone, for a model of two blocks."""
    c, program = subject.config, lower(subject.config)
    layers = " and ".join(f"{count} in {name}" for name, count in c.levels)
    return f"""## {subject.title}

Planned only: the peer's graphs have one block. S = {c.rows} rows, D = {c.hidden_size}, {c.num_heads} heads, channel mixing
{c.inter} wide, layers: {layers}; {parameter_count(program):,} parameters. One supervision step is
{program.calls_per_step} block calls.

{own_table(figures_of(subject))}
"""


def page(measured: dict[str, Any]) -> str:
    """The whole of memory.md."""
    sections = "\n".join(
        [*(subject_section(s, results_of(measured, s), figures_of(s)) for s in SUBJECTS), *map(planned_section, PLANNED)]
    )
    return f"""<!-- Written by `python benchmarks/memory.py`; do not edit. -->
# RAM beside TensorFlow Lite Micro

recurc {recurc.__version__}, tflite-micro {measured["versions"]["tflite-micro"]}.
`python benchmarks/memory.py` (or `make bench-memory`) makes this page: it installs the peer into an environment of its
own, writes the same step as .tflite files and asks the peer's recording interpreter what it allocates.

![RAM of one supervision step](memory.png)

What the figures are:

* **Their arena** holds activations, scratch buffers and the interpreter's data on tensors and operators ("metadata"); no
  code, no stack, no .data, no heads. The wheel is a 64-bit build, so pointers in the metadata are twice as wide as on a
  32-bit part; activations are the same. The kernels are the reference ones; optimised ones may ask for more scratch. An
  arena of the recorded size is accepted: that is checked for every row.
* **Kept beside**: with a graph of one block call the loop is the application's. z_L, z_H and X are the graph's inputs and
  may be overwritten during the call, so at least the state that the call does not return has to be kept elsewhere (X is
  looked up again).
* **Our arena** holds z_H and z_L with their scales, keys, values and mixed values of attention, scratch of one tile (the
  logits take its place after a step), inputs and tokens. Data (.data, .bss) and stack are the planner's figures and come on
  top in "RAM in all". Code and weights are in flash on both sides. "Least arena": with tiles of one row.
* **Their graphs** are written by hand with memory in mind: wide tensors in the order that keeps fewest alive, V transposed
  by an operator (inside BATCH_MATMUL it would cost persistent memory), in attention one head after the other ("heads
  together" is what a converter emits). Cutting a graph further into tiles of rows was not tried.
  Activations are int8 except in the float32 row. RMSNorm is MUL, MEAN, RSQRT and MUL in int8, all of which the runtime has.
* **Depth**: unrolling repeats operators, not weights, but each operator has metadata, and with a scale a channel a table of
  multipliers. WHILE copies the loop's state in and out of each body, and here there are two loops, one in the other.
  int4 weights are unpacked into the arena, a matrix at a time, and take one scale a tensor.
* **Not the same arithmetic**: their int8 activations, states among them, have one static scale a tensor; ours have one a
  row, found while running, and the carry is what the column says. This page compares memory only; weights are random.
* The maze's steps were allocated but not run; all other graphs ran once.

{sections}"""


def figures_of(subject: Subject) -> list[Figures]:
    return [
        own_figures(subject.config, board, precision, carry)
        for board in subject.boards
        for precision in PRECISIONS
        for carry in CARRIES
    ]


def dump(measured: dict[str, Any]) -> str:
    """JSON with one result a line."""
    lines = ",\n".join(json.dumps(r) for r in measured["results"])
    return f'{{"versions": {json.dumps(measured["versions"])},\n"results": [\n{lines}\n]}}\n'


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--no-peer", action="store_true", help="take the peer's figures of the last measurement")
    try:
        if not parser.parse_args().no_peer:
            MEASURED.write_text(dump(measure_peer()), encoding="utf-8")
        measured = json.loads(MEASURED.read_text(encoding="utf-8"))
        PAGE.write_text(page(measured), encoding="utf-8")
    except subprocess.CalledProcessError as e:
        print(
            f"benchmarks: {Path(e.cmd[0]).name} {' '.join(e.cmd[1:3])} failed, see above. The peer has a wheel for CPython "
            "3.11 on x86-64 Linux only; --no-peer does without.",
            file=sys.stderr,
        )
        return 6
    except ValueError as e:
        print(f"benchmarks: {e}", file=sys.stderr)
        return 3
    from benchmarks.memory_plot import draw  # matplotlib is an extra

    draw(PLOT, [(s.title, results_of(measured, s), figures_of(s)) for s in SUBJECTS])
    print(f"wrote {PAGE.relative_to(ROOT)}, {PLOT.relative_to(ROOT)}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
