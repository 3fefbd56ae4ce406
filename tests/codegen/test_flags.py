"""Whatever a model is compiled with, it has the verified bits or does not compile; what is left is named, for the known-answer
test. `python -m tests.codegen.test_flags` tries every set of flags.py."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from recurc.device.session import DeviceSession
from recurc.plan.kernels import KERNEL_SETS, choose_kernels
from recurc.quant.twin import Twin
from recurc.targets.boards import load_board
from recurc.verify.device import connect
from tests.codegen import flags
from tests.codegen.builder import emulated_firmware
from tests.codegen.flags import AARCH64, CAUGHT, CLANG64, OTHER, OURS, REFUSED, RIGHT, RUNTIME, SETS, Written
from tests.device.runs import run_all
from tests.randmodels import random_inputs, random_reasoner
from tests.tools import need, need_aarch64, need_clang

SAMPLE = ("gcc -O0", "gcc -Os", "gcc -O2 -march=native -DRC_STANDARD_C -std=c11",
          "gcc -O3 -flto -march=native", "gcc -O2 -fassociative-math",
          "clang -O2 -flto", "clang -O3 -march=native -funsafe-math-optimizations")  # fmt: skip
ROOT = Path(__file__).parents[2]
FLOATING = re.compile(r"\bfloat\b")


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Written:
    return Written.write(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def verified(written) -> str:
    return written.run(OURS)


@pytest.mark.parametrize("command", SAMPLE)
def test_the_bits_are_the_verified_ones(command, written, verified):
    need_clang()
    assert SETS[command] == RIGHT
    assert written.run(command) == verified


def test_fused_operations_of_another_core_are_kept_out(written, verified):
    need_aarch64()
    assert written.run(f"{AARCH64} -O2") == verified


@pytest.mark.parametrize("command", [command for command, what in SETS.items() if what == REFUSED])
def test_flags_that_change_bits_do_not_compile(command, written):
    """Every file that computes with floats refuses them by itself."""
    compiler, *rest = command.split()
    if "aarch64" in command:
        need_aarch64()
    with_floats = [f for f in written.files if f.suffix == ".c" and f != flags.PROGRAM and FLOATING.search(f.read_text())]
    assert len(with_floats) > 10
    for file in with_floats if command == "gcc -Ofast" else with_floats[:1]:
        line = [compiler, *rest, "-fsyntax-only", f"-I{RUNTIME}/include", str(file)]
        done = subprocess.run(line, capture_output=True, text=True)
        assert done.returncode != 0 and "#error" in done.stderr, (file.name, done.stderr[:500])


def test_every_file_with_floats_is_guarded():
    """The kernels of all sets begin with the guard, before intrinsics or a function of theirs."""
    for name in {source for kernels in KERNEL_SETS for source in kernels.sources}:
        first = re.search(r'#include ([<"]\S+[>"])', (RUNTIME / "kernels" / name).read_text())
        assert first is not None and first[1] not in ("<arm_acle.h>", "<arm_mve.h>", "<immintrin.h>"), name
    for header in ("rc_arith.h", "rc_kernels.h"):
        assert (
            re.search(r'#include ([<"]\S+[>"])', (RUNTIME / "include/recurc" / header).read_text())[1] == '"recurc/rc_guard.h"'
        )


def test_x87_is_refused():
    """Where floats are computed in more bits; this computer may have no 32-bit C library, so only our header is read."""
    for compiler in ("gcc", need_clang()):
        command = [compiler, "-m32", "-mno-sse", "-ffreestanding", "-fsyntax-only", "-xc", f"-I{RUNTIME}/include", "-"]
        done = subprocess.run(command, input='#include "recurc/rc_guard.h"\n', capture_output=True, text=True)
        assert "more than their own precision" in done.stderr, done.stderr


def test_the_page_names_all_of_it():
    """Every flag that is refused or gives other bits, and every extension's name."""
    page = (ROOT / "docs/howto-compiler.md").read_text(encoding="utf-8")
    changing = {
        flag for command, what in SETS.items() if what != RIGHT for flag in command.split()[1:] if flag.startswith("-f")
    }
    assert {flag for flag in changing if f"`{flag}" not in page} == set()
    names = set(re.findall(r"#define (RC_\w+)", (RUNTIME / "include/recurc/rc_compiler.h").read_text()))
    assert {name for name in names - {"RC_PRAGMA_OF"} if f"`{name}" not in page and name != "RC_STANDARD_C"} == set()
    assert "-DRC_STANDARD_C" in page


def test_what_no_compiler_tells_is_caught_when_the_model_is_opened(written, verified):
    """No set of flags gives other bits; one that did would be left to the known-answer test, and must be tried with it."""
    need_clang()
    need_aarch64()
    assert OTHER not in SETS.values()
    caught = [command for command, what in SETS.items() if what == CAUGHT]
    found = written.run(caught[0])
    assert found in (CAUGHT, verified), "a processor without fused operations has none to contract to"
    assert [written.run(command) for command in caught[1:]] == [CAUGHT] * 3
    assert caught == [
        "clang -O3 -march=native -ffp-contract=fast",
        *(f"{CLANG64} -O2 {flag}" for flag in ("-ffp-contract=fast", "-funsafe-math-optimizations", "-freciprocal-math")),
    ]


@pytest.mark.parametrize("name, more", [
    ("mps2-an500", "-std=gnu11 -O2 -ffp-contract=fast -fstrict-aliasing -fmath-errno"),
    ("mps3-an547", "-std=gnu17 -Os -ffp-contract=fast -fstrict-aliasing -fmath-errno"),
    ("mps2-an505", "-std=gnu99 -Og -ffp-contract=fast -fstrict-aliasing -fmath-errno"),
    ("riscv32-virt", "-std=gnu11 -O2 -ffp-contract=fast -fstrict-aliasing -fmath-errno"),
])  # fmt: skip
def test_emulated_cores_with_other_flags(name, more, tmp_path):
    need(name)
    board, model = load_board(name), flags.model()
    reasoner = random_reasoner(hidden=24, heads=3, ndim=24, layers=1, cycles=(1, 2), seq=10, steps=3)
    inputs, ids = random_inputs(reasoner, 1)
    twin = Twin(model)
    twin.begin(inputs, ids)
    with connect(board, emulated_firmware(tmp_path, board, model, flags=more.split()), "qemu", step_timeout=60) as session:
        session.load(inputs[0])
        for steps in range(1, 4):
            twin.step()
            assert equal(session, twin, steps, int(ids[0])), (choose_kernels(board.features).name, steps)


def equal(session: DeviceSession, twin: Twin, steps: int, puzzle: int) -> bool:
    """Whether the board has the twin's numbers after so many steps."""
    run_all(session, steps, puzzle=puzzle)
    return all(session.read_raw(t) == getattr(twin, t)[0].tobytes() for t in ("z_H", "z_L", "logits", "q"))


def main() -> int:
    """Every set, one after the other; 1 when a result is other than the table says."""
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        written = Written.write(Path(folder))
        verified = written.run(OURS)
        print(f"{'right':12}{OURS}\n{verified}")
        for command, told in SETS.items():
            found = written.run(command)
            found = found if found in (REFUSED, CAUGHT) else RIGHT if found == verified else OTHER
            wrong += found not in ((RIGHT, CAUGHT) if told == CAUGHT else (told,))
            print(f"{found:12}{command}{'' if found == told else f'   the table says {told}'}", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
