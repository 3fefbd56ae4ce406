"""The programs of examples/embed are built and run by the very commands of their pages in docs, and print what those say."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tools import missing, need, need_aarch64, need_tool

ROOT = Path(__file__).parents[2]
PAGES = {
    page.stem.removeprefix("howto-embed-"): page.read_text("utf-8") for page in sorted((ROOT / "docs").glob("howto-embed-*.md"))
}
PROGRAMS = ("qemu-", "build/")  # commands that begin so are the examples' own
# Where the messages that pages quote are written, but for those of compilers and linkers.
SPEAKERS = ("runtime_c/include/recurc/*.h", "recurc/make/update.py", "examples/embed/*/*.[ct]*")
TOOLS = (
    "undefined reference",
    "multiple definition",
    "overflowed",
    "soft-float",
    "unrecognized opcode",
    "cannot create target",
)
FACTS = ("it hangs", "other tokens", "an answer of")  # not said, but seen


def parts(page: str) -> list[tuple[list[str], str]]:
    """(commands, what their programs print) in turn."""
    found: list[tuple[list[str], str]] = []
    commands: list[str] = []
    for language, body in re.findall(r"^```(\w*)\n(.*?)^```$", PAGES[page], re.M | re.S):
        if language == "sh":
            commands += body.splitlines()
        elif language == "":
            found.append((commands, body))
            commands = []
    assert not commands, "a page ends with what its last command prints"
    return found


class Workplace:
    """A folder that sees the examples under the path that the pages use. What was built in it is not built again."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.done = folder, set[str]()
        (folder / "examples").symlink_to(ROOT / "examples")
        self.environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}

    def run(self, line: str) -> str:
        """What a command prints; nothing where it is of a build that has been made."""
        program = line.startswith(PROGRAMS)
        if line in self.done and not program:
            return ""
        done = subprocess.run(
            ["bash", "-c", line], cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, f"{line}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        assert "warning: " not in re.sub(r".*GNU-stack.*", "", done.stderr), (line, done.stderr)
        self.done.add(line)
        return done.stdout if program else ""

    def follow(self, page: str) -> None:
        for commands, printed in parts(page):
            assert "".join(self.run(line) for line in commands) == printed, commands

    def build(self, page: str) -> None:
        """Run what a page builds until its first two programs have run, but no program."""
        for line in (line for commands, _ in parts(page)[:2] for line in commands if not line.startswith(PROGRAMS)):
            self.run(line)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    return Workplace(tmp_path_factory.mktemp("embed"))


def tools(page: str) -> None:
    need_tool("cmake")
    need("host")
    text = PAGES[page]
    if "mps2-an500" in text:
        need("mps2-an500")
        specs = ["arm-none-eabi-gcc", "-mcpu=cortex-m7", "-print-file-name=rdimon.specs"]
        if subprocess.run(specs, capture_output=True, text=True).stdout.strip() == "rdimon.specs":
            missing("newlib for Arm (libnewlib-arm-none-eabi)")
    if "qemu-system-riscv32" in text:
        need("riscv32-virt")
        if not Path("/usr/lib/picolibc/riscv64-unknown-elf").is_dir():
            missing("picolibc for RISC-V (picolibc-riscv64-unknown-elf)")
    if "qemu-aarch64" in text:
        need_aarch64()
    if "libsodium" in text:
        need_tool("openssl")
        need_tool("pkg-config")
        if subprocess.run(["pkg-config", "--exists", "libsodium"]).returncode != 0:
            missing("libsodium (libsodium-dev)")


def test_every_folder_has_a_page_and_the_table_names_both():
    folders = {f.name for f in (ROOT / "examples" / "embed").iterdir() if (f / "CMakeLists.txt").is_file()}
    assert {folder.replace("_", "-") for folder in folders} == set(PAGES)
    for text, page in (
        ((ROOT / "examples/embed/README.md").read_text("utf-8"), "../../docs/"),
        ((ROOT / "docs/README.md").read_text("utf-8"), ""),
    ):
        for folder in folders:
            assert f"({page}howto-embed-{folder.replace('_', '-')}.md)" in text, folder
    for folder in folders:
        assert f"-S examples/embed/{folder} " in PAGES[folder.replace("_", "-")]


@pytest.mark.parametrize("page", list(PAGES))
def test_a_page_says_what_the_sources_say(page):
    headings = re.findall(r"^## (.*)$", PAGES[page], re.M)
    assert headings[-2:] == ["In your product", "What goes wrong, and what it says"]
    commands, printed = parts(page)[0]
    assert len(commands) < 10 and printed
    spoken = "\n".join(file.read_text("utf-8") for pattern in SPEAKERS for file in sorted(ROOT.glob(pattern)))
    said = re.findall(r"^\| (?!it says)(?!---)(.*?) \|", PAGES[page].split("## What goes wrong")[1], re.M)
    assert said
    for message in (message.strip("` ") for message in said):
        assert message in spoken or any(word in message for word in (*TOOLS, *FACTS)), message


def test_the_readmes_c_compiles(workplace):
    tools("linux")
    (block,) = re.findall(r"^```c\n(.*?)^```$", (ROOT / "README.md").read_text("utf-8"), re.M | re.S)
    (workplace.folder / "block.c").write_text(block)
    workplace.run(parts("linux")[0][0][0])
    workplace.run("cc -std=c11 -Wall -Wextra -Werror -Ibuild/sudoku-linux/library/include -c block.c -o block.o")


@pytest.mark.parametrize("page", list(PAGES))
def test_its_commands_print_what_it_says(page, workplace):
    tools(page)
    workplace.follow(page)


def test_power_may_be_lost_at_any_byte_of_an_update(workplace):
    """Whatever is written by then, the next start answers: by the old image until the new one is whole."""
    tools("update")
    workplace.build("update")
    folder = workplace.folder / "build"
    flash, kept = folder / "flash.bin", folder / "flash.kept"
    for name in ("shipped", "new"):  # it runs slot 1, of counter 1; the next install keeps that counter and writes slot 0
        subprocess.run([folder / "update/product", kept, "install", folder / f"{name}.signed"], check=True, capture_output=True)
    image = (folder / "new.signed").stat().st_size
    sectors = 0x20000
    starts = {"erased counter": 0, "counter": sectors, "erased slot": sectors + 8, "image": 2 * sectors + 8}
    places = [at + i for at in starts.values() for i in (0, 1, 3, 7, 64, 4096)]
    places += [2 * sectors + 8 + image + i for i in (-65, -64, -33, -1)]
    answers = set()
    for at in places:
        shutil.copy(kept, flash)
        product = [folder / "update/product", flash]
        lost = subprocess.run([*product, "install", folder / "new.signed", str(at)], capture_output=True, text=True)
        assert (lost.returncode, lost.stdout) == (3, ""), at
        started = subprocess.run(product, capture_output=True, text=True)
        assert started.returncode == 0 and "slot 1  good, counter 1\nanswer  1243341221344321 by slot 1" in started.stdout, at
        answers.add(started.stdout.splitlines()[0])
    assert answers == {
        "slot 0  good, counter 0",
        "slot 0  the image's counter is below the least",
        "slot 0  the image does not start with RCM1",
        "slot 0  a checksum of the image is wrong",
        "slot 0  the image is not trusted",
    }
