"""Chips: what boards with the same part share, one TOML file each in `chips/`. A board names its chip and says the rest.

A chip's file has keys of board files (CHIP_KEYS): memory, clock, UART, ticks, watchdog, what its port is told. What the board
says comes on top: a value replaces the chip's, tables are joined key by key, regions by their names. `without` lists tables of
the chip that the board does not take.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from recurc.errors import InputError
from recurc.formats import parse_toml
from recurc.reading import Unreadable, matching, read_text, shown
from recurc.resources import resource_dir
from recurc.targets.tomltable import nearest

CHIP_KEYS = (
    "family", "core", "cpu_flags", "link_flags", "features", "ports", "clock_hz", "mpu", "packages", "unseen",
    "uart", "watchdog", "ticks", "boot", "defines", "emulator", "regions", "placement",
)  # fmt: skip
CHIP_LIMIT = 1 << 16  # bytes of a chip's file
_HEX = ("base", "size", "uf2_family")  # as people write them


def _bad(path: Path, why: str, next: str = "Correct the board file") -> InputError:
    return InputError("the board file is invalid", where=str(path), why=why, next=next)


@lru_cache(maxsize=1)
def chips() -> Mapping[str, Mapping[str, Any]]:
    """Chip -> its TOML, by name.

    Raises:
        InputError: a file of `chips/` is no chip's.
    """
    found: dict[str, Mapping[str, Any]] = {}
    for path in matching(resource_dir("chips"), "*.toml"):
        try:
            data = parse_toml(read_text(path, CHIP_LIMIT), CHIP_LIMIT)
        except Unreadable as e:
            raise InputError("the chip file cannot be read", where=str(path), why=str(e),
                             next="Correct the chip file") from None  # fmt: skip
        wrong = [key for key in data if key not in ("name", "title", *CHIP_KEYS)]
        if wrong or data.get("name") != path.stem or not isinstance(data.get("title"), str):
            why = f"unknown key {shown(wrong[0])}" if wrong else "name, which is the file's, or title is missing"
            raise InputError("the chip file is invalid", where=str(path), why=why,
                             next=f"A chip has a name, a title and {', '.join(CHIP_KEYS)}")  # fmt: skip
        found[path.stem] = {key: value for key, value in data.items() if key in CHIP_KEYS}
    return found


def _join_regions(chip: list[Any], board: list[Any]) -> list[Any]:
    """The chip's regions in its order, each with what the board says of it, then those that only the board has."""
    own = {r["name"]: r for r in board if isinstance(r, dict) and isinstance(r.get("name"), str)}
    if len(own) != len(board):
        return [*chip, *board]  # what is wrong with it the reader of boards says
    known = [r["name"] for r in chip]
    return [*({**r, **own.get(r["name"], {})} for r in chip), *(r for r in board if r["name"] not in known)]


def with_chip(data: dict[str, Any], path: Path) -> dict[str, Any]:
    """A board's TOML with what its chip says; as it is where it names none. `path` is only named in errors.

    Raises:
        InputError: there is no such chip, or `without` names something that it has not.
    """
    if "chip" not in data:
        return data
    name, without = data["chip"], data.get("without", [])
    if not isinstance(name, str) or name not in chips():
        raise _bad(path, f"there is no chip {shown(name)}", nearest(str(name), tuple(chips())))
    chip = dict(chips()[name])
    if not isinstance(without, list):
        raise _bad(path, "'without' must be a list of strings")
    for key in without:
        if not isinstance(key, str) or key not in chip:
            raise _bad(path, f"without: the chip {name} has no {shown(key)}", f"it has {', '.join(chip)}")
        del chip[key]
    joined = {key: value for key, value in data.items() if key != "without"}
    for key, value in chip.items():
        own = joined.setdefault(key, value)
        if isinstance(value, dict) and isinstance(own, dict):
            joined[key] = {**value, **own}
        elif isinstance(value, list) and isinstance(own, list) and key == "regions":
            joined[key] = _join_regions(value, own)
    return joined


def _line(key: str, value: Any) -> str:
    """A key and its value as TOML: a JSON string is a TOML basic string, a JSON list a TOML array."""
    name = key if re.fullmatch(r"[\w-]+", key, re.ASCII) else json.dumps(key)
    number = key in _HEX and type(value) is int and value >= 0
    return f"{name} = " + (f"0x{value:08X}" if number else json.dumps(value, ensure_ascii=False))


def whole_text(text: str, path: Path) -> str:
    """The text of a board's file with its chip written out, so that it needs no chip's file; as it is without a chip.

    Raises:
        InputError: as of `with_chip`, or no TOML.
    """
    try:
        data = parse_toml(text, CHIP_LIMIT)
    except Unreadable as e:
        raise InputError("the board file is not TOML", where=str(path), why=str(e), next="Correct the board file") from None
    if "chip" not in data:
        return text
    joined = {key: value for key, value in with_chip(data, path).items() if key != "chip"}
    lines = [f"# {data.get('name')} with its chip, {data['chip']}, written out"]
    lines += [_line(k, v) for k, v in joined.items() if not isinstance(v, dict) and k != "regions"]
    for key, value in joined.items():
        if isinstance(value, dict):
            lines += ["", f"[{key}]", *(_line(k, v) for k, v in value.items())]
    for region in joined.get("regions", []):
        lines += ["", "[[regions]]", *(_line(k, v) for k, v in region.items())]
    return "\n".join(lines) + "\n"
