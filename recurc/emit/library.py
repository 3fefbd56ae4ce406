"""A model's C sources as a library of its own: only what it and its core need, all of it under the library's name."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from recurc.emit.code import OP_NAMES
from recurc.emit.naming import Prefix
from recurc.emit.sources import ENGINE_SOURCES, Sources
from recurc.reading import read_text

# What NAME.h is made of, in this order: what a program sees of a model.
PUBLIC = ("model_config.h", "rc_status.h", "rc.h", "rc_solve.h", "rc_known.h", "rc_choose.h")
_PUBLIC = frozenset(PUBLIC)
_LICENSE = "/* SPDX-License-Identifier:"
_TABLE = "image/rc_table.c"
_WORD = re.compile(r"\brc_\w+")
_HEADER = re.compile(r'^[ \t]*#\s*include\s+"([^"]+)"', re.M)
_GUARD = re.compile(r"\s*#\s*(?:ifndef|define)\s+(?:RECURC_\w+_H|MODEL_CONFIG_H)\s*")
_END = re.compile(r"\s*#\s*endif\s*(?:/\*.*\*/)?\s*")


def needed_files(sources: Sources, runtime: Path, table: bool) -> list[Path]:
    """C files that a model needs: of its kernel set, those that its code calls, and what they call.

    Args:
        table: whether its puzzle table is streamed.
    """
    kernels = {Path(name).stem: runtime / "kernels" / name for name in sources.kernels.sources}
    found = [sources.folder / "model.c", sources.folder / OP_NAMES]
    for file in found:  # grows
        beside = [header for header in _headers(file, sources, runtime) if header.parent == file.parent]
        for word in sorted({word for part in (file, *beside) for word in _WORD.findall(read_text(part))}):
            if word in kernels and kernels[word] not in found:
                found.append(kernels[word])
    return [*found, *(runtime / name for name in ENGINE_SOURCES if table or name != _TABLE)]


def _headers(file: Path, sources: Sources, runtime: Path) -> list[Path]:
    """Headers of ours that a file includes, and those that they include."""
    found: list[Path] = []
    waiting = [file]
    while waiting:
        at = waiting.pop()
        for name in _HEADER.findall(read_text(at)):
            places = (at.parent / name, sources.folder / name, runtime / "include" / name)
            header = next((place for place in places if place.is_file()), None)
            assert header is not None, name
            if header not in found:
                found.append(header)
                waiting.append(header)
    return found


def library_sources(sources: Sources, runtime: Path, prefix: Prefix, table: bool, header: str = "include") -> dict[str, str]:
    """The C files and headers of a library by their names in its folder: NAME.h in `header`, all others in src/."""
    files = needed_files(sources, runtime, table)
    headers = {header for file in files for header in _headers(file, sources, runtime)}
    found = {f"src/{prefix.file(file)}": prefix.source(read_text(file), _PUBLIC)
             for file in (*files, *sorted(headers)) if file.name not in PUBLIC}  # fmt: skip
    return {f"{header}/{prefix.name}.h": public_header(sources, runtime, prefix), **dict(sorted(found.items()))}


def public_header(sources: Sources, runtime: Path, prefix: Prefix) -> str:
    """NAME.h: constants of the model, status codes, and all functions that a program calls."""
    folders = {"model_config.h": sources.folder}
    bodies = [_body(read_text(folders.get(name, runtime / "include" / "recurc") / name)) for name in PUBLIC]
    includes = sorted({line for body in bodies for line in body.splitlines() if line.startswith("#include <")})
    texts = ["\n".join(line for line in body.splitlines() if line not in includes).strip("\n") for body in bodies]
    guard = f"{prefix.macro}_H"
    whole = "\n\n".join([f"{_LICENSE} Apache-2.0 */\n#ifndef {guard}\n#define {guard}", "\n".join(includes), *texts, "#endif"])
    return re.sub(r"\n{3,}", "\n\n", prefix.text(whole)) + "\n"


def _body(text: str) -> str:
    """A header without its include guard, and without headers of ours."""
    ours = ('#include "', _LICENSE)
    lines = [line for line in text.splitlines() if not _GUARD.fullmatch(line) and not line.startswith(ours)]
    last = max(i for i, line in enumerate(lines) if _END.fullmatch(line))
    return "\n".join(lines[:last])


def weights_assembly(prefix: Prefix, text: str) -> str:
    """weights.S under the library's name; the image lies beside it as NAME.rcm, in the section .rodata.NAME_image."""
    names = {'"model.rcm"': f'"{prefix.name}.rcm"', '"weights.S"': f'"{prefix.name}_weights.S"',
             ".rodata.recurc_image": f".rodata.{prefix.name}_image"}  # fmt: skip
    for ours, theirs in names.items():
        assert text.count(ours) == 1, ours
        text = text.replace(ours, theirs)
    return prefix.text(text)


def weights_array(data: bytes) -> Iterable[str]:
    """The image as lines of a C array's initializer, 16 bytes each."""
    for at in range(0, len(data), 16):
        yield ",".join(str(b) for b in data[at : at + 16]) + ","
