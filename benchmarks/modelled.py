"""Cycles by model: how often each basic block ran in the emulator times what llvm-mca gives it as a steady loop.

A model, not a measurement: no caches, no waits for flash, a branch costs half a cycle, blocks do not overlap.
Needs Debian's `llvm` (llvm-mca, llvm-objdump; 14 to 19 agree on the Cortex-M7; Helium needs 16 or newer, `llvm-19`), `gcc`
and QEMU 7.2 with plugins.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

PLUGIN_SOURCE = Path(__file__).parent / "firmware" / "counts.c"
CORES = {
    "cortex-m7": "thumbv7em-none-eabihf",
    "cortex-m4": "thumbv7em-none-eabihf",
    "cortex-m55": "thumbv8.1m.main-none-eabihf",
}
OLDEST = {"cortex-m55": 16}  # LLVM's version from which on it knows all of a core's instructions
BRANCH_CYCLES = 0.5
_ITERATIONS = 50
_BRANCH = re.compile(
    r"^(b|bl|bx|blx|cbz|cbnz|tbb|tbh|le|letp|wls|wlstp|"
    r"b(eq|ne|lt|gt|le|ge|cs|cc|hs|lo|hi|ls|mi|pl|vs|vc))(\.[nw])?\s"
)
_CONDITIONAL = ("mov", "add", "sub", "ldr", "str", "mvn", "rsb", "vmov", "lsl", "orr")
_CONDITION = re.compile(r"^(\w+?)(eq|ne|lt|gt|le|ge|hs|lo|hi|ls|mi|pl|vs|vc)(\.\w+)*\s")


@dataclass(frozen=True)
class FunctionCost:
    """What one function cost in a run: instructions executed (exact) and cycles (modelled)."""

    name: str
    instructions: int
    cycles: float


@lru_cache
def tool(name: str, core: str) -> str | None:
    """Path of an LLVM tool that knows a core: the plain name if it is new enough, else the newest of those with a version."""
    least = OLDEST.get(core, 0)
    if plain := shutil.which(name):
        said = subprocess.run([plain, "--version"], capture_output=True, text=True).stdout
        found = re.search(r"version (\d+)", said)
        if found and int(found[1]) >= least:
            return plain
    versioned = (shutil.which(f"{name}-{version}") for version in range(30, max(least, 14) - 1, -1))
    return next((path for path in versioned if path), None)


def available(core: str = "cortex-m7") -> str | None:
    """What is missing on this computer for modelling a core; None when all is there."""
    absent = [name for name in ("llvm-mca", "llvm-objdump") if tool(name, core) is None]
    absent += [] if shutil.which("gcc") else ["gcc"]
    return f"{', '.join(absent)} is not installed (for {core}: LLVM {OLDEST.get(core, 14)} or newer)" if absent else None


def build_plugin(out: Path) -> Path:
    """The plugin for QEMU that counts executions by address."""
    out.mkdir(parents=True, exist_ok=True)
    library = out / "counts.so"
    subprocess.run(["gcc", "-O2", "-shared", "-fPIC", str(PLUGIN_SOURCE), "-o", str(library)], check=True)
    return library


def read_counts(path: Path) -> dict[int, int]:
    """Executions by address."""
    counts: dict[int, int] = {}
    for line in path.read_text().splitlines():
        address, count = (int(word, 16) for word in line.split())
        counts[address] = counts.get(address, 0) + count
    return counts


def disassemble(elf: Path, core: str) -> dict[str, dict[int, str]]:
    """Function -> address -> instruction."""
    command = [str(tool("llvm-objdump", core)), "-d", "--no-show-raw-insn", f"--mcpu={core}", str(elf)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    functions: dict[str, dict[int, str]] = {}
    current: dict[int, str] = {}
    for line in said.splitlines():
        if named := re.match(r"^[0-9a-f]+ <(.*)>:", line):
            current = functions.setdefault(named[1], {})
        elif found := re.match(r"^\s*([0-9a-f]+):\s+(\S.*)", line):
            current[int(found[1], 16)] = re.split(r"[;@]|<", found[2])[0].strip()
    return functions


def blocks(code: Mapping[int, str], counts: Mapping[int, int]) -> Iterator[tuple[int, list[str]]]:
    """(executions, instructions) of each stretch that ran equally often and has no branch but at its end."""
    block: list[str] = []
    last = 0
    for address, text in code.items():
        count = counts.get(address, 0)
        if block and count != last:
            yield last, block
            block = []
        block.append(text)
        last = count
        if _BRANCH.match(text + " "):
            yield last, block
            block = []
    if block:
        yield last, block


def block_cycles(body: Sequence[str], core: str) -> float:
    """Modelled cycles of one turn of a block."""
    plain = [t for t in body if not _BRANCH.match(t + " ") and not re.match(r"(it[te]*|nop|\.\w+|<)", t)]
    branches = sum(bool(_BRANCH.match(t + " ")) for t in body)
    source = []
    for text in plain:
        text = re.sub(r"\[pc, #?-?\w+\]", "[r0]", text)
        if (found := _CONDITION.match(text)) and found[1] in _CONDITIONAL:
            text = re.sub(rf"^{found[1]}{found[2]}", found[1], text)
        text = re.sub(r"^vcmpe?\.f32\s+(\w+), .*", r"vadd.f32 s31, \1, \1", text)  # the model lacks comparisons
        source.append(text)
    if not source:
        return branches * BRANCH_CYCLES
    command = [str(tool("llvm-mca", core)), f"-mtriple={CORES[core]}", f"-mcpu={core}", f"-iterations={_ITERATIONS}"]
    done = subprocess.run(command, input="\n".join(source) + "\n", capture_output=True, text=True)
    cycles = re.search(r"Total Cycles:\s+(\d+)", done.stdout)
    if not cycles:  # system instructions, as in startup code: one cycle each
        return float(len(body))
    return int(cycles[1]) / _ITERATIONS + branches * BRANCH_CYCLES


def costs(elf: Path, counts: Mapping[int, int], core: str, names: Sequence[str] | None = None) -> list[FunctionCost]:
    """Cost of each function that ran (or of those named), the dearest first."""
    found = []
    for name, code in disassemble(elf, core).items():
        if (names is None or name in names) and any(address in counts for address in code):
            parts = [(n, len(body), block_cycles(body, core)) for n, body in blocks(code, counts) if n]
            found.append(FunctionCost(name, sum(n * size for n, size, _ in parts), sum(n * c for n, _, c in parts)))
    return sorted(found, key=lambda cost: -cost.instructions)
