"""Every command and every Python line of the README runs, and its links lead somewhere."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.M | re.S)


def shell_lines() -> list[str]:
    lines = [line.split("#")[0].strip() for block in blocks("sh") for line in block.splitlines()]
    return [line for line in lines if line]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A folder outside the checkout that sees the examples under the path the README uses."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "examples").symlink_to(ROOT / "examples")
    return folder


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)


def test_commands_run_in_their_order(workplace):
    assert len(shell_lines()) >= 6
    for line in shell_lines():
        done = run(["bash", "-c", line], workplace)
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"


def test_python_runs(workplace):
    assert blocks("python")
    for block in blocks("python"):
        done = run([sys.executable, "-c", block], workplace)
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip().endswith("True")


def test_the_two_commands_are_the_makefile_s():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    assert {"demo", "test"} <= targets
    assert set(re.findall(r"^make (\w+)", TEXT, re.M)) <= targets


def test_every_recurc_command_in_the_text_exists():
    from recurc.cli.main import cli

    known = set(cli.list_commands(None))
    found = re.findall(r"^```(?!python)\w*\n(.*?)^```$|`(recurc [^`\n]+)`", TEXT, re.M | re.S)
    code = "\n".join(block or inline for block, inline in found)
    named = set(re.findall(r"^\$? ?recurc (\w+)", code, re.M))
    assert named and named <= known


def test_links_lead_somewhere():
    for target in re.findall(r"\]\((?!http)([^)#]+)", TEXT):
        assert (ROOT / target).exists(), target


def test_sizes_are_what_the_planner_gives():
    """Bytes in the tables of the README, so that they change with the code."""
    from benchmarks.own_memory import CARRIES, own_figures
    from benchmarks.shapes import PLANNED, SUBJECTS
    from recurc import load
    from recurc.ir.lower import lower
    from recurc.plan.budget import image_budget
    from recurc.plan.kernels import kernel_set
    from recurc.quant.weights import precision_named

    sudoku, maze = SUBJECTS
    rows = [line for line in TEXT.splitlines() if line.startswith("| `")]
    for carry in CARRIES:
        small = own_figures(sudoku.config, "mcu-4mb-m7", "int4", carry)
        large = own_figures(maze.config, "soc-8mb", "int8", carry)
        assert any(f"`{carry}`" in r and f"{small.ram:,} bytes" in r and f"{large.ram:,} bytes" in r for r in rows), carry
    assert f"The int4 image of the 9x9 shape is {small.image:,} bytes" in TEXT
    hrm = own_figures(PLANNED[0].config, "stm32h7", "int4", "int8")
    text = " ".join(TEXT.split())
    assert f"HRM takes {hrm.image / 1e6:.1f} MB at 4 bits" in text and f"in {hrm.ram / 1e3:.0f} KB of RAM" in text
    program = lower(load("sudoku9-mlp").config)
    for precision in ("fp32", "int8", "int4"):
        size = image_budget(program, precision_named(precision).form, kernel_set("dsp")).total
        assert any(r.startswith(f"| `{precision}` | {size:,} bytes") for r in rows), (precision, size)
