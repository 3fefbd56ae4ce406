"""What hand-written assembly takes for granted is refused at compile time when it is no longer so: a field that has moved,
a constant that has another value, a step of another length before which a computed jump lands."""

from __future__ import annotations

import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

from recurc.resources import resource_dir
from recurc.targets.boards import load_board
from recurc.targets.toolchain import compile_flags, find_compiler
from tests.tools import need, need_clang

RUNTIME = resource_dir("runtime_c")
BOARDS = {
    "dsp": ("mps2-an500", "mps2-an386", "mps2-an505"),
    "mve": ("mps3-an547",),
    "rvv": ("riscv32-v-virt",),
    "baremetal": ("mps2-an500",),
}
STATED = re.compile(r"^RC_ASM_(FIELD|BYTES|CONSTANT)\(([^;]*)\);", re.M)
SOURCES = sorted(f for f in RUNTIME.rglob("*.[ch]") if f.name != "rc_asm.h" and STATED.search(f.read_text(encoding="utf-8")))


class Plant(NamedTuple):
    """A file in which `old`, which it has once, becomes `new`: a board's compiler or assembler then says `said`."""

    file: Path
    old: str
    new: str
    said: str
    board: str

    @property
    def label(self) -> str:
        return f"{self.file.name}: {self.old.strip().splitlines()[0][:40]} ({self.board})"


def room(file: Path) -> str:
    return file.relative_to(RUNTIME).parts[1]


def compiled(file: Path, text: str | None, board_name: str, folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """The C files of `file`'s folder that need it, compiled with another text of it."""
    board, place = load_board(board_name), folder / "source"
    shutil.copytree(file.parent, place)
    if text is not None:
        (place / file.name).write_text(text, encoding="utf-8")
    users = sorted(place.glob("*.c")) if file.suffix == ".h" else [place / file.name]
    if file.suffix == ".h":
        users = [f for f in users if f'"{file.name}"' in f.read_text(encoding="utf-8")][-1:]
    include = [f"-I{RUNTIME / 'include'}", f"-I{RUNTIME / 'ports/baremetal'}"]
    flags = [f for f in compile_flags(board) if f != "-fcallgraph-info=su"]
    command = [find_compiler(board.family), *flags, *include, *more, "-c", str(users[0]), "-o", str(folder / "out.o")]
    return subprocess.run(command, capture_output=True, text=True)


def moved_fields(file: Path) -> list[Plant]:
    """Every field that is told, with another one before it; every struct with one more behind."""
    text, plants = file.read_text(encoding="utf-8"), []
    for kind, arguments in STATED.findall(text):
        name, *rest = (a.strip() for a in arguments.split(","))
        if kind == "CONSTANT":
            continue
        (head,) = re.findall(rf"typedef struct \{{\n(?:[^}}]*\n)?\}} {name};", text)
        if kind == "BYTES":
            plants.append((head, head.replace("} ", "    uint32_t planted;\n} "), f"{name} of {rest[0]} bytes"))
            continue
        declaration = re.findall(rf"\n(    [^;\n]*\b{rest[0]}\b[^;\n]*;)", head)[0]
        moved = head.replace(declaration, f"    uint32_t planted;\n{declaration}")
        plants.append((head, moved, f"{name}.{rest[0]} at {rest[1]}"))
    return [Plant(file, *plant, BOARDS[room(file)][0]) for plant in plants]


def other_constants(file: Path) -> list[Plant]:
    """Every constant that is told and defined in the same file, twice as large."""
    text, plants = file.read_text(encoding="utf-8"), []
    for name in (a.split(",")[0] for kind, a in STATED.findall(text) if kind == "CONSTANT"):
        for line, value in re.findall(rf"^(#define {name} +(\d+)u)", text, re.M):
            other = line.replace(value, str(2 * int(value)))
            plants.append(Plant(file, line, other, f"assembly has {name}", BOARDS[room(file)][0]))
    return plants


DSP, MVE = RUNTIME / "kernels/dsp", RUNTIME / "kernels/mve"
JUMPS = [
    Plant(DSP / "rc_tile_s4_dsp.c", "#define STEP_BYTES 56", "#define STEP_BYTES 52", "has not 52 bytes", "mps2-an500"),
    Plant(DSP / "rc_tile_s4_dsp.c", "#define STEP_BYTES 52", "#define STEP_BYTES 56", "has not 56 bytes", "mps2-an386"),
    Plant(DSP / "rc_tile_s4_dsp.c", "#define STEP_BYTES 52", "#define STEP_BYTES 56", "has not 56 bytes", "mps2-an505"),
    Plant(DSP / "rc_tile_s4_dsp.c", '"ldr.w r3, [r0', '"ldr r3, [r0', "has not 56 bytes", "mps2-an500"),
    Plant(DSP / "rc_tile_s4_dsp.c", '"ldr.w r2, [r1', '"ldr r2, [r1', "has not 52 bytes", "mps2-an386"),
    Plant(DSP / "rc_tile_s8_dsp.c", "#define STEP_BYTES 48", "#define STEP_BYTES 44", "has not 44 bytes", "mps2-an500"),
    Plant(DSP / "rc_tile_s8_dsp.c", '"smlad r7, r3, lr, r7', '"nop\\n smlad r7, r3, lr, r7', "has not 48 bytes", "mps2-an386"),
    Plant(MVE / "rc_pass_mve.h", "PAIR_BYTES 56", "PAIR_BYTES 60", "has not 60 bytes", "mps3-an547"),
    Plant(MVE / "rc_pass_mve.h", "ROW_BYTES  36", "ROW_BYTES  32", "has not 32 bytes", "mps3-an547"),
    Plant(MVE / "rc_pass_mve.h", "TURN_BYTES 8", "TURN_BYTES 6", "has not 6 bytes", "mps3-an547"),
    Plant(MVE / "rc_pass_mve.h", '"subs.w r7, r7, #1', '"subs r7, r7, #1', "has not 8 bytes", "mps3-an547"),
    Plant(MVE / "rc_pass_mve.h", '"bne.w 1b', '"bne.w 1b\\n nop', "has not 8 bytes", "mps3-an547"),
    Plant(MVE / "rc_tile_s4_mve.c", '    load("vldrb.u8 q1, [r3], #16\\n")', '    ""', "has not 56 bytes", "mps3-an547"),
    Plant(MVE / "rc_tile_s8_mve.c", '    "vmladav" add ".s8 r12, q1, q4\\n" \\\n', "", "has not 56 bytes", "mps3-an547"),
]
PLANTS = {
    "fields": [p for f in SOURCES for p in moved_fields(f)],
    "constants": [p for f in SOURCES for p in other_constants(f)],
    "jumps": JUMPS,
}


def refused(plant: Plant, folder: Path, *more: str) -> str:
    """ "" when a plant is refused in the words that were expected."""
    text = plant.file.read_text(encoding="utf-8")
    if text.count(plant.old) != 1:
        return f"{plant.label}: stands there {text.count(plant.old)} times"
    done = compiled(plant.file, text.replace(plant.old, plant.new), plant.board, folder, *more)
    return "" if done.returncode and plant.said in done.stderr else f"{plant.label}: {done.stderr[:400] or 'compiled'}"


@pytest.mark.parametrize("kind", PLANTS)
def test_what_no_longer_holds_is_refused(kind, tmp_path):
    assert len(PLANTS[kind]) >= {"fields": 38, "constants": 7, "jumps": 14}[kind]
    for board in {p.board for p in PLANTS[kind]}:
        need(board)
    parse = ("-fsyntax-only",) if kind != "jumps" else ()
    with ThreadPoolExecutor(2) as pool:
        wrong = list(pool.map(lambda item: refused(item[1], tmp_path / str(item[0]), *parse), enumerate(PLANTS[kind])))
    assert [w for w in wrong if w] == []


@pytest.mark.parametrize("file", SOURCES, ids=lambda f: f.name)
def test_what_holds_compiles(file, tmp_path):
    for board in BOARDS[room(file)]:
        need(board)
        done = compiled(file, None, board, tmp_path / board)
        assert done.returncode == 0, done.stderr[:2000]


@pytest.mark.parametrize("plant", [p for p in JUMPS if p.board == "mps2-an386"], ids=lambda p: p.label)
def test_clangs_assembler_refuses_it_too(plant, tmp_path):
    clang, board = need_clang(), load_board(plant.board)
    command = [
        clang,
        "--target=arm-none-eabi",
        "-std=c99",
        "-O2",
        "-ffreestanding",
        *board.cpu_flags,
        f"-I{RUNTIME / 'include'}",
        f"-I{RUNTIME / 'ports/baremetal'}",
        "-c",
        "-o",
        str(tmp_path / "out.o"),
    ]
    good = subprocess.run([*command, str(plant.file)], capture_output=True, text=True)
    assert good.returncode == 0, good.stderr
    (tmp_path / "bad.c").write_text(plant.file.read_text(encoding="utf-8").replace(plant.old, plant.new), encoding="utf-8")
    bad = subprocess.run([*command, str(tmp_path / "bad.c")], capture_output=True, text=True)
    assert bad.returncode and "invalid number of bytes" in bad.stderr


def test_nothing_is_taken_for_granted_in_silence():
    """Where a file has functions in assembly, all its structs are told, and every unrolled loop has the length of its turns."""
    files = [f for room in ("dsp", "mve") for f in sorted((RUNTIME / "kernels" / room).glob("*.[ch]"))]
    with_assembly = [f for f in files if re.search(r"__asm__\((?:RC_|\"\.section)", f.read_text(encoding="utf-8"))]
    assert len(with_assembly) >= 9
    for file in with_assembly:
        text = file.read_text(encoding="utf-8")
        for name in re.findall(r"^\} (\w+);", text, re.M):
            assert f"RC_ASM_BYTES({name}, " in text, f"{file.name}: {name}"
            (struct,) = re.findall(rf"typedef struct \{{\n([^}}]*)\}} {name};", text)
            declared = [
                name
                for line in re.sub(r"/\*.*?\*/", "", struct, flags=re.S).split(";")
                for name in re.findall(r"(\w+)(?:\[\d+\])?\s*(?:,|$)", line.strip())
            ]
            told = [f for struct, f in re.findall(r"RC_ASM_FIELD\((\w+), (\w+),", text) if struct == name]
            assert declared == told, f"{file.name}: {name}"
        for loop in re.findall(r"\.rept.*?\.endr", text, re.S):
            assert "RC_ASM_SIZE(" in loop, f"{file.name}: {loop}"
