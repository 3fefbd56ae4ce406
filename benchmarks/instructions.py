"""Instructions of our kernels in the emulator, beside what CMSIS-NN was measured to take.

`python benchmarks/instructions.py` measures every board (minutes), writes instructions.json, and from it instructions.md and
instructions.png. `--boards NAME,...` measures some and keeps what is known of the others; `--boards none` only writes;
`--short` keeps what is known of steps at full depth, which take longest.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import counting, modelled  # noqa: E402  found through the path set above
from benchmarks.common import FOLDER, table  # noqa: E402
from benchmarks.instructions_plot import draw  # noqa: E402
from benchmarks.shapes import SUBJECTS  # noqa: E402
from recurc.plan.kernels import choose_kernels  # noqa: E402
from recurc.plan.layout import MAX_SCRATCH  # noqa: E402
from recurc.quant.model import QuantizedModel, quantize_model  # noqa: E402
from recurc.quant.weights import precision_named  # noqa: E402
from recurc.targets.boards import load_board  # noqa: E402
from recurc.targets.toolchain import find_compiler  # noqa: E402

DATA, PAGE, PLOT = (FOLDER / f"instructions.{ending}" for ending in ("json", "md", "png"))
CORES = {
    "mps2-an500": "Cortex-M7",
    "mps2-an386": "Cortex-M4",
    "mps2-an505": "Cortex-M33",
    "mps3-an547": "Cortex-M55",
    "riscv32-virt": "RV32IMAFC",
    "riscv32-v-virt": "RV32 + V, vlen 128",
}
CONFIG = SUBJECTS[0].config
FULL = ("int4", "int8")  # precisions whose steps are measured at full depth too, not only at the least
MODELLED = {"mps2-an500": "cortex-m7", "mps3-an547": "cortex-m55"}  # board -> core whose cycles are modelled
SCRATCH_BOARD = "mps2-an500"
LARGE_SCRATCH = 120 * 1024
FUNCTIONS = {"int4": "_s4", "int8": "_s8", "int4-g32": "_g32"}  # in the names of what computes their tiles
QUANTIZING = ("quantize", "rc_peak", "rc_rounded")
STARTUP = ("rc_crc32", "rc_image_check", "rc_memory_init", "Reset_Handler", "main")
# (core, function, precision, instructions a MAC of the two large shapes, modelled cycles a MAC of the first), measured in the
# same emulator with the same compiler; modelled by the same means. Requantization to int8 is included; input is int8 already.
PEER = "CMSIS-NN 99f736a (2026-07-15), arm-none-eabi-gcc 12.2.1 -O3"
PEERS: tuple[tuple[str, str, str, float, float, float | None], ...] = (
    ("Cortex-M7", "arm_nn_mat_mult_nt_t_s4 (through conv 1x1)", "int4", 3.173, 3.116, 2.55),
    ("Cortex-M7", "arm_fully_connected_s4 (a scale a tensor)", "int4", 4.969, 4.907, 3.88),
    ("Cortex-M7", "arm_nn_mat_mult_nt_t_s8", "int8", 1.505, 1.452, 1.07),
    ("Cortex-M7", "arm_fully_connected_s8", "int8", 1.972, 1.907, 1.70),
    ("Cortex-M55", "arm_nn_mat_mult_nt_t_s4", "int4", 0.313, 0.282, 0.384),
    ("Cortex-M55", "arm_fully_connected_s4", "int4", 0.413, 0.378, 0.638),
    ("Cortex-M55", "arm_nn_mat_mult_nt_t_s8", "int8", 0.201, 0.183, 0.189),
    ("Cortex-M55", "arm_fully_connected_s8", "int8", 0.493, 0.477, 0.512),
)


def call_macs() -> int:
    """Multiplications of one block call at the measured shape."""
    c = CONFIG
    token = c.hidden_size * c.rows * 3 * c.inter_t
    return c.L_layers * (token + c.rows * c.hidden_size * 3 * c.inter)


def model(precision: str, h_cycles: int, l_cycles: int) -> QuantizedModel:
    """The measured shape with random weights at another depth."""
    return quantize_model(
        counting.random_model(CONFIG), precision_named(precision), method="min-max", h_cycles=h_cycles, l_cycles=l_cycles
    )


def step_instructions(name: str, precision: str, cycles: tuple[int, int], out: Path, scratch: int | None = None) -> int:
    """Instructions of one supervision step of `cycles` (H, L)."""
    board = load_board(name)
    ticks = counting.run_counts(board, counting.build_steps(board, model(precision, *cycles), out, scratch), 1)[0]
    return round(ticks / board.ticks.per_instruction)


def calls_per_step(cycles: tuple[int, int]) -> int:
    return cycles[0] * (cycles[1] + 1)


def measure(name: str, out: Path, known: dict[str, Any] | None = None) -> dict[str, Any]:
    """Everything of one board; steps at full depth are as `known`, if that is given."""
    board = load_board(name)
    compiler = subprocess.run([find_compiler(board.family), "-dumpfullversion"], capture_output=True, text=True, check=True)
    full, least = (CONFIG.H_cycles, CONFIG.L_cycles), (1, 1)
    found: dict[str, Any] = {
        "kernels": choose_kernels(board.features).name,
        "gcc": compiler.stdout.strip(),
        "layers": [
            {"weights": c.precision, "shape": [c.rows, c.depth, c.channels], "instructions": c.instructions}
            for c in counting.count_layers(name, out / "layers")
        ],
    }
    for kind in counting.PRECISIONS:
        short = step_instructions(name, kind, least, out / f"short-{kind}")
        found[kind] = {"short_step": short}
        if kind in FULL and known:
            found[kind] |= {key: known[kind][key] for key in ("step", "call")}
        elif kind in FULL:
            step = step_instructions(name, kind, full, out / f"full-{kind}")
            call = (step - short) / (calls_per_step(full) - calls_per_step(least))
            found[kind] |= {"step": step, "call": round(call)}
        if name == SCRATCH_BOARD:
            found[kind]["short_step_120k"] = step_instructions(name, kind, least, out / f"large-{kind}", LARGE_SCRATCH)
    if name in MODELLED and modelled.available(MODELLED[name]) is None:
        found["modelled"] = model_cycles(name, out)
    return found


def model_cycles(name: str, out: Path) -> dict[str, Any]:
    """Modelled cycles on a board's core: of the two large layers and, of a short step, all but startup."""
    board, core, plugin = load_board(name), MODELLED[name], modelled.build_plugin(out / "plugin")
    counts = out / "counts.txt"
    extra = ("-plugin", f"{plugin},out={counts}")
    found: dict[str, Any] = {"layers": []}
    for shape in counting.SHAPES[:2]:
        elf = counting.build_layers(board, out / "modelled", [shape])
        counting.run_layers(board, elf, extra, shapes=1)
        costs = modelled.costs(elf, modelled.read_counts(counts), core)
        quantize = sum(c.cycles for c in costs if any(part in c.name for part in QUANTIZING)) / len(counting.PRECISIONS)
        for kind in counting.PRECISIONS:
            cycles = sum(c.cycles for c in costs if FUNCTIONS[kind] in c.name) + quantize
            found["layers"].append({"weights": kind, "shape": list(shape), "cycles": round(cycles)})
    for kind in counting.PRECISIONS:
        elf = counting.build_steps(board, model(kind, 1, 1), out / f"modelled-{kind}")
        counting.run_counts(board, elf, 1, extra)
        costs = modelled.costs(elf, modelled.read_counts(counts), core)
        found[kind] = {"short_step": round(sum(c.cycles for c in costs if c.name not in STARTUP))}
    return found


def page(data: dict[str, Any]) -> str:
    """instructions.md."""
    shapes = [tuple(s) for s in counting.SHAPES]
    layers, steps, grouped = [], [], []
    for name, found in data.items():
        for kind in counting.PRECISIONS:
            per = {
                tuple(x["shape"]): x["instructions"] / (x["shape"][0] * x["shape"][1] * x["shape"][2])
                for x in found["layers"]
                if x["weights"] == kind
            }
            layers.append([CORES[name], kind, found["kernels"], *(f"{per[s]:.3f}" for s in shapes)])
        for kind in FULL:
            of = found[kind]
            steps.append([CORES[name], kind, f"{of['call'] / call_macs():.3f}", of["call"], of["step"]])
        grouped.append([CORES[name], *(f"{found['int4-g32']['short_step'] / found[kind]['short_step']:.2f}" for kind in FULL)])
    m7 = data[SCRATCH_BOARD]
    peers = [
        [core, function, kind, f"{a:.3f}", f"{b:.3f}", "" if cycles is None else f"{cycles:.2f}"]
        for core, function, kind, a, b, cycles in PEERS
    ]
    c = CONFIG
    text = f"""# Instructions in the emulator

Written by `python benchmarks/instructions.py`. Counts are exact: QEMU 7.2 runs with `-icount`, where the board's counter
counts instructions. They are the same on every machine: GCC {m7["gcc"]} for Arm, {data["riscv32-virt"]["gcc"]} for RISC-V, -O3.

## Whole layers, instructions a multiplication

Included: finding each row's scale and quantizing it from fp32, unpacking weights, the product, zero points, scaling to fp32.
Weights are packed by the compiler; int4 has a scale and a zero point a channel, int4-g32
a scale for each 32 inputs of one.

{table(["core", "weights", "kernels", *(f"[{r}x{k}]x[{k}x{n}]" for r, k, n in shapes)], layers, 3)}

## Block calls and supervision steps

The block of TRM-MLP for 9x9 sudoku: {c.rows} rows, hidden {c.hidden_size}, token mixing over {c.inter_t}, channel mixing over
{c.inter}, {c.L_layers} layers: {call_macs():,} multiplications a call. All is included: adding inputs, transposed loads,
SiLU, residuals, norms, stores. A step is {calls_per_step((c.H_cycles, c.L_cycles))} calls and the heads. Scratch is what the
planner takes by default, {MAX_SCRATCH // 1024} KiB.

{table(["core", "weights", "a call's instructions a MAC", "a call", "a step"], steps, 2)}

Instructions of a step of {calls_per_step((1, 1))} calls and the heads with int4-g32, as a multiple of those of other weights:

{table(["core", *(f"of {kind}" for kind in FULL)], grouped, 1)}
{_scratch(m7)}{_modelled(data)}
## What {PEER.split(" ")[0]} takes

{PEER}; the same emulator and shapes, cycles modelled in the same way.
What is included differs: there input is int8 already, zero points of activations are handled and results are int8; here input
and results are fp32, so rows are quantized. Cycles are for the first shape.

{table(["core", "function", "weights", "first shape", "second shape", "modelled cycles"], peers, 3)}

![instructions a MAC](instructions.png)
"""
    return text


def _scratch(m7: dict[str, Any]) -> str:
    lines = []
    for kind in counting.PRECISIONS:
        more = m7[kind]["short_step_120k"] / m7[kind]["short_step"] - 1
        lines.append(f"{kind} {100 * more:+.1f} %")
    return f"\nWith {LARGE_SCRATCH // 1024} KiB of scratch on the Cortex-M7: {', '.join(lines)} instructions.\n"


def _modelled(data: dict[str, Any]) -> str:
    known = {name: data[name]["modelled"] for name in MODELLED if "modelled" in data[name]}
    if not known:
        return "\nCycles were not modelled: llvm-mca was not installed where this was measured.\n"
    rows = []
    for name, found in known.items():
        rows += [
            [CORES[name], f"[{r}x{k}]x[{k}x{n}]", x["weights"], f"{x['cycles'] / (r * k * n):.3f}"]
            for x in found["layers"]
            for r, k, n in [x["shape"]]
        ]
        for kind in counting.PRECISIONS:
            cycles = found[kind]["short_step"] / calls_per_step((1, 1))
            rows.append([CORES[name], "block call (with its share of the heads)", kind, f"{cycles / call_macs():.3f}"])
    return f"""
## Modelled cycles a multiplication

Not measured: executions of each basic block times what llvm-mca gives it as a steady loop. No caches, no waits for memory, a
branch costs half a cycle; silicon will be slower.

{table(["core", "what", "weights", "cycles a MAC"], rows, 3)}
"""


def write(data: dict[str, Any]) -> None:
    """The committed files, from the data."""
    DATA.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(page(data), encoding="utf-8")
    bars = [
        (
            CORES[name],
            x["weights"],
            f"recurc {found['kernels']}",
            x["instructions"] / (x["shape"][0] * x["shape"][1] * x["shape"][2]),
        )
        for name, found in data.items()
        for x in found["layers"]
        if tuple(x["shape"]) == counting.SHAPES[0]
    ]
    draw(PLOT, bars, [(core, kind, function.split(" ")[0], a) for core, function, kind, a, _, _ in PEERS])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--boards", default=",".join(counting.BOARDS), help="boards to measure, or none")
    parser.add_argument("--short", action="store_true", help="keep what is known of steps at full depth")
    given = parser.parse_args(arguments)
    chosen = given.boards
    data: dict[str, Any] = json.loads(DATA.read_text(encoding="utf-8")) if DATA.exists() else {}
    for name in () if chosen == "none" else chosen.split(","):
        with tempfile.TemporaryDirectory(prefix="recurc-bench-") as folder:
            data[name] = measure(name, Path(folder), data[name] if given.short else None)
        print(f"{name}: {json.dumps(data[name])}", file=sys.stderr)
        DATA.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    write({name: data[name] for name in counting.BOARDS})


if __name__ == "__main__":
    main()
