"""What users compile a model with, and what comes of it: the verified bits, a refusal by the compiler, or, of the few sets
that no compiler tells of, a refusal by rc_open. OTHER would be other bits, which the known-answer test of a library is there to
find."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from recurc.emit.sources import engine_files
from recurc.plan.kernels import kernel_set
from recurc.quant.model import QuantizedModel, quantize_model
from recurc.quant.weights import precision_named
from recurc.resources import resource_dir
from tests.codegen.builder import write_sources
from tests.randmodels import random_reasoner
from tests.tools import missing

RUNTIME = resource_dir("runtime_c")
PROGRAM = Path(__file__).parent / "steps.c"
RIGHT, REFUSED, CAUGHT, OTHER = "right", "refused", "caught by rc_open", "other bits"
AARCH64 = "aarch64-linux-gnu-gcc -static"
CLANG64 = "clang --target=aarch64-linux-gnu -static"  # its pragma against reciprocals is for x86
OURS = "gcc -std=c99 -O3 -ffp-contract=off -fno-math-errno -fno-strict-aliasing"  # as recurc compiles

# Command and flags -> what comes of it; the fused instructions of -march=native are there on x86-64 with FMA.
SETS: dict[str, str] = {
    "gcc -O0": RIGHT,
    "gcc -Og": RIGHT,
    "gcc -Os": RIGHT,
    "gcc -O2": RIGHT,
    "gcc -O3": RIGHT,
    "gcc -O2 -flto": RIGHT,
    "gcc -O3 -flto -march=native": RIGHT,
    "gcc -O3 -march=native -ffp-contract=fast": RIGHT,
    "gcc -O3 -march=native -mrecip": RIGHT,
    "gcc -O2 -march=native -DRC_STANDARD_C -std=c11": RIGHT,
    "gcc -O2 -fassociative-math": RIGHT,  # does nothing alone, says GCC; with its pragma it would
    "gcc -O2 -fno-trapping-math": RIGHT,
    "gcc -O2 -frounding-math": RIGHT,
    "gcc -O2 -fsignaling-nans": RIGHT,
    "gcc -O2 -fsingle-precision-constant": RIGHT,
    "gcc -O2 -fexcess-precision=fast": RIGHT,
    "gcc -O2 -ftrapv": RIGHT,
    "gcc -O2 -funsigned-char -fshort-enums": RIGHT,
    "gcc -Ofast": REFUSED,
    "gcc -O2 -ffast-math": REFUSED,
    "gcc -O2 -funsafe-math-optimizations": REFUSED,
    "gcc -O2 -fassociative-math -fno-signed-zeros -fno-trapping-math": REFUSED,
    "gcc -O2 -freciprocal-math": REFUSED,
    "gcc -O2 -fno-signed-zeros": REFUSED,
    "gcc -O2 -ffinite-math-only": REFUSED,
    "gcc -O2 -mfpmath=387": REFUSED,
    "gcc -O2 -mfpmath=both": REFUSED,
    "clang -O0": RIGHT,
    "clang -Og": RIGHT,
    "clang -Os": RIGHT,
    "clang -O2": RIGHT,
    "clang -O3": RIGHT,
    "clang -O2 -flto": RIGHT,
    "clang -O3 -march=native": RIGHT,
    "clang -O3 -march=native -ffp-contract=on": RIGHT,
    "clang -O3 -march=native -funsafe-math-optimizations": RIGHT,
    "clang -O3 -march=native -fassociative-math -fno-signed-zeros": RIGHT,
    "clang -O3 -freciprocal-math": RIGHT,
    "clang -O2 -fno-signed-zeros": RIGHT,
    "clang -O2 -fno-trapping-math": RIGHT,
    "clang -O2 -frounding-math": RIGHT,
    "clang -O2 -fapprox-func": RIGHT,
    "clang -O2 -fdenormal-fp-math=positive-zero": RIGHT,
    "clang -O2 -ffp-model=strict": RIGHT,
    "clang -O2 -march=native -DRC_STANDARD_C -std=c11": RIGHT,
    "clang -Ofast": REFUSED,
    "clang -O2 -ffast-math": REFUSED,
    "clang -O2 -ffp-model=fast": REFUSED,
    "clang -O2 -ffinite-math-only": REFUSED,
    "clang -O3 -march=native -ffp-contract=fast": CAUGHT,
    f"{CLANG64} -O2": RIGHT,
    f"{CLANG64} -O3 -fassociative-math -fno-signed-zeros": RIGHT,
    f"{CLANG64} -O2 -ffp-contract=fast": CAUGHT,
    f"{CLANG64} -O2 -funsafe-math-optimizations": CAUGHT,
    f"{CLANG64} -O2 -freciprocal-math": CAUGHT,
    f"{AARCH64} -O0": RIGHT,
    f"{AARCH64} -O2": RIGHT,
    f"{AARCH64} -O3 -ffp-contract=fast": RIGHT,
    f"{AARCH64} -Os -flto": RIGHT,
    f"{AARCH64} -Ofast": REFUSED,
}


def model() -> QuantizedModel:
    """A small model that contraction, another order of sums and reciprocals change: attention, and layers of fp32 too."""
    reasoner = random_reasoner(hidden=24, heads=3, ndim=24, layers=1, cycles=(1, 2), seq=10, steps=3)
    precisions = {"*.down_proj.weight": "fp32"}
    return quantize_model(reasoner, precision_named("int4"), method="min-max", layer_precisions=precisions)


@dataclass(frozen=True)
class Written:
    """The model's sources in a folder, and the CRCs that recurc's own flags give."""

    folder: Path
    files: tuple[Path, ...]

    @staticmethod
    def write(folder: Path, kernels: str = "portable") -> Written:
        chosen = kernel_set(kernels)
        write_sources(folder, model(), chosen, 20_000)
        return Written(folder, (folder / "model.c", *engine_files(chosen, RUNTIME), PROGRAM))

    def run(self, command: str) -> str:
        """The CRCs after every step of a program that a user's command compiles; REFUSED where our headers refuse it, CAUGHT
        where opening the model does.

        Raises:
            AssertionError: it does not compile, and no #error of ours says why.
        """
        words = command.split()
        if shutil.which(words[0]) is None:
            missing(words[0])
        program = self.folder / f"p{abs(hash(command))}"
        includes = [f"-I{self.folder}", f"-I{RUNTIME}/include"]
        done = subprocess.run([*words, *includes, *map(str, self.files), "-o", str(program)], capture_output=True, text=True)
        if done.returncode:
            assert "#error" in done.stderr, done.stderr[:2000]
            return REFUSED
        under: Sequence[str] = ("qemu-aarch64",) if "aarch64" in command else ()
        ran = subprocess.run([*under, str(program), str(self.folder / "model.rcm")], capture_output=True, text=True)
        if "the known answer was not met" in ran.stdout:
            return CAUGHT
        assert ran.returncode == 0, (ran.stdout, ran.stderr[:500])
        return ran.stdout
