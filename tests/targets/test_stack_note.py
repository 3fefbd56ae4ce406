"""No object of ours asks for a stack that can be executed. A file of assembly that says nothing about it does, for the whole
program that it is linked into."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from recurc.quoting import environment
from recurc.resources import resource_dir
from recurc.targets.toolchain import find_compiler
from tests.tools import need

ROOT = Path(__file__).resolve().parents[2]
EXECUTABLE = 1  # PF_X
NOTE = '.section .note.GNU-stack, "", %progbits'


def assembly() -> list[Path]:
    """Every file of assembly, and every template of one, that is shipped."""
    folders = [resource_dir(kind) for kind in ("runtime_c", "templates")] + [ROOT / "examples", ROOT / "benchmarks"]
    return sorted(p for folder in folders for p in folder.rglob("*") if p.name.endswith((".S", ".s", ".S.j2", ".s.j2")))


def test_the_files_are_found():
    assert {"weights.S.j2", "rc_start.S"} <= {p.name for p in assembly()}


@pytest.mark.parametrize("path", assembly(), ids=lambda p: p.name)
def test_every_file_of_assembly_says_so(path):
    assert NOTE in path.read_text(encoding="utf-8")


def test_a_program_with_weights_has_a_stack_that_is_none_to_run(tmp_path):
    need("host")
    (tmp_path / "model.rcm").write_bytes(bytes(64))
    (tmp_path / "weights.S").write_text(environment().get_template("weights.S.j2").render(version="0", file_sha256="0"))
    (tmp_path / "main.c").write_text("int main(void) { return 0; }\n")
    subprocess.run([find_compiler("host"), "main.c", "weights.S", "-o", "program"], cwd=tmp_path, check=True)
    with (tmp_path / "program").open("rb") as stream:
        (stack,) = [s for s in ELFFile(stream).iter_segments() if s["p_type"] == "PT_GNU_STACK"]
        assert not stack["p_flags"] & EXECUTABLE
