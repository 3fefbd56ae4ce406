"""Compiled objects from the cache: the same to the byte as fresh ones, in any folder, and never stale."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from recurc.cachedir import cache_folder
from recurc.errors import ToolchainError
from recurc.resources import resource_dir
from recurc.targets import toolchain
from recurc.targets.boards import load_board
from recurc.targets.objectcache import object_cache
from recurc.targets.toolchain import compile_objects, compile_shared, find_compiler, shared_objects
from tests.tools import need

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.delenv("RECURC_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def compiled(monkeypatch) -> list[str]:
    """Names of the sources that a compiler was called for."""
    called: list[str] = []
    real = toolchain._call

    def call(command, *args, **options):
        if "-c" in command:
            called.append(Path(command[command.index("-c") + 1]).name)
        return real(command, *args, **options)

    monkeypatch.setattr(toolchain, "_call", call)
    return called


def write_project(folder: Path) -> Path:
    """A folder with two sources and headers of their own, and some of the runtime."""
    (folder / "src").mkdir(parents=True)
    (folder / "inc" / "deep").mkdir(parents=True)
    (folder / "inc" / "deep" / "value.h").write_text('#include "../base.h"\n#define VALUE (BASE + 1u)\n')
    (folder / "inc" / "base.h").write_text("#define BASE 41u\nstatic inline unsigned base(unsigned x) { return x + BASE; }\n")
    (folder / "src" / "one.c").write_text(
        "#include <stdint.h>\n#include <deep/value.h>\n#ifndef MORE\n#define MORE 0\n#endif\n"
        "uint32_t one(uint32_t x);\nstatic uint32_t (*const volatile where)(uint32_t) = one;\n"
        "const char *name(void);\nconst char *name(void) { return __FILE__; }\n"
        "uint32_t one(uint32_t x) { return x ? where(x - 1u) + base(VALUE) + MORE : 0u; }\n")  # fmt: skip
    shutil.copytree(resource_dir("runtime_c") / "image", folder / "image")
    return folder


def build(folder: Path, board: str, out: str = "out", defines=None, flags=()) -> dict[str, bytes]:
    """Objects and call graphs by name."""
    sources = [folder / "src" / "one.c", folder / "image" / "rc_crc32.c", folder / "image" / "rc_status.c"]
    includes = [folder / "inc", resource_dir("runtime_c") / "include"]
    compile_objects(load_board(board), sources, includes, defines or {}, folder / out, flags)
    return {f.name: f.read_bytes() for f in (folder / out / "obj").iterdir()}


def fresh(monkeypatch, *args, **options) -> dict[str, bytes]:
    with monkeypatch.context() as m:
        m.setenv("RECURC_CACHE", "off")
        return build(*args, **options)


@pytest.mark.parametrize("board", ["host", "stm32h7", "riscv32-virt"])
def test_an_object_from_another_folder_is_the_same_to_the_byte(board, tmp_path, monkeypatch, compiled):
    need(board)
    first, second = write_project(tmp_path / "a"), write_project(tmp_path / "other, with $ & #" / "longer name")
    made = build(first, board)
    assert len(compiled) == 3 and any(n.endswith(".ci") for n in made) == (board != "host")
    monkeypatch.chdir(second)
    taken = build(second, board)
    assert len(compiled) == 3
    anew = fresh(monkeypatch, second, board)
    assert len(compiled) == 6
    assert taken == anew
    objects = lambda found: {n: d for n, d in found.items() if n.endswith(".o")}  # noqa: E731
    assert objects(made) == objects(anew)
    assert sorted(made) == sorted(taken) and not any(n.endswith(".d") for n in made)


def test_libraries_are_the_same_to_the_byte(tmp_path, monkeypatch, compiled):
    need("host")
    runtime = resource_dir("runtime_c")
    sources = sorted((runtime / "image").glob("*.c"))
    libraries = [compile_shared(sources, [runtime / "include"], tmp_path / n / "lib.so").read_bytes() for n in ("a", "b")]
    assert len(compiled) == len(sources)
    monkeypatch.setenv("RECURC_CACHE", "off")
    libraries.append(compile_shared(sources, [runtime / "include"], tmp_path / "c" / "lib.so").read_bytes())
    assert len(compiled) == 2 * len(sources) and len(set(libraries)) == 1


def edit(path: str, text: str):
    return lambda folder, monkeypatch: (folder / path).write_text(text)


CHANGES = {
    "a header": edit("inc/base.h", "#define BASE 99u\nstatic inline unsigned base(unsigned x) { return x + BASE; }\n"),
    "a new header before another": edit("src/stdint.h", "typedef unsigned int uint32_t;\nextern int changed;\n"),
    "a new header in a folder before another's": edit("inc/stdint.h", "#include_next <stdint.h>\nextern int changed;\n"),
    "a folder of the environment": lambda folder, m: (
        (folder / "env").mkdir(), (folder / "env" / "limits.h").write_text(""), m.setenv("CPATH", str(folder / "env"))),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_what_changes_the_object_is_compiled_anew(change, tmp_path, monkeypatch, compiled):
    need("host")
    folder = write_project(tmp_path / "a")
    before = build(folder, "host")
    build(folder, "host")
    assert len(compiled) == 3
    CHANGES[change](folder, monkeypatch)
    after = build(folder, "host")
    assert "one.c" in compiled[3:]
    assert after == fresh(monkeypatch, folder, "host")
    if change == "a header":
        assert before["000_one.o"] != after["000_one.o"] and compiled[3:].count("one.c") == 2
        assert compiled[3:4] == ["one.c"] and len(compiled) == 3 + 1 + 3  # nothing else read that header


def test_headers_that_change_to_and_fro_are_both_kept(tmp_path, compiled):
    need("host")
    folder = write_project(tmp_path / "a")
    header = folder / "inc" / "base.h"
    texts = [header.read_text(), header.read_text().replace("41u", "52u")]
    made = []
    for i in (0, 1, 0, 1):
        header.write_text(texts[i])
        made.append(build(folder, "host"))
    assert compiled.count("one.c") == 2 and made[0] == made[2] != made[1] == made[3]


@pytest.mark.parametrize("options", [{"defines": {"MORE": 7}}, {"flags": ("-O1",)}, {"flags": ("-fsanitize=undefined",)}])
def test_other_flags_are_other_objects(options, tmp_path, monkeypatch, compiled):
    need("host")
    folder = write_project(tmp_path / "a")
    plain = build(folder, "host")
    other = build(folder, "host", **options)
    assert compiled.count("one.c") == 2 and plain["000_one.o"] != other["000_one.o"]
    assert other == fresh(monkeypatch, folder, "host", **options)


def test_an_object_that_holds_its_folder_is_taken_there_only(tmp_path, monkeypatch, compiled):
    need("host")
    flags = ("-fsanitize=address,undefined",)  # these name the source in spite of the prefix maps, with some compilers
    for name in ("a", "b"):
        folder = write_project(tmp_path / name)
        monkeypatch.chdir(folder)
        made = build(folder, "host", flags=flags)
        before = len(compiled)
        assert build(folder, "host", flags=flags) == made and len(compiled) == before
        assert made == fresh(monkeypatch, folder, "host", flags=flags)


@pytest.mark.parametrize("flag", ["-fstack-usage", "-march=native", "-save-temps=obj", "-includesomething.h"])
def test_flags_whose_effect_is_not_in_their_text_keep_nothing(flag, tmp_path, compiled):
    need("host")
    folder = write_project(tmp_path / "a")
    (folder / "inc" / "something.h").write_text("")
    for _ in range(2):
        build(folder, "host", flags=(flag,))
    assert compiled.count("one.c") == 2


def test_another_compiler_is_not_taken_for_the_same(tmp_path, monkeypatch, compiled):
    need("host")
    source = tmp_path / "x.c"
    source.write_text("int x(void);\nint x(void) { return X; }\n")
    wrapper, real = tmp_path / "my-gcc", find_compiler("host")
    monkeypatch.setenv("RECURC_HOST_CC", str(wrapper))
    made = []
    for text in ('-DX=1 "$@"', '-DX=2 "$@"', ""):
        if text:
            wrapper.write_text(f"#!/bin/sh\nexec {real} {text}\n")
            wrapper.chmod(0o755)
        made.append(shared_objects([source], [], tmp_path / "out")[0].read_bytes())
    assert len(compiled) == 2 and made[0] != made[1] == made[2]


def test_what_is_no_gcc_is_called_each_time(tmp_path, monkeypatch, compiled):
    source, fake = tmp_path / "x.c", tmp_path / "fake"
    source.write_text("int x;\n")
    fake.write_text('#!/bin/sh\nwhile [ "$1" != -o ]; do shift || exit 1; done\necho made > "$2"\n')
    fake.chmod(0o755)
    monkeypatch.setenv("RECURC_HOST_CC", str(fake))
    for _ in range(2):
        shared_objects([source], [], tmp_path / "out")
    assert compiled == ["x.c", "x.c"]


def test_what_the_assembler_includes_counts(tmp_path):
    need("host")
    (tmp_path / "w.S").write_text('.section .rodata\n.incbin "data.bin"\n.section .note.GNU-stack,"",%progbits\n')
    made = []
    for data in (b"one", b"two"):
        (tmp_path / "data.bin").write_bytes(data)
        made.append(shared_objects([tmp_path / "w.S"], [tmp_path], tmp_path / "out")[0].read_bytes())
    assert b"one" in made[0] and b"two" in made[1]


def test_failures_are_not_kept(tmp_path, compiled):
    need("host")
    source, header = tmp_path / "x.c", tmp_path / "x.h"
    source.write_text('#include "x.h"\nint x(void);\nint x(void) { return X; }\n')
    header.write_text("")
    for _ in range(2):
        with pytest.raises(ToolchainError, match="x.c does not compile"):
            shared_objects([source], [tmp_path], tmp_path / "out")
    assert len(compiled) == 2 and object_cache().usage().entries == 0
    header.write_text("#define X 1\n")
    shared_objects([source], [tmp_path], tmp_path / "out")
    header.write_text("")
    with pytest.raises(ToolchainError):
        shared_objects([source], [tmp_path], tmp_path / "out")


def test_a_damaged_entry_is_compiled_anew(tmp_path, compiled):
    need("host")
    folder = write_project(tmp_path / "a")
    want = build(folder, "host")
    for size in (0, 100, -1):
        for file in cache_folder("objects").rglob("*"):
            if file.is_file() and file.name != "written":
                file.write_bytes(file.read_bytes()[:size])
        before = len(compiled)
        assert build(folder, "host") == want and len(compiled) == before + 3
    assert build(folder, "host") == want and len(compiled) == 12


def test_without_a_usable_cache_all_compiles(tmp_path, monkeypatch, compiled):
    need("host")
    folder = write_project(tmp_path / "a")
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null")
    assert build(folder, "host") == build(folder, "host") and len(compiled) == 6


def test_processes_that_compile_the_same_at_once_agree(tmp_path, monkeypatch):
    need("host")
    code = (
        "import sys; from pathlib import Path; from tests.targets.test_objectcache import build, write_project\n"
        "build(write_project(Path(sys.argv[1])), 'host')\n"
    )
    folders = [tmp_path / str(i) for i in range(3)]
    running = [subprocess.Popen([sys.executable, "-c", code, str(f)], cwd=ROOT) for f in folders]
    assert [p.wait() for p in running] == [0, 0, 0]
    want = fresh(monkeypatch, write_project(tmp_path / "own"), "host")
    assert all({f.name: f.read_bytes() for f in (folder / "out" / "obj").iterdir()} == want for folder in folders)
