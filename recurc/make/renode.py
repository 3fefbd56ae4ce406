"""Renode's scripts for a build's firmware: platform (.repl), script (.resc), Robot test, from the board's file.

Nobody has run them: Renode is in no package registry. Their syntax is checked in tests, and each file says so.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from recurc import __version__
from recurc.quoting import environment
from recurc.resources import resource_dir
from recurc.targets.boards import Board
from recurc.targets.regions import Region

PORT = 3456  # where the script puts the UART
SUFFIXES = (".repl", ".resc", ".robot")

# Kind of a board file's UART, up to its number -> Renode's model and its settings; {hz} is the core's clock.
_UARTS: dict[str, tuple[str, dict[str, str]]] = {
    "cmsdk": ("UART.CMSDK_APB_UART", {"frequency": "{hz}"}),
    "stm32-usart": ("UART.STM32F7_USART", {"frequency": "{hz}"}),
    "lpuart": ("UART.NXP_LPUART", {"frequency": "{hz}"}),
    "pl011": ("UART.PL011", {"frequency": "{hz}"}),
    "ns16550": ("UART.NS16550", {}),
    "uarte": ("UART.NRF52840_UART", {"easyDMA": "true"}),
}
_WORDS = {"using", "new", "as", "preinit", "init", "reset", "local", "true", "false", "none", "empty"}
_TAKEN = {"cpu", "nvic", "clint", "dwt", "uart", "sysbus"}


@lru_cache(maxsize=1)
def port_registers() -> Mapping[str, Mapping[str, Any]]:
    """Port -> {"tags": constant registers, "rolling": changing ones, "cycle_counter"}; see templates/renode/ports.toml."""
    return tomllib.loads((resource_dir("templates") / "renode" / "ports.toml").read_text(encoding="utf-8"))


def uart_model(board: Board) -> tuple[str, dict[str, str]] | None:
    """Renode's model of a board's UART and its settings; None when it has none that fits."""
    found = _UARTS.get(board.uart.kind.rstrip("0123456789")) or _UARTS.get(board.uart.kind)
    if found is None:
        return None
    return found[0], {name: value.format(hz=board.clock_hz) for name, value in found[1].items()}


def describable(board: Board) -> bool:
    """Whether Renode has what a board's firmware needs: core, UART, and what its port waits for."""
    known = port_registers()
    return board.linkable and board.family in ("arm", "riscv") and uart_model(board) is not None and all(
        port in known for port in board.ports)  # fmt: skip


def render_renode(
    board: Board, *, build_name: str, build: str, elf: str, build_up: str, data_up: str, table: Mapping[str, Any] | None = None
) -> dict[str, str]:
    """The three files for a board: suffix -> text.

    Args:
        build: the build folder as people name it; `build_up`, `data_up`, `elf`: build, dataset and ELF from the folder
            that the files will lie in.
        table: {"path", "address"} of a memory-mapped puzzle table, path as `elf`.
    """
    model = uart_model(board)
    assert model is not None and describable(board)
    registers = [port_registers()[port] for port in board.ports]
    riscv = board.family == "riscv"
    context = {
        "version": __version__, "board": board, "riscv": riscv, "cpu_type": _cpu_type(board),
        "regions": [_memory(r) for r in board.regions], "uart": {"model": model[0], "settings": model[1]},
        "cycle_counter": any(r.get("cycle_counter") for r in registers),
        "tags": [tag for r in registers for tag in r.get("tags", ())],
        "rolling": [{"label": x["name"].lower(), "address": x["address"], "why": f"{x['name']}: every read shows the next bit"}
                    for r in registers for x in r.get("rolling", ())],
        "build_name": build_name, "build": build, "elf": elf, "build_up": build_up, "data_up": data_up, "table": table,
        "port": PORT,
    }  # fmt: skip
    env = environment()
    return {suffix: env.get_template(f"renode/board{suffix}.j2").render(context) for suffix in SUFFIXES}


def _memory(region: Region) -> dict[str, Any]:
    """A region under a name that is free and no word of the language."""
    label = region.name if region.name not in _WORDS | _TAKEN else f"{region.name}_memory"
    return {"label": label, "base": region.base, "size": region.size, "kind": region.kind, "note": region.note}


def _cpu_type(board: Board) -> str:
    if board.family == "riscv":
        return f"{board.core}_zicsr_zifencei"
    return "cortex-m4f" if board.core == "cortex-m4" and "fpu-sp" in board.features else board.core
