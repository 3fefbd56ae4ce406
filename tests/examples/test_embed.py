"""The programs of examples/embed are built and run by the very commands of their README, and print what it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tools import missing, need, need_aarch64, need_tool

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "examples" / "embed" / "README.md").read_text(encoding="utf-8")
SECTIONS = {title: body for title, body in re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", TEXT, re.M | re.S) if "```sh" in body}
# What a section's program prints ends the output of the last command of each of these words.
PROGRAMS = ("qemu-system-arm", "qemu-aarch64", "build/")


def commands(section: str) -> list[str]:
    return [line for block in re.findall(r"^```sh\n(.*?)^```$", SECTIONS[section], re.M | re.S) for line in block.splitlines()]


def builds_before(section: str, folder: Path) -> list[str]:
    """Commands of other sections that make what this one takes, where they have not been run in this folder."""
    own = "\n".join(commands(section))
    lines = [line for other in SECTIONS if other != section for line in commands(other) if line.startswith("recurc build")]
    made = {line.split()[-1]: line for line in lines}  # by its --out
    return [line for out, line in made.items() if f"/{out}/" in own and not (folder / out).exists()]


def printed(section: str) -> str:
    outputs = re.sub(r"^```sh\n.*?^```$", "", SECTIONS[section], flags=re.M | re.S)
    return re.findall(r"^```\n(.*?)^```$", outputs, re.M | re.S)[0]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A folder that sees the examples under the path that the README uses."""
    folder = tmp_path_factory.mktemp("embed")
    (folder / "examples").symlink_to(ROOT / "examples")
    return folder


def tools(section: str) -> None:
    need_tool("cmake")
    need("host")
    if "M7" in section or "scheduler" in section:
        need("mps2-an500")
        specs = ["arm-none-eabi-gcc", "-mcpu=cortex-m7", "-print-file-name=rdimon.specs"]
        if subprocess.run(specs, capture_output=True, text=True).stdout.strip() == "rdimon.specs":
            missing("newlib for Arm (libnewlib-arm-none-eabi)")
    if section == "Linux":
        need_aarch64()


def test_every_folder_has_a_section():
    assert list(SECTIONS) == ["Bare metal, a Cortex-M7", "Under a scheduler", "Linux", "C++, and two models"]
    folders = {f.name for f in (ROOT / "examples" / "embed").iterdir() if (f / "CMakeLists.txt").is_file()}
    assert folders == set(re.findall(r"-S examples/embed/(\w+)", TEXT))


def test_the_readmes_c_compiles(workplace):
    tools("C++, and two models")
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```c\n(.*?)^```$", text, re.M | re.S)
    (workplace / "block.c").write_text(block)
    recurc, out = Path(sys.executable).parent / "recurc", workplace / "build" / "block"
    build = [recurc, "build", "sudoku4-tiny", "--target", "host", "--as", "library", "--name", "sudoku", "--out", out]
    subprocess.run(build, check=True, capture_output=True)
    flags = ["-std=c11", "-Wall", "-Wextra", "-Werror", f"-I{out / 'library' / 'include'}"]
    subprocess.run(["cc", *flags, "-c", "block.c", "-o", "block.o"], cwd=workplace, check=True)


@pytest.mark.parametrize("section", list(SECTIONS))
def test_its_commands_print_what_it_says(section, workplace):
    tools(section)
    assert len(commands(section)) < 10
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    ran = 0
    for line in [*builds_before(section, workplace), *commands(section)]:
        done = subprocess.run(["bash", "-c", line], cwd=workplace, env=environment, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, f"{line}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        assert "warning: " not in re.sub(r".*GNU-stack.*", "", done.stderr), (line, done.stderr)
        if line.startswith(PROGRAMS):
            assert done.stdout == printed(section), line
            ran += 1
    assert ran
