"""Each object is compiled once: what GCC made of the same source, headers, flags and compiler comes from the user's cache.

A first key tells all that is known before a compilation. Under it lie the names of the files that the compiler read; their
contents make the second key, under which the object lies. Folders count by the names that the prefix maps give them, so an
object that was compiled elsewhere is taken, and is the same to the byte. What cannot be known this way is compiled anew: a
file that the assembler includes, a flag that is not known here, a compiler that is not GCC. Failures are never kept.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from recurc.cachedir import ByteCache, cache_folder

FORMAT = "1"  # changes with what the keys or entries mean
LIMIT = 512 << 20
_MAP = "-ffile-prefix-map="
# Flags whose whole effect on the object is in their text. Others may read or write files of their own.
_PLAIN = re.compile(
    r"-(std=[\w+]+|O\w*|g\d?|W[a-z][\w-]*(=[\w-]+)?|m[\w=.,+-]+|[DU].*|f(no-)?sanitize[\w=,-]*|fPIC|fpic"
    r"|f(function|data)-sections|fno-math-errno|fno-strict-aliasing|ffp-contract=\w+|ffreestanding|f(no-)?builtin"
    r"|fcallgraph-info=su|fno-omit-frame-pointer|fno-tree-vectorize|static)", re.DOTALL)  # fmt: skip
_LINKING = re.compile(r"-(L|l|Wl,).*", re.DOTALL)  # these do nothing when a file is compiled
_ENVIRONMENT = ("CPATH", "C_INCLUDE_PATH", "COMPILER_PATH", "GCC_EXEC_PREFIX")
# The first two read files that the compiler does not tell of; the third is no part of the contents.
_UNTOLD = (b".incbin", b".include", b"__TIMESTAMP__")
_SCRIPT_BYTES = 64 * 1024


def object_cache() -> ByteCache:
    """The cache of compiled objects: recurc/objects in the user's cache folder."""
    return ByteCache(cache_folder("objects"), LIMIT)


def compile_once(
    compiler: str, flags: Sequence[str], source: Path, target: Path, call: Callable[[Sequence[str]], None]
) -> None:
    """Compile `source` to the object `target`, or take that from the cache, with its call graph (.ci) where there is one.

    Args:
        call: runs a command; what it raises passes through.
    """
    command = [compiler, *flags, "-c", str(source), "-o", str(target)]
    cache = object_cache()
    wanted = _request(compiler, flags, source) if cache.folder else None
    if wanted is None:
        call(command)
        return
    if _restore(cache, wanted, target):
        return
    told, began = target.with_suffix(".d"), time.time_ns()
    try:
        call([compiler, "-MD", "-MF", str(told), "-MT", "x", *command[1:]])
        with suppress(OSError):
            _keep(cache, wanted, target, _names(os.fsdecode(told.read_bytes())), began)
    finally:
        with suppress(OSError):
            told.unlink()


@dataclass(frozen=True)
class _Request:
    """A compilation: `key` of what is known before it, and the folders that the compiler sees, which the key leaves out."""

    key: str
    folders: tuple[str, ...]
    maps: tuple[tuple[str, str], ...]

    @property
    def places(self) -> tuple[str, ...]:
        """Folders that an object may hold in spite of the maps: those that the compiler sees, and the working one."""
        return (*(os.path.abspath(folder) for folder in self.folders), os.getcwd())

    def portable(self, path: str) -> tuple[int, str]:
        """Index of the folder that a path lies in, and the rest; -1 and the path itself outside of all."""
        inside = [(len(folder), i) for i, folder in enumerate(self.folders) if path.startswith(folder + "/")]
        if not inside:
            return -1, path
        length, i = max(inside)
        return i, path[length + 1 :]

    def path(self, index: int, rest: str) -> str:
        """The path that `portable` told."""
        return rest if index < 0 else f"{self.folders[index]}/{rest}"


def _mapped(maps: Sequence[tuple[str, str]], path: str) -> str:
    """The name that an object holds for a path. As GCC does it: the last map that matches, letter by letter."""
    return next((new + path[len(old) :] for old, new in reversed(maps) if path.startswith(old)), path)


def _digest(parts: Iterable[str]) -> str:
    return hashlib.sha256(b"\0".join(os.fsencode(part) for part in parts)).hexdigest()


def _request(compiler: str, flags: Sequence[str], source: Path) -> _Request | None:
    """What is compiled, None when its result cannot be known from its inputs."""
    identity = _identity(compiler)
    maps = tuple((old, new) for old, _, new in (f[len(_MAP) :].rpartition("=") for f in flags if f.startswith(_MAP)))
    folders = tuple(dict.fromkeys((*(f[2:] for f in flags if f.startswith("-I")), str(source.parent))))
    rest = [f for f in flags if not f.startswith(("-I", _MAP)) and not _LINKING.fullmatch(f)]
    if identity is None or not all(_PLAIN.fullmatch(f) and not f.endswith("=native") for f in rest):
        return None
    if any(c in path for c in "\\\n=" for path in (*folders, *(m[0] for m in maps))):  # these are spelled otherwise
        return None
    try:
        content = hashlib.sha256(source.read_bytes()).hexdigest()
        headers = [text for folder in folders for text in ("folder", *_headers(folder))]
    except OSError:
        return None
    environment = [f"{name}={os.environ.get(name)}" for name in _ENVIRONMENT]
    names = (_mapped(maps, str(source)), _mapped(maps, os.getcwd()))
    key = _digest((FORMAT, *identity, *environment, "flags", *rest, "names", *names, content, *headers))
    return _Request(key, folders, maps)


def _headers(folder: str) -> list[str]:
    """Names of the headers below a folder: a new one may take the place of another. Raises OSError: one cannot be listed."""
    return sorted(os.path.relpath(os.path.join(at, name), folder) for at, _, files in os.walk(folder, onerror=_unlisted)
                  for name in files if name.endswith((".h", ".inc")))  # fmt: skip


def _unlisted(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):  # a folder that is not there has no headers
        raise error


def _identity(compiler: str) -> tuple[str, ...] | None:
    """All that tells one GCC from another; None when it is no GCC, or does not answer."""
    try:
        told = os.stat(compiler)
    except OSError:
        return None
    return _identity_of(compiler, os.environ.get("PATH", ""), told.st_mtime_ns, told.st_size)


@lru_cache(maxsize=16)
def _identity_of(compiler: str, search: str, changed: int, size: int) -> tuple[str, ...] | None:
    try:
        version = _said(compiler, "--version")
        programs = [shutil.which(_said(compiler, f"-print-prog-name={name}").strip(), path=search) for name in ("cc1", "as")]
        files = [os.path.realpath(path) for path in (compiler, *(p for p in programs if p))]
        if len(files) < 3:
            return None
        told = [f"{path} {s.st_size} {s.st_mtime_ns}" for path, s in ((path, os.stat(path)) for path in files)]
        script = Path(compiler).read_bytes() if size <= _SCRIPT_BYTES else b""
    except (OSError, subprocess.SubprocessError):
        return None
    return (compiler, version, *told, hashlib.sha256(script).hexdigest())


def _said(compiler: str, question: str) -> str:
    return subprocess.run([compiler, question], capture_output=True, text=True, errors="replace", check=True, timeout=30,
                          stdin=subprocess.DEVNULL, env={**os.environ, "LC_ALL": "C"}).stdout  # fmt: skip


def _names(rules: str) -> list[str]:
    """The files that a dependency file names, the source among them, as the compiler spelled them."""
    words = re.findall(r"(?:\\[ #:]|[^\s\\])+", rules.partition(":")[2].replace("\\\n", " "))
    return [re.sub(r"\\([ #:])", r"\1", word).replace("$$", "$") for word in words]


def _content(path: str, fixed: bool) -> str:
    """Digest of a file; one outside the folders of a build, such as a system's header, is read once while it is unchanged.

    Raises:
        OSError: it cannot be read, or holds what the compiler does not tell of.
    """
    if not fixed:
        return _read(path)
    told = os.stat(path)
    return _read_once(path, told.st_size, told.st_mtime_ns, told.st_ino)


def _read(path: str) -> str:
    data = Path(path).read_bytes()
    if any(word in data for word in _UNTOLD):
        raise OSError(f"{path} holds more than its text")
    return hashlib.sha256(data).hexdigest()


@lru_cache(maxsize=4096)
def _read_once(path: str, size: int, changed: int, number: int) -> str:
    return _read(path)


def _object_key(wanted: _Request, files: Sequence[tuple[int, str]], leaks: Sequence[int]) -> str:
    """Key of an object by the contents of all files that the compiler read, and their names in it.

    Args:
        leaks: indices of places whose own paths the object holds.

    Raises:
        OSError: a file cannot be read.
    """
    paths = [(wanted.path(i, rest), i < 0) for i, rest in files]
    told = [text for path, fixed in paths for text in (_mapped(wanted.maps, path), _content(path, fixed))]
    return _digest((wanted.key, *told, "leaks", *(wanted.places[i] for i in leaks)))


def _restore(cache: ByteCache, wanted: _Request, target: Path) -> bool:
    """Write the object and its call graph as they were kept; False when they were not."""
    known = cache.get(wanted.key)
    if known is None:
        return False
    try:
        found = json.loads(known)
        kept = cache.get(_object_key(wanted, found["files"], found["leaks"]))
        if kept is None:
            return False
        length = int.from_bytes(kept[:8], "big")
        target.write_bytes(kept[8 : 8 + length])
        if graph := kept[8 + length :]:
            for i, folder in enumerate(wanted.folders):
                graph = graph.replace(_mark(i), os.fsencode(folder + "/"))
            target.with_suffix(".ci").write_bytes(graph)
    except OSError:  # the compiler will say it
        return False
    return True


def _keep(cache: ByteCache, wanted: _Request, target: Path, names: Sequence[str], began: int) -> None:
    """Keep a fresh object, unless a file changed while it was compiled.

    Raises:
        OSError: a file cannot be read.
    """
    files = [wanted.portable(name) for name in names]
    if any(os.stat(name).st_mtime_ns >= began for name in names):
        return
    data = target.read_bytes()
    # Sanitizers name files in spite of the maps. Such an object is good where all has the same places.
    leaks = [i for i, place in enumerate(wanted.places) if place != "/" and os.fsencode(place) in data]
    if any(os.fsencode(old) in data for old, _ in wanted.maps if old not in (*wanted.places, "/")):
        return
    graph = target.with_suffix(".ci").read_bytes() if target.with_suffix(".ci").exists() else b""
    for _, i in sorted(((len(folder), i) for i, folder in enumerate(wanted.folders)), reverse=True):
        graph = graph.replace(os.fsencode(wanted.folders[i] + "/"), _mark(i))
    cache.put(_object_key(wanted, files, leaks), len(data).to_bytes(8, "big") + data + graph)
    cache.put(wanted.key, json.dumps({"files": files, "leaks": leaks}).encode())


def _mark(index: int) -> bytes:
    return b"\0%d\0" % index
