"""Tools that tests need: a missing one skips a test on a person's machine and fails it in CI."""

from __future__ import annotations

import os
import shutil

import pytest

from recurc.errors import ToolchainError
from recurc.targets.boards import load_board
from recurc.targets.toolchain import find_compiler

EMULATED = ("mps2-an500", "mps2-an386", "mps2-an505", "mps3-an547", "riscv32-virt", "riscv32-v-virt")
BUDGETS = ("mcu-4mb", "mcu-4mb-m7", "soc-8mb")


def missing(what: str) -> None:
    """Skip, or fail where everything should be installed."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what} is missing; CI must have it")
    pytest.skip(f"{what} is not installed")


def need(board_name: str) -> None:
    """Compiler and emulator of a board, or a skip."""
    board = load_board(board_name)
    try:
        find_compiler(board.family)
    except ToolchainError as e:
        missing(e.where)
    if board.emulator and shutil.which(board.emulator.program) is None:
        missing(board.emulator.program)


def need_tool(command: str) -> None:
    """A command, or a skip."""
    if shutil.which(command) is None:
        missing(command)


def need_aarch64() -> tuple[str, str]:
    """Cross compiler and user-mode emulator for aarch64, or a skip."""
    for tool in ("aarch64-linux-gnu-gcc", "qemu-aarch64"):
        if shutil.which(tool) is None:
            missing(tool)
    return "aarch64-linux-gnu-gcc", "qemu-aarch64"


def need_clang() -> str:
    """Path of clang, or a skip."""
    path = shutil.which("clang")
    if path is None:
        missing("clang")
    return path
