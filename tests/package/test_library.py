"""The library: C sources under the model's name that any program takes, with the same bits as the firmware."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from recurc.api import Gate, Model
from recurc.cli.main import main
from recurc.emit.naming import Prefix, default_name, library_name
from recurc.errors import UsageError
from recurc.report.document import report_build
from recurc.targets.boards import list_boards
from tests.randmodels import random_inputs, random_reasoner
from tests.tools import need, need_tool

GOOD = Gate(1.0, 1, "calibration puzzles", ())
STEPS = 3
MODELS = {"first": random_reasoner("mlp_t", pos="none"), "second": random_reasoner("attention")}
# Runs a puzzle of each model, an op of the one and an op of the other in turn, with arenas of their own; prints the tokens
# after each step.
PROGRAM = """
#include <stdio.h>
#include "first.h"
#include "second.h"
static uint8_t a[FIRST_ARENA_BYTES] __attribute__((aligned(FIRST_ARENA_ALIGN)));
static uint8_t b[SECOND_ARENA_BYTES] __attribute__((aligned(SECOND_ARENA_ALIGN)));
static first_ctx_t one;
static second_ctx_t two;
static const uint8_t p[] = {@FIRST@}, q[] = {@SECOND@};
static void show(char which, const uint8_t *tokens, uint32_t n)
{
    putchar(which);
    for (uint32_t i = 0; i < n; i++) {
        printf(" %u", (unsigned)tokens[i]);
    }
    putchar('\\n');
}
int main(void)
{
    uint32_t n = 0;
    if (first_open(&one, first_weights(), FIRST_IMAGE_BYTES, a, sizeof a, 0) != FIRST_OK ||
        second_open(&two, second_weights(), SECOND_IMAGE_BYTES, b, sizeof b, 0) != SECOND_OK ||
        first_begin(&one, p, 0u) != FIRST_OK || second_begin(&two, q, 0u) != SECOND_OK) {
        return 1;
    }
    for (uint32_t step = 0; step < @STEPS@u; step++) {
        for (uint32_t op = 1; op <= FIRST_OPS || op <= SECOND_OPS; op++) {
            if (op <= FIRST_OPS && first_ops(&one, op) != FIRST_OK) {
                return 2;
            }
            if (op <= SECOND_OPS && second_ops(&two, op) != SECOND_OK) {
                return 3;
            }
        }
        const uint8_t *tokens = first_tensor(&one, FIRST_TENSOR_TOKENS, &n);
        show('1', tokens, n);
        tokens = second_tensor(&two, SECOND_TENSOR_TOKENS, &n);
        show('2', tokens, n);
    }
    return 0;
}
"""
CMAKE = """
cmake_minimum_required(VERSION 3.16)
project(product LANGUAGES C)
add_subdirectory(first)
add_subdirectory(second)
add_executable(product main.c)
target_link_libraries(product PRIVATE recurc::first recurc::second)
"""
STRICT = "-Wall -Wextra -Wconversion -Wshadow -Wdouble-promotion -Wcast-align=strict -Werror".split()


@pytest.fixture(scope="module")
def quantized():
    return {name: Model(r, f"{name} model").quantize("int4", method="min-max") for name, r in MODELS.items()}


@pytest.fixture(scope="module")
def product(quantized, tmp_path_factory) -> Path:
    """A folder with libraries of two models for this computer, and a program that runs both."""
    need("host")
    folder = tmp_path_factory.mktemp("product")
    for name, model in quantized.items():
        built = model.build("host", folder / f"{name}-build", gate=GOOD, as_="library", name=name)
        assert built.packages == ("library",) and built.details["packages"] == {"library": "library"}
        shutil.move(built.path / "library", folder / name)
    main = PROGRAM.replace("@STEPS@", str(STEPS))
    for name, reasoner in MODELS.items():
        main = main.replace(f"@{name.upper()}@", ", ".join(map(str, random_inputs(reasoner, 1)[0][0])))
    (folder / "main.c").write_text(main)
    return folder


@pytest.fixture(scope="module")
def expected(quantized) -> list[str]:
    """What the program is to print: the host engine's tokens."""
    runs = {}
    for name, model in quantized.items():
        inputs, ids = random_inputs(MODELS[name], 1)
        runs[name] = model.run(inputs, np.zeros_like(ids), STEPS, trajectory=True).trajectory.tokens
    return [f"{i} " + " ".join(map(str, runs[name][step][0])) for step in range(STEPS) for i, name in enumerate(MODELS, 1)]


def run(*command: object, cwd: Path | None = None) -> str:
    done = subprocess.run([str(c) for c in command], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, (command, done.stdout[-2000:], done.stderr[-4000:])
    return done.stdout


def sources(folder: Path) -> list[Path]:
    return sorted((folder / "src").glob("*.c"))


@pytest.fixture(scope="module")
def objects(product, tmp_path_factory) -> dict[str, list[Path]]:
    """What a compiler makes of each model's sources, for the tests that do not ask how they are compiled."""
    made: dict[str, list[Path]] = {}
    for name in MODELS:
        folder = tmp_path_factory.mktemp(f"{name}-objects")
        run("cc", "-O1", "-ffp-contract=off", "-c", f"-I{product / name / 'include'}", *sources(product / name), cwd=folder)
        made[name] = sorted(folder.glob("*.o"))
    return made


def by_hand(folder: Path, out: Path, flags: Sequence[str], objects: dict[str, list[Path]] | None = None) -> Path:
    """The program without CMake: every file of src or what was made of them, and the weights."""
    made = [f for name in MODELS for f in (objects[name] if objects else sources(folder / name))]
    weights = [next((folder / name).glob(f"{name}_weights.*")) for name in MODELS]
    includes = [f"-I{folder / name / part}" for name in MODELS for part in ("include", "src", ".")]
    run("cc", "-ffp-contract=off", "-fno-math-errno", *flags, *includes, folder / "main.c", *made, *weights, "-o", out)
    return out


def test_two_models_in_one_program_give_the_hosts_tokens(product, expected, tmp_path):
    need_tool("cmake")
    (product / "CMakeLists.txt").write_text(CMAKE)
    run("cmake", "-S", product, "-B", tmp_path / "b", f"-DCMAKE_C_FLAGS={' '.join(STRICT)}")
    run("cmake", "--build", tmp_path / "b", "-j2")
    assert run(tmp_path / "b" / "product").splitlines() == expected
    symbols = run("nm", tmp_path / "b" / "product")
    assert " first_ops\n" in symbols and "op_name" not in symbols, "a program that asks for no names has none"


@pytest.mark.parametrize("flags", ["-O0", "-Os -g", "-O3 -flto", "-O2 -march=native -fno-strict-aliasing"])
def test_every_build_system_and_its_flags_give_the_same(product, expected, tmp_path, flags):
    assert run(by_hand(product, tmp_path / "program", flags.split())).splitlines() == expected


def test_a_compiler_that_contracts_in_spite_of_its_flags_is_refused(product, tmp_path):
    """What it compiles is looked at, so it works for another processor too."""
    need_tool("cmake")
    compiler = tmp_path / "cc"
    compiler.write_text('#!/bin/sh\nexec arm-none-eabi-gcc "$@" -ffp-contract=fast\n')
    compiler.chmod(0o755)

    def configure(compiler: object) -> str:
        out = tmp_path / f"b{Path(str(compiler)).name}"
        command = ["cmake", "-S", product / "first", "-B", out, "-DCMAKE_SYSTEM_NAME=Generic",
                   f"-DCMAKE_C_COMPILER={compiler}", "-DCMAKE_TRY_COMPILE_TARGET_TYPE=STATIC_LIBRARY",
                   "-DCMAKE_C_FLAGS=-mcpu=cortex-m7 -mfpu=fpv5-sp-d16 -mfloat-abi=hard"]  # fmt: skip
        done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
        return " ".join(done.stderr.split()) if done.returncode else ""

    assert "first: the compiler fuses a product and a sum" in configure(compiler)
    assert configure("arm-none-eabi-gcc") == ""


def test_installed_it_is_found(product, quantized, tmp_path):
    need_tool("cmake")
    run("cmake", "-S", product / "first", "-B", tmp_path / "b", f"-DCMAKE_INSTALL_PREFIX={tmp_path / 'usr'}")
    run("cmake", "--build", tmp_path / "b", "-j2")
    run("cmake", "--install", tmp_path / "b")
    user = tmp_path / "user"
    user.mkdir()
    (user / "main.c").write_text(
        "#include <first.h>\nint main(void) { return first_info.steps == FIRST_STEPS &&\n"
        "first_info.api == FIRST_API_VERSION && first_op_name(FIRST_OPS - 1u) != 0 &&\n"
        "first_op_name(FIRST_OPS) == 0 ? 0 : 1; }\n"
    )
    (user / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.16)\nproject(user C)\nfind_package(first 1.0 REQUIRED)\n"
        "add_executable(user main.c)\ntarget_link_libraries(user PRIVATE recurc::first)\n"
    )
    run("cmake", "-S", user, "-B", user / "b", f"-DCMAKE_PREFIX_PATH={tmp_path / 'usr'}")
    run("cmake", "--build", user / "b")
    run(user / "b" / "user")
    found = next((tmp_path / "usr").rglob("first.pc")).read_text()
    assert f"libdir={tmp_path / 'usr' / 'lib'}" in found and "-lfirst" in found


def test_every_symbol_and_file_has_the_name(product, objects):
    for name in MODELS:
        files = [f.relative_to(product / name) for f in (product / name).rglob("*") if f.is_file()]
        plain = {"CMakeLists.txt", "README.md", "LICENSE"}
        assert all(f.name.startswith(name) or f.name in plain for f in files), files
        assert len(objects[name]) == len(sources(product / name))
        for made in objects[name]:
            for line in run("nm", made).splitlines():
                kind, symbol = line.split()[-2:]
                allowed = (
                    "mem",
                    "_GLOBAL_OFFSET_TABLE_",
                    "__stack_chk_fail",
                    "__cpu_model",
                    "__cpu_features2",
                    "getenv",
                    "strcmp",
                    "sqrtf",
                    "__cpu_indicator_init",
                    "getauxval",
                )
                assert kind.islower() or symbol.startswith((f"{name}_", *(allowed if kind == "U" else ()))), (made, line)
        texts = "\n".join(f.read_text() for f in (product / name).rglob("*.[chS]"))
        assert not re.search(r"\\b(rc|RC|RECURC)_", texts)


def test_no_kernel_that_is_not_called(quantized, tmp_path):
    kernels = {}
    for name, model in quantized.items():
        built = model.build("mps2-an500", tmp_path / name, gate=GOOD, as_="library", name=name)
        kernels[name] = {f.stem.removeprefix(f"{name}_") for f in (built.path / "library" / "src").glob("*.c")}
    assert "tile_s4_dsp" in kernels["first"] and not {"rope", "tile_g32_dsp", "tile_s8_dsp", "table"} & kernels["first"]
    assert {"rope", "softmax"} <= kernels["second"]


def test_noise_is_told_where_it_is_built_in(product, tmp_path):
    noisy = Model(MODELS["first"], "first model").quantize("int4", method="min-max", noisy_runs=2)
    built = noisy.build("mps2-an500", tmp_path / "b", gate=GOOD, as_="library", name="first")
    assert "`first_noise`" in (built.path / "library" / "README.md").read_text()
    assert "_noise" not in (product / "first" / "README.md").read_text()


@pytest.mark.parametrize("standard", ["c++11", "c++14", "c++17", "c++20"])
def test_a_program_in_cpp_takes_it(product, objects, tmp_path, standard):
    need_tool("c++")
    text = """#include "first.h"
    static uint8_t arena[FIRST_ARENA_BYTES] __attribute__((aligned(FIRST_ARENA_ALIGN)));
    int main() {
        first_ctx_t ctx;
        const first_options_t options = {0u, nullptr, nullptr};
        return first_open(&ctx, first_weights(), FIRST_IMAGE_BYTES, arena, sizeof arena, &options) == FIRST_OK ? 0 : 1;
    }
    """
    (tmp_path / "main.cpp").write_text(text)
    include, weights = product / "first" / "include", product / "first" / "first_weights.S"
    run("c++", f"-std={standard}", "-Wall", "-Wextra", "-Wpedantic", "-Werror", f"-I{include}", f"-I{product / 'first'}",
        tmp_path / "main.cpp", *objects["first"], weights, "-o", tmp_path / "program")  # fmt: skip
    run(tmp_path / "program")


@pytest.mark.parametrize("weights", ["array", "file"])
def test_weights_as_an_array_or_as_a_file(quantized, product, objects, expected, tmp_path, weights):
    built = quantized["first"].build("host", tmp_path / "build", gate=GOOD, as_="library", name="first", weights=weights)
    folder = tmp_path / "product"
    shutil.copytree(product / "second", folder / "second")
    shutil.copytree(built.path / "library", folder / "first")
    shutil.copy(product / "main.c", folder / "main.c")
    assert not (folder / "first" / "first_weights.S").exists()
    for part in ("include", "src"):
        one, other = (sorted((f / "first" / part).iterdir()) for f in (product, folder))
        assert [f.name for f in one] == [f.name for f in other]
        assert [f.read_bytes() for f in one] == [f.read_bytes() for f in other], "where the weights are changes no source"
    if weights == "file":
        assert not (folder / "first" / "first_weights.c").exists()
        (folder / "first" / "first_weights.S").write_text(
            ".section .rodata\n.balign 64\n.global first_image_start\n"
            f'first_image_start: .incbin "{folder / "first" / "first.rcm"}"\n'
            '.section .note.GNU-stack,"",%progbits\n'
        )
    assert run(by_hand(folder, tmp_path / "program", ["-O1"], objects)).splitlines() == expected


def test_a_bill_of_materials_names_every_file(product):
    bill = json.loads((product / "first" / "first.spdx.json").read_text())
    listed = {entry["fileName"].removeprefix("./"): entry for entry in bill["files"]}
    there = {str(f.relative_to(product / "first")): f for f in (product / "first").rglob("*") if f.is_file()}
    assert set(listed) == set(there) - {"first.spdx.json"}
    code = bill["packages"][0]["packageVerificationCode"]
    assert code["packageVerificationCodeExcludedFiles"] == ["./first.spdx.json"]
    for name, entry in listed.items():
        sums = {c["algorithm"]: c["checksumValue"] for c in entry["checksums"]}
        assert sums["SHA256"] == hashlib.sha256(there[name].read_bytes()).hexdigest()
    assert (
        listed["first.rcm"]["licenseConcluded"] == "NOASSERTION"
        and listed["src/first_model.c"]["licenseConcluded"] == "Apache-2.0"
    )
    assert "Apache License" in (product / "first" / "LICENSE").read_text()


def test_a_board_without_a_port_gets_one_too(quantized, tmp_path):
    board = next(b for b in list_boards() if not b.buildable and b.family == "arm")
    built = quantized["first"].build(board, tmp_path / "out", gate=GOOD, as_="library", weights="file")
    assert (built.path / "library" / "include" / "first_model.h").is_file() and built.elf is None
    parts = {r["name"]: r["parts"] for r in report_build(built)["regions"]}
    assert [name for name, found in parts.items() if "weights" in found] == ["elsewhere"]
    header = (built.path / "library" / "include" / "first_model.h").read_text()
    assert f"ARENA_BYTES {built.details['arena_bytes']}u" in header


@pytest.mark.parametrize("name", ["", "a-b", "1st", "string", "Stdint", "a" * 41, "ä", "a.b", "all", "m"])
def test_names_that_cannot_be(name):
    with pytest.raises(UsageError, match="cannot be named"):
        library_name(name)


@pytest.mark.parametrize("model, name", [("sudoku9-mlp", "sudoku9_mlp"), ("9x9", "model_9x9"), ("string", "model_string"),
                                         ("ä b/c", "b_c"), ("…", "model"), ("A" * 60, "a" * 40)])  # fmt: skip
def test_a_models_name_gives_one(model, name):
    assert default_name(model) == name and library_name(name) == Prefix(name)


def test_what_only_a_library_takes_is_refused_elsewhere(quantized, tmp_path, capsys):
    for more in ({"name": "mine"}, {"weights": "array"}):
        with pytest.raises(UsageError, match="is a library's"):
            quantized["first"].build("mps2-an386", tmp_path / "out", gate=GOOD, **more)
    with pytest.raises(UsageError, match="no package format 'libary'"):
        quantized["first"].build("mps2-an386", tmp_path / "out", gate=GOOD, as_="libary")
    assert main(["build", "sudoku4-tiny", "--target", "mps2-an386", "--name", "mine"]) == 2
    assert "--name" in capsys.readouterr().err


def test_the_command_builds_one(tmp_path, capsys):
    need("host")
    out = tmp_path / "out"
    command = ["build", "hrm-sudoku4", "--target", "mps2-an500", "--as", "library", "--name", "Solver", "--out", str(out)]
    assert main([*command, "--calibration-puzzles", "4", "--accuracy-puzzles", "0", "--min-fidelity", "0"]) == 0
    assert "C library in library/" in " ".join(capsys.readouterr().out.split())
    assert (out / "library" / "include" / "Solver.h").is_file()
    assert "#define SOLVER_ARENA_BYTES" in (out / "library" / "include" / "Solver.h").read_text()
