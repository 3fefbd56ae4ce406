"""Files from outside are opened and parsed in one place: who does it elsewhere stands here, with the reason."""

from __future__ import annotations

import ast
import errno
import os
from pathlib import Path

import pytest

from recurc.reading import matching

PACKAGE = Path(__file__).parents[2] / "recurc"
READERS = {"reading.py", "formats.py", "plainyaml.py", "arrayfile.py", "zipread.py"}
OWN = {
    "files.py": "what this process wrote, and /proc",
    "models/pages.py": "/proc", "doctor/holders.py": "/proc", "device/ports.py": "/proc",
    "models/tensorfile.py": "maps the file that it has checked",
    "plan/cost.py": "bundled", "make/renode.py": "bundled", "emit/sources.py": "bundled sources",
    "make/host.py": "what this build compiled", "make/ci.py": "installed metadata, and a comparison of what is there",
    "targets/stack.py": "what this build compiled", "targets/objectcache.py": "sources, and entries bound to their content",
    "targets/host.py": "an image whose hash the manifest has",
    "targets/platformio.py": "a project whose files the manifest has",
    "package/pio.py": "a project whose files the manifest has",
    "build/manifest.py": "the manifest's own checks", "build/listing.py": "the manifest's own checks",
    "verify/journal.py": "the journal's own checks",
    "study/store.py": "the cache's own checks",
}  # fmt: skip
_CALLS = {
    ("json", "load"), ("json", "loads"), ("tomllib", "load"), ("tomllib", "loads"), ("np", "load"), ("np", "memmap"),
    ("np", "fromfile"), ("torch", "load"), ("pickle", "load"), ("pickle", "loads"), ("zipfile", "ZipFile"),
}  # fmt: skip
_METHODS = {"read_text", "read_bytes"}
_GLOBS = {"glob", "rglob", "iglob"}


def reads(source: str) -> list[str]:
    """Calls that open or parse a file, by line; a file that is opened for writing does not count."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            f = node.func
            if isinstance(f, ast.Name) and f.id == "open":
                mode = node.args[1] if len(node.args) > 1 else None
                if not (isinstance(mode, ast.Constant) and "w" in mode.value):
                    found.append(f"line {node.lineno}: open")
            elif isinstance(f, ast.Attribute):
                base = f.value.id if isinstance(f.value, ast.Name) else ""
                parses = (base, f.attr) in _CALLS or (base == "yaml" and "dump" not in f.attr)
                if parses or (f.attr in _METHODS and base != "reading"):
                    found.append(f"line {node.lineno}: {base}.{f.attr}")
    return found


def forgets(source: str) -> list[int]:
    """Lines of walks through folders that pass over what cannot be listed, as if it were empty."""
    return [node.lineno for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and (node.func.attr in _GLOBS or (
                node.func.attr == "walk" and isinstance(node.func.value, ast.Name) and node.func.value.id == "os"
                and not any(k.arg == "onerror" for k in node.keywords)))]  # fmt: skip


FILES = {str(p.relative_to(PACKAGE)): p for p in sorted(PACKAGE.rglob("*.py")) if "_data" not in p.parts}


def test_only_the_readers_open_and_parse():
    wrong = {name: found for name, path in FILES.items()
             if name not in READERS | OWN.keys() and (found := reads(path.read_text()))}  # fmt: skip
    assert wrong == {}, "read it through recurc.reading and recurc.formats"


@pytest.mark.parametrize("line", [
    "json.loads(x)", "open(p)", "open(p, 'rb')", "p.read_text()", "yaml.safe_load(x)", "np.load(p)", "torch.load(p)",
    "Path(p).read_bytes()", "pickle.loads(x)",
])  # fmt: skip
def test_the_rule_finds_violations(line):
    assert reads(f"def f():\n    return {line}\n")
    assert not reads("open(p, 'wb')\nread_text(p)\njson.dumps(x)\nyaml.safe_dump(x)")


def test_a_folder_that_cannot_be_listed_is_not_empty():
    assert {name: found for name, path in FILES.items() if (found := forgets(path.read_text()))} == {}
    assert forgets("os.walk(x)") == [1] and forgets("os.walk(x, onerror=y)") == []
    assert forgets("p.glob('*')\nmatching(p, '*')\nglob.glob('*')\nPath(x).rglob('*')") == [1, 3, 4]


def test_what_matches_in_a_folder(tmp_path, monkeypatch):
    for name in ("b.h", "a.h", "c.c", "below/d.h", "below.h/e.c"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    for deep, way in ((False, tmp_path.glob), (True, tmp_path.rglob)):
        for pattern in ("*.h", "*.[ch]", "*"):
            assert matching(tmp_path, pattern, deep=deep) == sorted(way(pattern))
    assert matching(tmp_path, "a.*", "*.c") == [tmp_path / "a.h", tmp_path / "c.c"]
    assert matching(tmp_path / "none", "*") == matching(tmp_path / "c.c", "*", deep=True) == []
    real = os.scandir

    def scandir(path):
        if str(path).endswith("below"):
            raise PermissionError(errno.EPERM, "Operation not permitted", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(PermissionError, match="below"):
        matching(tmp_path, "*.h", deep=True)
    with pytest.raises(PermissionError, match="below"):
        matching(tmp_path / "below", "*.h")


def test_no_reason_without_a_reader():
    assert [name for name in OWN if name not in FILES or not reads(FILES[name].read_text())] == []
