"""The sources that a model consists of compile without a warning under the flags that their users have: GCC and clang, C99
with GNU's extensions, C11 and C17, for every kernel set; public headers as C++ too; and without any extension where none is
needed."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from recurc.emit.sources import engine_files
from recurc.plan.kernels import KERNEL_SETS, kernel_set
from recurc.quant.model import quantize_model
from recurc.quant.weights import precision_named
from recurc.resources import resource_dir
from tests.codegen.builder import write_sources
from tests.randmodels import random_reasoner
from tests.tools import missing

RUNTIME = resource_dir("runtime_c")
ROOT = Path(__file__).parents[2]
SPDX = "/* SPDX-License-Identifier: Apache-2.0 */\n"
OURS = (*(f"kernels/{k}" for k in ("portable", "dsp", "mve", "rvv", "host")), "image", "solve", "include/recurc")
WARNINGS = ("-Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wcast-qual -Wundef -Wshadow -Wdouble-promotion "
            "-Werror -fsyntax-only").split()  # fmt: skip
PUBLIC = (
    "rc.h",
    "rc_status.h",
    "rc_solve.h",
    "rc_image.h",
    "rc_table.h",
    "rc_crc32.h",
    "rc_sha256.h",
    "rc_known.h",
    "rc_choose.h",
)
BARE = ("-ffreestanding", f"-I{RUNTIME}/ports/baremetal")
ARM_GCC, ARM_CLANG = ("arm-none-eabi-gcc", *BARE), ("clang", "--target=arm-none-eabi", *BARE)
RISCV_GCC, RISCV_CLANG = ("riscv64-unknown-elf-gcc", *BARE), ("clang", "--target=riscv32-unknown-elf", *BARE)
M7 = "-mcpu=cortex-m7 -mthumb -mfpu=fpv5-d16 -mfloat-abi=hard".split()
M55 = "-mcpu=cortex-m55 -mthumb -mfloat-abi=hard".split()
M0 = "-mcpu=cortex-m0 -mthumb -mfloat-abi=soft".split()
RV32 = "-march=rv32imafc -mabi=ilp32f".split()
SETS: dict[str, tuple[str, Sequence[str], Sequence[str]]] = {  # kernels, command, standards
    "gcc, portable": ("portable", ["gcc"], ["gnu99", "c11", "c17"]),
    "clang, portable": ("portable", ["clang"], ["gnu99", "c11", "c17"]),
    "gcc, host": ("host", ["gcc"], ["gnu99"]),
    "clang, host": ("host", ["clang"], ["c11"]),
    "gcc, Cortex-M7": ("dsp", [*ARM_GCC, *M7], ["gnu99", "c17"]),
    "clang, Cortex-M7": ("dsp", [*ARM_CLANG, *M7], ["c11"]),
    "gcc, Cortex-M55": ("mve", [*ARM_GCC, *M55], ["gnu99", "c11"]),
    "clang, Cortex-M55": ("mve", [*ARM_CLANG, *M55], ["c17"]),
    "gcc, Cortex-M0": ("portable", [*ARM_GCC, *M0], ["c11"]),
    "gcc, RV32": ("portable", [*RISCV_GCC, "-march=rv32imafc_zicsr", "-mabi=ilp32f"], ["gnu99"]),
    "gcc, RV32 V": ("rvv", [*RISCV_GCC, "-march=rv32imafc_zicsr", "-mabi=ilp32f"], ["gnu99", "c17"]),
    "clang, RV32 V": ("rvv", [*RISCV_CLANG, *RV32], ["c11"]),
}


def ours() -> list[Path]:
    return sorted(f for folder in OURS for f in (RUNTIME / folder).glob("*.[ch]"))


@pytest.fixture(scope="module")
def generated(tmp_path_factory) -> dict[str, list[Path]]:
    """Kernel set -> model.c of models that together have every op, form and carry."""
    folder, found = tmp_path_factory.mktemp("generated"), {}
    shapes = random_reasoner("mlp_t", pos="none", hidden=24, layers=1), random_reasoner(hidden=24, heads=3, layers=1)
    for kernels in KERNEL_SETS:
        mixes = [
            (shapes[0], "int4", "int8"),
            (shapes[0], "fp32", "fp16"),
            (shapes[1], "int4-g32", "fp32"),
            (shapes[1], "int3", "fp16"),
        ]
        for i, (reasoner, precision, carry) in enumerate(mixes):
            if kernels.name == "host" and precision == "int3":
                precision = "int8"
            into = folder / kernels.name / str(i)
            write_sources(
                into, quantize_model(reasoner, precision_named(precision), method="min-max", carry=carry), kernels, 20_000
            )
            found.setdefault(kernels.name, []).append(into / "model.c")
    return found


def complaints(command: Sequence[str], files: Sequence[Path]) -> str:
    if shutil.which(command[0]) is None:
        missing(command[0])
    done = subprocess.run([*command, f"-I{RUNTIME}/include", *map(str, files)], capture_output=True, text=True)
    return done.stderr[:3000] or ("" if done.returncode == 0 else f"status {done.returncode}")


@pytest.mark.parametrize("name", SETS)
def test_no_warning(name, generated):
    kernels, command, standards = SETS[name]
    files = [f for f in engine_files(kernel_set(kernels), RUNTIME) if f.suffix == ".c"]
    cast = "-Wcast-align" if command[0] == "clang" else "-Wcast-align=strict"
    for standard in standards:
        base = [*command, f"-std={standard}", *WARNINGS, cast]
        assert not complaints(base, [*files, *generated[kernels]])


@pytest.mark.parametrize("standard", ["c++11", "c++14", "c++17", "c++20"])
@pytest.mark.parametrize("compiler", ["g++", "clang++"])
def test_public_headers_are_cpp_too(compiler, standard, tmp_path):
    program = tmp_path / "user.cpp"
    program.write_text(
        "".join(f'#include "recurc/{name}"\n' for name in PUBLIC) + "int main() { return (int)rc_step(nullptr); }\n"
    )
    assert not complaints([compiler, f"-std={standard}", *WARNINGS, "-Wcast-align"], [program])


@pytest.mark.parametrize("header", PUBLIC)
def test_public_headers_compile_alone(header, tmp_path):
    program = tmp_path / "user.c"
    program.write_text(f'#include "recurc/{header}"\nextern int unused;\n')
    assert not complaints(["gcc", "-std=gnu99", *WARNINGS], [program])


@pytest.mark.parametrize("standard", ["c11", "c17"])
def test_the_portable_set_is_standard_c(standard, generated):
    """With RC_STANDARD_C no GNU extension is left in what any compiler takes: none in the text after preprocessing."""
    files = [*generated["portable"], *(f for f in engine_files(kernel_set("portable"), RUNTIME) if f.suffix == ".c")]
    for file in files:
        command = ["gcc", f"-std={standard}", "-DRC_STANDARD_C", "-E", f"-I{RUNTIME}/include", f"-I{file.parent}", str(file)]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        lines = re.split(r'^# \d+ "(.*?)".*\n', text, flags=re.MULTILINE)  # text of one file after its name
        own = "".join(part for name, part in zip(lines[1::2], lines[2::2], strict=True) if "/usr/" not in name)
        assert not re.findall(
            r"\b(?:__\w+__|__asm|__builtin(?!_offsetof)\w*|__extension__|asm|typeof)\b|#pragma GCC unroll", own
        ), file
        assert not complaints([*command[:3], "-Wpedantic", "-Werror", "-fsyntax-only", f"-I{file.parent}"], [file])


def test_every_file_says_its_licence(generated):
    files = [*ours(), *(f for models in generated.values() for f in models)]
    files += [m.parent / name for models in generated.values() for m in models for name in ("model_config.h", "weights.S")]
    assert len(files) > 100
    assert [str(f) for f in files if not f.read_text().startswith(SPDX)] == []
    assert 'license = "Apache-2.0"' in (ROOT / "pyproject.toml").read_text()


def test_extensions_are_named_in_one_place():
    """Beside the kernels of an instruction set only rc_compiler.h and rc_guard.h say what is GNU's."""
    words = re.compile(r"__attribute__|__asm__|__builtin|__extension__|#pragma|_Static_assert")
    named = {"rc_compiler.h", "rc_guard.h"}
    free = [f for f in ours() if f.parent.name in ("portable", "image", "solve", "recurc") and f.name not in named]
    assert {f.name for f in free if words.search(f.read_text())} <= {"rc_host.h", "rc_wire.h", "rc_port.h"}
    templates = [*(ROOT / "templates/ops").glob("*.j2"), *(ROOT / "recurc/ops").rglob("*.c.j2"), ROOT / "templates/model.c.j2"]
    assert [f for f in templates if words.search(f.read_text())] == []


def test_generated_code_has_a_line_for_each_statement(generated):
    for file in (f for models in generated.values() for f in models):
        lines = file.read_text().splitlines()
        assert [line for line in lines if re.search(r"[;}](?=[A-Za-z_])", line) or line != line.rstrip()] == [], file
        depth = 0
        for line in lines:
            code = re.sub(r'/\*.*?\*/|"(?:\\.|[^"\\])*"', "", line)
            if code.strip() and not code.startswith(("#", " *", "/*")) and code.rstrip().endswith((";", "{", "}")):
                closes = code.strip().startswith("}")
                least = 4 * (depth - closes)
                assert len(code) - len(code.lstrip()) >= least or code.strip().startswith("case "), (file, line)
            depth += code.count("{") - code.count("}")
        assert depth == 0
