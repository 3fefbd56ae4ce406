"""runtime_c stands alone: it is built and tested by CMake, and what its tests in C expect is what the Python side has."""

from __future__ import annotations

import re
import shutil
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest

from recurc.emit.image import check_image
from recurc.quant import arith
from recurc.quant.arith import F32
from recurc.quant.tableformat import unpack_header
from recurc.resources import resource_dir
from recurc.targets.boards import load_board
from recurc.targets.toolchain import find_compiler
from tests.tools import missing, need

RUNTIME = resource_dir("runtime_c")
DATA = RUNTIME / "tests" / "data"
FLOATS = 97


def cmake() -> tuple[str, str]:
    """cmake and ctest, or a skip."""
    for tool in ("cmake", "ctest"):
        if shutil.which(tool) is None:
            missing(tool)
    return "cmake", "ctest"


def configured(folder: Path, source: Path, *options: str, family: str = "host") -> subprocess.CompletedProcess[str]:
    """Options: what cmake takes; code is not optimized, so that it compiles in seconds."""
    command = [cmake()[0], "-S", str(source), "-B", str(folder), f"-DCMAKE_C_COMPILER={find_compiler(family)}",
               "-DCMAKE_C_FLAGS_RELEASE=-O0", *options]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True)


def test_it_builds_without_a_warning_and_passes_its_tests(tmp_path):
    need("host")
    done = configured(tmp_path, RUNTIME, "-DRECURC_WARNINGS_AS_ERRORS=ON")
    assert done.returncode == 0, done.stderr
    done = subprocess.run([cmake()[0], "--build", str(tmp_path), "--parallel", "2"], capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    done = subprocess.run([cmake()[1], "--output-on-failure"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]
    assert re.search(r"100% tests passed, 0 tests failed out of 5\b", done.stdout), done.stdout


def test_a_project_links_it_without_its_tests(tmp_path):
    """As part of another project: no tests, no port; the reader runs. As a package ships it, which is without tests/."""
    need("host")
    shutil.copytree(RUNTIME, tmp_path / "runtime_c", ignore=shutil.ignore_patterns("tests", "ports"))
    (tmp_path / "main.c").write_text(
        '#include "recurc/rc_crc32.h"\nint main(void) { return rc_crc32(0, "123456789", 9) == 0xCBF43926u ? 0 : 1; }\n'
    )
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.16)\nproject(app C)\nadd_subdirectory(runtime_c)\n"
        "add_executable(app main.c)\ntarget_link_libraries(app PRIVATE recurc::image)\n"
    )
    done = configured(tmp_path / "build", tmp_path, "-DRECURC_KERNELS=portable")
    assert done.returncode == 0, done.stderr
    subprocess.run([cmake()[0], "--build", str(tmp_path / "build"), "--target", "app"], check=True, capture_output=True)
    assert subprocess.run([tmp_path / "build" / "app"]).returncode == 0


@pytest.mark.parametrize("board_name, kernels, targets", [
    ("mps2-an386", "dsp", ("recurc_image", "recurc_kernels", "recurc_solve", "recurc_wire")),
    ("mps3-an547", "mve", ("recurc_kernels",)),
    ("riscv32-v-virt", "rvv", ("recurc_kernels",)),
])  # fmt: skip
def test_it_builds_for_another_core_without_a_c_library(board_name, kernels, targets, tmp_path):
    need(board_name)
    board = load_board(board_name)
    done = configured(
        tmp_path, RUNTIME, "-DCMAKE_SYSTEM_NAME=Generic", "-DCMAKE_TRY_COMPILE_TARGET_TYPE=STATIC_LIBRARY",
        f"-DCMAKE_C_FLAGS={' '.join(board.cpu_flags)}", f"-DRECURC_KERNELS={kernels}", "-DRECURC_FREESTANDING=ON",
        "-DRECURC_WARNINGS_AS_ERRORS=ON", "-DRECURC_WATCHDOG_MS=30000", family=board.family)  # fmt: skip
    assert done.returncode == 0, done.stderr
    command = [cmake()[0], "--build", str(tmp_path), "--parallel", "2", "--target", *targets]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    assert {f.stem for f in tmp_path.glob("*.a")} == {f"lib{t}" for t in targets}


def test_a_kernel_set_that_is_none_is_refused(tmp_path):
    need("host")
    done = configured(tmp_path, RUNTIME, "-DRECURC_KERNELS=neon")
    assert done.returncode and "RECURC_KERNELS is neon: take portable, host, dsp, mve or rvv" in " ".join(done.stderr.split())


# -- what the tests in C expect ---------------------------------------------------------------------------------------


def random_floats(state: int, n: int) -> np.ndarray:
    """random_float of tests/test.h, `n` of them: xorshift of 32 bits, multiples of 2^-20."""
    made = []
    for _ in range(n):
        state ^= state << 13 & 0xFFFFFFFF
        state ^= state >> 17
        state ^= state << 5 & 0xFFFFFFFF
        made.append((state >> 8) - 0x800000)
    return np.array(made, F32) * F32(2.0**-20)


def test_its_checksums_are_the_numpy_twins():
    text = (RUNTIME / "tests" / "test_kernels.c").read_text(encoding="utf-8")
    told = {name: int(crc, 16) for name, crc in re.findall(r'expect\(name, "([^"]+)",[^;]*?(0x[0-9A-F]{8})u\);', text, re.S)}
    x, y = random_floats(int(re.findall(r"random_state = (\d+)u;\n    for", text)[0]), 2 * FLOATS).reshape(2, FLOATS)
    rows, q = arith.quantize_rows(x[None]), np.zeros(104, np.int8)
    q[:FLOATS] = rows.q[0]
    outputs = {
        "quantize_rows8": q, "quantize_rows8's scale": rows.a.astype(F32), "quantize_rows8's sum": rows.total.astype(np.int32),
        "silu_mul": arith.silu(x) * y, "softmax": arith.softmax(x[None]), "rms_norm": arith.rms_norm(x[None], 1e-5),
        "rope": arith.rope(x[:64], y[:32], y[32:64]), "dot_f32": arith.sum_mod4((x * y)[None]),
        "linear_f32": arith.linear_f32(x[None, :24], y[:96].reshape(4, 24)),
    }  # fmt: skip
    assert told == {name: zlib.crc32(np.ascontiguousarray(a).tobytes()) for name, a in outputs.items()}


def test_its_files_are_what_python_reads():
    text = (RUNTIME / "tests" / "test_image.c").read_text(encoding="utf-8")
    (sections,) = re.findall(r"SECTIONS\[\] = \{(.*)\};", text)
    told = [tuple(map(int, s)) for s in re.findall(r"\{(\d+), (\d+), (\d+)\}", sections)]
    assert list(check_image((DATA / "tiny.rcm").read_bytes())) == told
    table = (DATA / "tiny.rct").read_bytes()
    header = unpack_header(table)
    assert (header.rows, header.dim, header.storage, header.file_bytes) == (3, 5, "int8", len(table))


@pytest.mark.parametrize("name", ["CMakeLists.txt", "tests/CMakeLists.txt"])
def test_every_source_is_built(name):
    """Every test in C is one of ctest's; every folder of sources but the ports belongs to a library."""
    text = (RUNTIME / name).read_text(encoding="utf-8")
    if name == "CMakeLists.txt":
        rooms = {p.parent.name for p in RUNTIME.rglob("*.c") if "ports" not in p.parts and "tests" not in p.parts}
        sets = set(re.findall(r"STRINGS ([a-z ]+)\)", text)[0].split())
        assert rooms - sets == {"image", "solve", "wire"} and sets <= rooms
    else:
        told = re.findall(r"recurc_test\((\w+)", text)
        assert sorted(told) == sorted(p.stem.removeprefix("test_") for p in (RUNTIME / "tests").glob("test_*.c"))
