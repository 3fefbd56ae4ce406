"""Writes recurc/plan/costs.json: instructions that each unit of work costs, a core and kernel set, for `recurc.plan.cost`.

    python benchmarks/cost_constants.py [BOARD ...]

Runs one supervision step of small generated models in QEMU with a plugin that counts executions by address, splits the counts
by C file (the generated code further, by function) and fits each part to the work that `recurc.plan.work` counts for it
(`--only NAME`, as int2 or int4-g32, adds to a table what it lacks of that precision: unpacking, the tile function). With llvm-
mca at hand, cycles an instruction by its model of the core as well. Run it again when kernels or generated loops have
changed; without boards it measures all of them (five minutes). Needs QEMU 7.2 with plugins, the boards' compilers with
addr2line, and gcc.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.counting import BOARDS, build_steps, random_model, run_counts  # noqa: E402
from benchmarks.modelled import CORES, available, block_cycles, blocks, build_plugin, disassemble, read_counts  # noqa: E402
from recurc.models.reasoner import ReasonerConfig  # noqa: E402
from recurc.plan.cost import TABLE, entry_key, merged_units  # noqa: E402
from recurc.plan.kernels import choose_kernels, kernel_set  # noqa: E402
from recurc.plan.layout import make_layout  # noqa: E402
from recurc.plan.work import step_work  # noqa: E402
from recurc.quant.model import QuantizedModel, quantize_model  # noqa: E402
from recurc.quant.weights import precision_named, precisions  # noqa: E402
from recurc.targets.boards import Board, load_board  # noqa: E402
from recurc.targets.toolchain import find_compiler  # noqa: E402

NOT_A_STEP = ("rc_open", "rc_begin", "rc_table", "rc_row", "rc_tensor", "fill_carry", "main")
LEAST_SHARE = 2e-4  # of a step's instructions: less than that is no unit's fault
_SECTION = re.compile(r"^ \.text\S*\s+0x([0-9a-f]+)\s+0x([0-9a-f]+)\s+(\S+)$")


@dataclass(frozen=True)
class Sample:
    """One measured step: what it should do, instructions by group, and cycles by group where they were modelled."""

    name: str
    units: Mapping[str, float]
    counts: Mapping[str, int]
    cycles: Mapping[str, float]


def shape(
    mixer: str,
    seq: int,
    hidden: int,
    heads: int = 2,
    expansion: float = 4.0,
    pos: str = "none",
    ndim: int = 0,
    cycles: tuple[int, int] = (1, 1),
) -> ReasonerConfig:
    """A small model of one layer."""
    return ReasonerConfig("trm", mixer, seq, 11, 1, hidden, expansion, heads, 1, *cycles, 1, pos, ndim, 1 if ndim else 0)


SHAPES = {  # name: configuration, bytes of scratch; they differ in depth, channels, rows, rows a tile and odd rests
    "mlp a": (shape("mlp_t", 16, 64), 16 << 10),
    "mlp b": (shape("mlp_t", 96, 40, ndim=40), 9 << 10),
    "mlp c": (shape("mlp_t", 33, 128, expansion=8.0), 40 << 10),
    "mlp d": (shape("mlp_t", 64, 192, cycles=(1, 2)), 48 << 10),
    "attention a": (shape("attention", 36, 64, pos="rope"), 24 << 10),
    "attention b": (shape("attention", 80, 48, heads=4, pos="rope", ndim=48), 30 << 10),
    "attention c": (shape("attention", 25, 128, pos="learned", cycles=(1, 2)), 48 << 10),
    "attention d": (shape("attention", 64, 128, heads=4, pos="rope", expansion=2.0), 48 << 10),
}
FULL = ("int4", "int8", "fp32")  # precisions that have samples of every shape
# Samples of precisions that differ from those in one group only.
WIDENED = ("mlp a", "mlp c", "mlp d", "attention c")  # unpacking, then the tile function of more bits
TILES = ("mlp a", "mlp b", "mlp c", "mlp d", "attention b", "attention c")  # a tile function of their own
CYCLES_OF = ("mlp d", "attention d")  # shapes whose cycles are modelled, with an fp32 carry
CARRIES = {
    "mlp a": ("fp16", "int8"),
    "mlp d": ("fp16", "int8"),
    "mlp c": ("fp16", "int8"),
    "attention a": ("fp16", "int8"),
    "attention d": ("fp16", "int8"),
}


def others() -> dict[str, tuple[str, ...]]:
    """Shapes of the samples of each precision whose kernels differ in a group from those of FULL."""
    kernels = kernel_set("portable")
    seen = {kernel.tile for kernel in (kernels.of(precision_named(name).form) for name in FULL) if kernel}
    found = {}
    for name, precision in precisions().items():
        kernel = kernels.of(precision.form)
        if kernel and (kernel.unpack or kernel.tile not in seen):
            found[name] = WIDENED if kernel.unpack else TILES
    return found


def jobs() -> Iterator[tuple[str, str, str]]:
    """(shape, precision, carry) of every sample: all precisions, and the other carries with int4."""
    for name in SHAPES:
        yield from ((name, precision, "fp32") for precision in FULL)
        yield from ((name, "int4", carry) for carry in CARRIES.get(name, ()))
    yield from ((name, precision, "fp32") for precision, names in others().items() for name in names)


def object_ranges(map_file: Path) -> list[tuple[int, int, str]]:
    """(first address, end, C file's stem) of all code, from the linker's map."""
    text = re.sub(r"^( \.text\S*)\n\s+", r"\1 ", map_file.read_text(), flags=re.MULTILINE)
    found = []
    for line in text.splitlines():
        if (m := _SECTION.match(line)) and int(m[2], 16):
            stem = "libgcc" if "libgcc" in m[3] else re.sub(r"^\d+_", "", Path(m[3]).stem)
            found.append((int(m[1], 16), int(m[1], 16) + int(m[2], 16), stem))
    return sorted(found)


def chains(elf: Path, addresses: Sequence[int], family: str) -> dict[int, list[str]]:
    """Functions at each address, innermost first: inlined ones, then the one that the code belongs to."""
    tool = re.sub(r"gcc$", "addr2line", find_compiler(family))
    said = subprocess.run(
        [tool, "-f", "-i", "-a", "-e", str(elf)],
        input="\n".join(f"{a:#x}" for a in addresses),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    found: dict[int, list[str]] = {}
    names: list[str] = []
    for line in said.splitlines():
        if line.startswith("0x"):
            names = found.setdefault(int(line, 16), [])
        elif "/" not in line and not line.startswith("??:"):
            names.append(re.sub(r"\.(constprop|isra|part)\.\d+", "", line))
    return found


def generated_group(chain: Iterable[str], carry: str, precision: str) -> str:
    """The group of an address in the generated code."""
    names = list(chain)
    if any(name in NOT_A_STEP for name in names):
        return ""
    for name in names:
        if name.startswith(("load_", "input_row")):
            return f"load_{carry}"
        if name.startswith("store_"):
            return f"store_{carry}"
    return "glue_f32" if precision == "fp32" else "glue"


def split(elf: Path, counts: Mapping[int, int], family: str, carry: str, precision: str) -> tuple[dict[int, str], Counter[str]]:
    """Group of each address that ran, and instructions by group; startup, image check and I/O are left out."""
    ranges = object_ranges(elf.with_suffix(".map"))
    starts = [r[0] for r in ranges]
    stems = {}
    for address in counts:
        i = int(np.searchsorted(starts, address, side="right")) - 1
        stems[address] = ranges[i][2] if i >= 0 and address < ranges[i][1] else ""
    generated = chains(elf, [a for a, stem in stems.items() if stem == "model"], family)
    groups, total = {}, Counter()
    for address, stem in stems.items():
        group = generated_group(generated.get(address, ()), carry, precision) if stem == "model" else stem
        kernel = group.startswith("rc_") and not group.startswith(
            (
                "rc_port",
                "rc_image",
                "rc_crc",
                "rc_status",
                "rc_table",
                "rc_mem",
                "rc_start",
                "rc_stack",
                "rc_mpu",
                "rc_chip",
                "rc_watchdog",
            )
        )
        if group and (stem == "model" or kernel):
            groups[address] = group
            total[group] += counts[address]
    return groups, total


def modelled_cycles(elf: Path, counts: Mapping[int, int], groups: Mapping[int, str], core: str) -> Counter[str]:
    """Cycles by group of what ran, by llvm-mca."""
    cycles: Counter[str] = Counter()
    for code in disassemble(elf, core).values():
        at = 0
        addresses = list(code)
        for n, body in blocks(code, counts):
            group = groups.get(addresses[at])
            at += len(body)
            if n and group:
                cycles[group] += n * block_cycles(body, core)
    return cycles


def model_of(name: str, precision: str, carry: str) -> QuantizedModel:
    return quantize_model(random_model(SHAPES[name][0]), precision_named(precision), carry=carry, method="min-max")


def measure(board: Board, out: Path, plugin: Path, job: tuple[str, str, str], with_cycles: bool) -> Sample:
    """Build, run and split one sample."""
    name, precision, carry = job
    model, scratch = model_of(*job), SHAPES[name][1]
    elf = build_steps(board, model, out, scratch)
    counts_file = out / "counts.txt"
    ticks = run_counts(board, elf, 1, ("-plugin", f"{plugin},out={counts_file}"))[0]
    counts = read_counts(counts_file)
    groups, total = split(elf, counts, board.family, carry, precision)
    rest = round(ticks / (board.ticks.per_instruction or 1.0)) - sum(total.values())
    if abs(rest) > 0.03 * sum(total.values()):
        print(f"  {board.name} {job}: {rest:,} instructions belong to no group", file=sys.stderr)
    cycles = modelled_cycles(elf, counts, groups, board.core) if with_cycles else Counter()
    kernels, forms = choose_kernels(board.features), model.forms  # of heads too, which a precision may store otherwise
    kernel = kernels.of(model.precision.form)
    total[kernel.tile if kernel else kernels.f32] += rest  # memset, called by kernels; the counts do not tell by which
    work = step_work(model.program, make_layout(model.program, forms, kernels, scratch), forms, kernels)
    return Sample(" ".join(job), merged_units(work.values()), total, cycles)


def not_negative(rows: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Least squares without negative results, each row weighted by its value: errors count as shares."""
    a, used = rows / values[:, None], list(range(rows.shape[1]))
    while used:
        scale = np.maximum(np.abs(a[:, used]).max(axis=0), 1e-300)
        x = np.linalg.lstsq(a[:, used] / scale, np.ones(len(values)), rcond=1e-9)[0] / scale
        if x.min() >= 0:
            break
        used.pop(int(np.argmin(x * scale)))
    found = np.zeros(rows.shape[1])
    found[used] = x if used else ()
    return found


def fit(samples: Sequence[Sample]) -> dict[str, float]:
    """Instructions a unit."""
    found: dict[str, float] = {}
    for group in sorted({g for s in samples for g in s.counts}):
        features = sorted({u for s in samples for u in s.units if u.split(":")[0] == group})
        chosen = [s for s in samples if s.counts.get(group, 0) > LEAST_SHARE * sum(s.counts.values())]
        if not features or not chosen:
            if chosen:
                print(f"  no unit of work stands for {group}", file=sys.stderr)
            continue
        rows = np.array([[s.units.get(f, 0) for f in features] for s in chosen], float)
        for feature, x in zip(features, not_negative(rows, np.array([s.counts[group] for s in chosen], float)), strict=True):
            found[feature] = round(float(x), 4)
    return found


def errors(samples: Sequence[Sample], units: Mapping[str, float]) -> list[float]:
    """Estimated over counted, less one, of each sample."""
    return [sum(n * units.get(u, 0.0) for u, n in s.units.items()) / sum(s.counts.values()) - 1 for s in samples]


def cycles_wanted(board: Board, job: tuple[str, str, str]) -> bool:
    """Whether a sample's cycles are modelled: llvm-mca knows the core, and the sample is one of those for it."""
    return job[0] in CYCLES_OF and job[2] == "fp32" and board.core in CORES and available(board.core) is None


def cycles_each(samples: Sequence[Sample]) -> dict[str, float]:
    """Cycles an instruction by group, of the samples whose cycles were modelled."""
    cycles, counted = Counter(), Counter()
    for s in samples:
        cycles.update(s.cycles)
        counted.update({g: n for g, n in s.counts.items() if g in s.cycles})
    return {g: round(cycles[g] / counted[g], 3) for g in sorted(cycles)}


def measure_board(board: Board, plugin: Path, folder: Path) -> dict[str, object]:
    """The table's entry of one board."""
    samples = []
    for i, job in enumerate(jobs()):
        print(f"{board.name}: {' '.join(job)}", file=sys.stderr)
        samples.append(measure(board, folder / f"{board.name}-{i}", plugin, job, cycles_wanted(board, job)))
    units = fit(samples)
    off = errors(samples, units)
    worst = int(np.argmax(np.abs(off)))
    print(f"{board.name}: {len(samples)} samples, worst {100 * off[worst]:+.1f} % ({samples[worst].name})", file=sys.stderr)
    compiler = subprocess.run([find_compiler(board.family), "-dumpfullversion"], capture_output=True, text=True).stdout.strip()
    return {
        "measured": f"QEMU, {board.name}, GCC {compiler}, {len(samples)} small models",
        "core": board.core,
        "kernels": choose_kernels(board.features).name,
        "worst_error": round(abs(off[worst]), 4),
        "instructions": units,
        "cycles_per_instruction": cycles_each(samples),
    }


def add_group(board: Board, plugin: Path, folder: Path, precision: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    """A table's entry with the constants of the group that a precision alone has, from its samples."""
    kernel = choose_kernels(board.features).of(precision_named(precision).form)
    group = kernel.unpack or kernel.tile
    samples = [
        measure(board, folder / f"{board.name}-{i}", plugin, job, cycles_wanted(board, job))
        for i, job in enumerate((name, precision, "fp32") for name in others()[precision])
    ]
    found = {unit: n for unit, n in fit(samples).items() if unit.startswith(f"{group}:")}
    units = {**entry["instructions"], **found}
    cycles = {**entry["cycles_per_instruction"], **{g: n for g, n in cycles_each(samples).items() if g == group}}
    off = max(errors(samples, units), key=abs)
    print(f"{board.name}: {found}, {len(samples)} samples, worst {100 * off:+.1f} %", file=sys.stderr)
    return {
        **entry,
        "instructions": dict(sorted(units.items())),
        "worst_error": max(entry["worst_error"], round(abs(off), 4)),
        "cycles_per_instruction": dict(sorted(cycles.items())),
    }


def main() -> None:
    """Measure the boards named on the command line, or all; with --only PRECISION just what that one's samples need."""
    only = sys.argv[sys.argv.index("--only") + 1] if "--only" in sys.argv else None
    names = [a for a in sys.argv[1:] if a not in ("--only", only)]
    table = json.loads(TABLE.read_text()) if TABLE.is_file() and (names or only) else {}
    with tempfile.TemporaryDirectory() as folder:
        plugin = build_plugin(Path(folder))
        for name in names or BOARDS:
            board = load_board(name)
            key = entry_key(choose_kernels(board.features).name, board.core)
            table[key] = (
                add_group(board, plugin, Path(folder), only, table[key]) if only else measure_board(board, plugin, Path(folder))
            )
            TABLE.write_text(json.dumps(dict(sorted(table.items())), indent=1) + "\n")


if __name__ == "__main__":
    main()
