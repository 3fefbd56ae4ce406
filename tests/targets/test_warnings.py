"""The hand-written C for every chip is free of warnings under all flags that we hold ourselves to, -Wcast-align=strict too,
which only GCC has and firmware is not compiled with; `tests/test_runtime_cmake.py` does the same for this computer."""

from __future__ import annotations

import subprocess

import pytest

from recurc.plan.kernels import choose_kernels
from recurc.resources import resource_dir
from recurc.targets.boards import Board, list_boards
from recurc.targets.toolchain import board_defines as macros
from recurc.targets.toolchain import compile_flags, find_compiler, macro_text, port_include_dirs, runtime_sources
from tests.tools import need

RUNTIME = resource_dir("runtime_c")


def distinct() -> list[Board]:
    """One board for each set of ports and kernels."""
    bare = (b for b in list_boards() if b.linkable and b.family != "host")
    found = {(b.ports, choose_kernels(b.features).name, b.cpu_flags): b for b in bare}
    return sorted(found.values(), key=lambda b: b.name)


@pytest.mark.parametrize("board", distinct(), ids=lambda b: b.name)
def test_no_warning(board):
    need(board.name)
    kernels = [RUNTIME / "kernels" / name for name in choose_kernels(board.features).sources]
    sources = [f for f in (*runtime_sources(board, RUNTIME), *kernels, *(RUNTIME / "image").glob("*.c")) if f.suffix == ".c"]
    command = [find_compiler(board.family), *(f for f in compile_flags(board) if f != "-fcallgraph-info=su"),
               "-Wcast-align=strict", "-Wstrict-prototypes", "-fsyntax-only",
               *(f"-D{name}={macro_text(value)}" for name, value in macros(board).items()),
               *(f"-I{folder}" for folder in port_include_dirs(board, RUNTIME))]  # fmt: skip
    done = subprocess.run([*command, *map(str, dict.fromkeys(sources))], capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr, done.stderr[:3000]
