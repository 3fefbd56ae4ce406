"""The name under which a model's C code is given to other programs: every symbol, macro and file begins with it.

The runtime and the generated code are written under the name `rc`. One replacement of what names begin with (`rc_`, `RC_`,
and `RECURC_` of include guards) gives them another one, so that the code of several models links into one program.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from recurc.arguments import argument
from recurc.errors import UsageError
from recurc.reading import shown

LONGEST = 40  # characters
_NAME = re.compile(rf"[A-Za-z][A-Za-z0-9_]{{0,{LONGEST - 1}}}")
_PREFIX = re.compile(r"(?<![A-Za-z0-9_])(?:rc_|RC_|RECURC_)")
_INCLUDE = re.compile(r'^([ \t]*#\s*include\s+")(?:recurc/)?([A-Za-z0-9_./]+)(")', re.M)
# NAME.h would stand for these where NAME's folder is searched for headers.
_HEADERS = frozenset(
    """
    assert complex ctype errno fenv float inttypes iso646 limits locale math setjmp signal stdalign stdarg stdatomic stdbit
    stdbool stdckdint stddef stdint stdio stdlib stdnoreturn string tgmath threads time uchar wchar wctype
    unistd fcntl sched semaphore pthread poll memory malloc strings features regex search
""".split()
)
# CMake keeps these for itself, or a linker finds libNAME.a where it looks for a library of the system.
_TAKEN = frozenset(
    "all install test clean help edit_cache rebuild_cache package list_install_components c m gcc g rt dl util".split()
)


@dataclass(frozen=True)
class Prefix:
    """A library's name. `macro`: what its macros begin with."""

    name: str

    @property
    def macro(self) -> str:
        return self.name.upper()

    def file(self, path: Path | str) -> str:
        """Name of a file of the runtime or of the generated code: rc_tile_s4.c is NAME_tile_s4.c, model.c is NAME_model.c."""
        return f"{self.name}_{Path(path).name.removeprefix('rc_')}"

    def text(self, text: str) -> str:
        """C or assembler source under this name, as far as symbols and macros go."""
        parts = {"rc_": f"{self.name}_", "RC_": f"{self.macro}_", "RECURC_": f"{self.macro}_"}
        return _PREFIX.sub(lambda m: parts[m[0]], text)

    def source(self, text: str, public: frozenset[str]) -> str:
        """A whole file under this name: the headers `public` are in NAME.h, all others beside the file."""

        def include(match: re.Match[str]) -> str:
            header = Path(match[2]).name
            return match[1] + (f"{self.name}.h" if header in public else self.file(header)) + match[3]

        found: list[str] = []
        for line in _INCLUDE.sub(include, text).splitlines(keepends=True):
            if not (f'"{self.name}.h"' in line and line in found):  # several headers have become one
                found.append(line)
        return self.text("".join(found))


def library_name(name: str) -> Prefix:
    """A name that a library may have.

    Raises:
        UsageError: it is no C identifier, or NAME.h would hide a header of the C library.
    """
    why = ""
    if not _NAME.fullmatch(name):
        why = f"it begins a C identifier: letters, digits and _, the first one a letter, at most {LONGEST} of them"
    elif name.lower() in _HEADERS:
        why = f"its header {name}.h would hide the C library's"
    elif name.lower() in _TAKEN:
        why = "build systems or linkers have something else under that name"
    if why:
        raise UsageError(f"a library cannot be named {shown(name)}", where=argument("name", shown(name)), why=why,
                         next="Choose another name, such as sudoku")  # fmt: skip
    return Prefix(name)


def default_name(model: str) -> str:
    """A library's name that is made of a model's: "sudoku9-mlp" gives sudoku9_mlp."""
    found = re.sub(r"[^A-Za-z0-9]+", "_", model).strip("_").lower()[:LONGEST].rstrip("_")
    if not found or not found[0].isalpha() or found in _HEADERS | _TAKEN:
        found = f"model_{found}".rstrip("_")[:LONGEST]
    return found
