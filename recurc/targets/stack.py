"""Worst stack path of a linked firmware: frames and calls from the compiler's call graph, the rest from the disassembly.

GCC writes the frame and the calls of every function it compiles (-fcallgraph-info=su). Assembly and libgcc have no such
file: their frames are counted from the instructions that move the stack pointer, and their calls from the branches.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import Symbol, SymbolTableSection

from recurc.environment import remedy
from recurc.errors import ToolchainError, UnboundedStackError
from recurc.plan.pieces import StackUse
from recurc.targets.boards import Board
from recurc.targets.toolchain import find_compiler

# Words that an Arm core pushes on an exception: r0-r3, r12, lr, pc, xPSR; with an FPU s0-s15, FPSCR and a reserved one. The
# stack is aligned to 8 bytes first. RISC-V cores push nothing.
_ARM_FRAME, _ARM_FP_FRAME, _ARM_ALIGNMENT = 8 * 4, 18 * 4, 8
INDIRECT = "__indirect_call"
HOOK = "feed_watchdog"  # what calls through pointers reach in our firmware: the model's hook, rc_server.c,
GRIDS = ("grids_after", "grids_count", "grids_lead")  # and of a model whose forms are grids what leads them, rc_grids.c
_NODE = re.compile(r'node: \{ title: "([^"]*)" label: "([^"]*)"')
_EDGE = re.compile(r'edge: \{ sourcename: "([^"]*)" targetname: "([^"]*)"')
_FRAME = re.compile(r"(\d+) bytes \(([a-z,]+)\)")
_FUNCTION = re.compile(r"^([0-9a-f]+) <([^>]+)>:$")
_INSTRUCTION = re.compile(r"^\s*[0-9a-f]+:\t(\S+)(?:\t(.*))?$")
_TARGET = re.compile(r"<([^>+]+)(\+0x[0-9a-f]+)?>")
_BRANCHES = re.compile(r"^(b|bl|blx|b[a-z]{2}|cbn?z|j|jal|jalr|jr|tail|call|b[a-z]{2,4})(\.[nw])?$")
_ENDS = re.compile(r"^(b|bx|j|jr|ret|mret|tail|udf|unimp)(\.[nw])?$")
_INDIRECT_ARM = re.compile(r"^(blx|bx)\s+r(\d+|ip)")


@dataclass
class Function:
    """One function: frame in bytes, names of what it calls. `fresh`: it sets the stack pointer anew, so a path starts there.

    known: the compiler has told the frame; else it was counted. falls: the symbol behind it, when its code runs on into it.
    """

    frame: int = 0
    calls: set[str] = field(default_factory=set)
    fresh: bool = False
    known: bool = False
    indirect: bool = False
    falls: str = ""


def _plain(title: str) -> str:
    return title.rsplit(":", 1)[-1]


def read_call_graphs(files: Iterable[Path]) -> dict[str, Function]:
    """Functions of GCC's .ci files by name; static ones of one name count as one, with the larger frame.

    Raises:
        UnboundedStackError: a frame whose size is only known at run time.
    """
    found: dict[str, Function] = {}
    for file in files:
        for line in file.read_text(errors="replace").splitlines():
            if node := _NODE.match(line):
                if frame := _FRAME.search(node[2]):
                    name = _plain(node[1])
                    if "dynamic" in frame[2] and "bounded" not in frame[2]:
                        raise UnboundedStackError(
                            "the stack has no bound",
                            where=name,
                            why="its frame has a size that is only known at run time",
                            next="This is a mistake in recurc's C code: please report it",
                        )
                    f = found.setdefault(name, Function())
                    f.frame, f.known = max(f.frame, int(frame[1])), True
            elif edge := _EDGE.match(line):
                f, target = found.setdefault(_plain(edge[1]), Function()), _plain(edge[2])
                f.indirect |= target == INDIRECT
                f.calls |= {target} - {INDIRECT}
    return found


def _registers(text: str) -> int:
    """Bytes of a register list such as {r4, r5, lr} or {d8-d11}."""
    total = 0
    for item in text[text.index("{") + 1 : text.index("}")].split(","):
        first, _, last = item.strip().partition("-")
        count = int(last[1:]) - int(first[1:]) + 1 if last else 1
        total += count * (8 if first.startswith("d") else 4)
    return total


def _pushed(name: str, operands: str) -> int:
    """Bytes by which an instruction lowers the stack pointer (-1: by an amount that cannot be read from it)."""
    base = name.split(".")[0]
    if base in ("push", "vpush") or (base in ("stmdb", "vstmdb") and operands.startswith("sp!")):
        return _registers(operands)
    if base in ("str", "strd") and (m := re.search(r"\[sp, #-(\d+)\]!", operands)):
        return int(m[1])
    if base in ("sub", "subw", "subs") and operands.startswith("sp"):
        m = re.search(r"#(\d+)", operands)
        return int(m[1]) if m else -1
    if base in ("add", "addi", "c.addi16sp") and (m := re.match(r"sp,sp,-(\d+)", operands)):
        return int(m[1])
    return 0


def parse_disassembly(text: str) -> dict[str, Function]:
    """Functions of `objdump -d`, all frames counted."""
    found: dict[str, Function] = {}
    current, name, last = Function(), "", ("ret", "")
    for line in text.splitlines():
        if header := _FUNCTION.match(line):
            if name and not (_ENDS.match(last[0]) or "pc" in last[1] or last[0] == ".word"):
                current.falls = header[2]
            name, current = header[2], found.setdefault(header[2], Function())
            last = ("nop", "")
            continue
        if not (match := _INSTRUCTION.match(line)) or not name:
            continue
        op, operands = match[1], match[2] or ""
        if op.split(".")[0] not in ("nop", "c") and (op, operands) != ("movs", "r0, r0"):  # zeros that fill up to a function
            last = (op, operands)
        if (
            op.startswith("msr")
            and operands.lower().startswith("msp,")
            or (op in ("auipc", "lui") and operands.startswith("sp,"))
        ):
            current.fresh, current.frame = True, 0
            continue
        target = _TARGET.search(operands)
        if _BRANCHES.match(op) and target and (target[1] != name or (op[:2] in ("bl", "ja", "ca") and not target[2])):
            current.calls.add(target[1])
        elif (_INDIRECT_ARM.match(f"{op} {operands}") or op in ("jalr", "jr")) and operands not in ("ra", "lr"):
            current.indirect |= not target
        size = _pushed(op, operands)
        if current.fresh and op.startswith("add"):
            continue  # the second half of loading an address into sp
        current.frame = -1 if size < 0 or current.frame < 0 else current.frame + size
    return found


def _symbols(file: ELFFile) -> Iterator[Symbol]:
    """All symbols of a firmware."""
    table = file.get_section_by_name(".symtab")
    assert isinstance(table, SymbolTableSection)  # our own linker's work
    yield from table.iter_symbols()


def _merge(elf: Path, compiler_told: dict[str, Function], counted: dict[str, Function]) -> dict[str, Function]:
    """Functions that are in the firmware, under one name each, with the compiler's word where there is one."""
    with open(elf, "rb") as file:
        symbols = [s for s in _symbols(ELFFile(file)) if s.name]
        alias = {s["st_value"] & ~1: s.name for s in symbols if s.name in counted}
        names = {s.name: alias.get(s["st_value"] & ~1, s.name) for s in symbols}
        data = {s.name for s in symbols if s["st_info"]["type"] == "STT_OBJECT"}
    merged: dict[str, Function] = {}
    for name, seen in counted.items():
        if name not in data:
            merged[name] = Function(seen.frame, set(seen.calls), seen.fresh, False, seen.indirect, seen.falls)
    for name, told in compiler_told.items():
        target = merged.get(names.get(name, name))
        if target is not None and told.known:
            target.frame, target.known, target.indirect = told.frame, True, told.indirect
            target.calls |= told.calls
    add_falls(merged)
    for function in merged.values():
        function.calls = {names.get(c, c) for c in function.calls} & merged.keys()
    return merged


def add_falls(functions: dict[str, Function]) -> None:
    """Count running on into the next symbol as a call where it is one: compiled code that ends without a branch ends in a
    call that does not return, assembly may really run on."""
    for f in functions.values():
        if f.falls and not f.known:
            f.calls.add(f.falls)


def _through_pointers(f: Function, functions: dict[str, Function]) -> set[str]:
    """What a function may call that it does not name."""
    return {name for name in (HOOK, *GRIDS) if name in functions} if f.indirect else set()


def deepest(functions: dict[str, Function], root: str) -> tuple[int, tuple[tuple[str, int], ...]]:
    """(bytes, path with frames) of the deepest path from a function.

    Raises:
        UnboundedStackError: recursion, a call through a pointer, or a frame that cannot be counted.
    """
    done: dict[str, tuple[int, tuple[tuple[str, int], ...]]] = {}

    def visit(name: str, above: tuple[str, ...]) -> tuple[int, tuple[tuple[str, int], ...]]:
        if name in above:
            cycle = " > ".join((*above[above.index(name) :], name))
            raise UnboundedStackError(
                "the stack has no bound",
                where=cycle,
                why="these functions call each other in a circle",
                next="This is a mistake in recurc's C code: please report it",
            )
        if name not in done:
            f = functions[name]
            calls = f.calls | _through_pointers(f, functions)
            if (f.indirect and HOOK not in functions) or f.frame < 0:
                why = "it calls through a pointer" if f.indirect else "it moves the stack pointer by a register"
                raise UnboundedStackError(
                    "the stack has no bound", where=name, why=why, next="This is a mistake in recurc's C code: please report it"
                )
            below = max((visit(c, (*above, name)) for c in sorted(calls)), default=(0, ()), key=lambda d: d[0])
            done[name] = (f.frame + below[0], ((name, f.frame), *below[1]))
        return done[name]

    return visit(root, ())


def _reachable(functions: dict[str, Function], root: str) -> set[str]:
    seen, todo = {root}, [root]
    while todo:
        for callee in functions[todo.pop()].calls - seen:
            seen.add(callee)
            todo.append(callee)
    return seen


def worst_path(functions: dict[str, Function], entry: str, exception_frame: int) -> StackUse:
    """Worst path from the entry, with an interrupt at its deepest point and a fault in that.

    What nothing calls is a handler. Handlers that set the stack pointer anew start from the stack's top; the others run on
    top of the main path. They have one priority, so at most one of them is active.
    """
    # Who goes to a function that sets the stack pointer leaves its own frames behind.
    fresh_ones = {name for name, f in functions.items() if f.fresh}
    functions = {
        name: replace(f, calls=(f.calls | _through_pointers(f, functions)) - fresh_ones) for name, f in functions.items()
    }
    main = _reachable(functions, entry)
    called = {c for name, f in functions.items() for c in f.calls if c != name}
    handlers = [name for name in functions if name not in main and name not in called]
    depth, path = deepest(functions, entry)
    nested = [deepest(functions, h)[0] for h in handlers if not functions[h].fresh]
    interrupt = exception_frame + (max(nested) + exception_frame if nested else 0)
    worst, shown = depth + interrupt, path
    for handler in (h for h in handlers if functions[h].fresh):
        fresh, fresh_path = deepest(functions, handler)
        if fresh > worst:
            worst, shown, interrupt = fresh, fresh_path, 0
    in_path = main | {name for h in handlers for name in _reachable(functions, h)}
    assumed = tuple((name, functions[name].frame) for name in sorted(in_path) if not functions[name].known)
    return StackUse(worst, tuple((n, b) for n, b in shown if b or n == shown[0][0]), interrupt, assumed)


def exception_frame_bytes(board: Board) -> int:
    """What the core itself pushes on an exception, alignment included."""
    if board.family != "arm":
        return 0
    fpu = any(feature.startswith("fpu") for feature in board.features)
    return _ARM_FRAME + _ARM_FP_FRAME * fpu + _ARM_ALIGNMENT


def stack_use(elf: Path, objects: Sequence[Path], board: Board) -> StackUse:
    """Worst stack path of a firmware that was linked from `objects` (their .ci files lie beside them).

    Raises:
        UnboundedStackError: recursion, a call through a pointer, or a frame without bound.
        ToolchainError: the compiler wrote no call graph, or its objdump is missing.
    """
    graphs = [o.with_suffix(".ci") for o in objects if o.with_suffix(".ci").is_file()]
    compiler = find_compiler(board.family)
    if not graphs:
        raise ToolchainError(
            "the stack cannot be checked",
            where=compiler,
            why="the compiler wrote no call graph (.ci)",
            next="Use GCC 10 or newer",
        )
    try:
        objdump = subprocess.run([compiler, "-print-prog-name=objdump"], capture_output=True, text=True).stdout.strip()
        done = subprocess.run(
            [objdump, "-d", "--no-show-raw-insn", str(elf)], capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"}
        )
        if done.returncode:
            raise OSError(done.stderr.strip())
    except OSError as e:
        raise ToolchainError(
            "the stack cannot be checked",
            where=f"objdump of {compiler}",
            why=str(e),
            next=remedy(e, "Install the compiler's binutils"),
        ) from e
    functions = _merge(elf, read_call_graphs(graphs), parse_disassembly(done.stdout))
    with open(elf, "rb") as f:
        file = ELFFile(f)
        entry = file.header["e_entry"] & ~1
        names = [s.name for s in _symbols(file) if s["st_value"] & ~1 == entry]
    return worst_path(functions, next(n for n in names if n in functions), exception_frame_bytes(board))
