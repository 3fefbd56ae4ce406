"""The worst stack path: parsed from what compiler and disassembler write, and checked against C that is known."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from recurc.emit.linker import render_linker_script
from recurc.errors import ToolchainError, UnboundedStackError
from recurc.targets.boards import load_board
from recurc.targets.stack import (
    Function,
    add_falls,
    deepest,
    exception_frame_bytes,
    parse_disassembly,
    read_call_graphs,
    stack_use,
    worst_path,
)
from recurc.targets.toolchain import compile_objects, link_firmware
from tests.placing import default_placement
from tests.tools import need

ARM = """
08000000 <rc_reset_handler>:
 8000000:\tcpsid\ti
 8000002:\tmsr\tMSP, r0
 8000006:\tb.n\t8000100 <start>

08000100 <start>:
 8000100:\tpush\t{r4, r5, lr}
 8000102:\tvpush\t{d8-d10}
 8000106:\tsub\tsp, #16
 8000108:\tstr.w\tr8, [sp, #-24]!
 800010c:\tbl\t8000200 <leaf>
 8000110:\tbeq.n\t800011e <start+0x1e>
 8000112:\tb.n\t8000100 <start>

08000200 <leaf>:
 8000200:\tsub.w\tsp, sp, #256\t; 0x100
 8000204:\tcmp\tr0, #0

08000204 <leaf_rest>:
 8000204:\tstmdb\tsp!, {r0, r1, r2, r3}
 8000208:\tbx\tlr

08000300 <pointer>:
 8000300:\tblx\tr3
 8000302:\tbx\tlr
"""
RISCV = """
80000000 <rc_trap>:
80000000:\tauipc\tsp,0x2004
80000004:\tadd\tsp,sp,-144 # 82004000 <server>
80000008:\tjal\t80000100 <rc_trap_c>

80000100 <rc_trap_c>:
80000100:\taddi\tsp,sp,-48
80000104:\tauipc\tra,0x0
80000108:\tjalr\t30(ra) # 80000200 <far>
8000010c:\tret

80000200 <far>:
80000200:\tjr\tt1
"""


def test_arm_disassembly():
    found = parse_disassembly(ARM)
    assert found["rc_reset_handler"].fresh and found["rc_reset_handler"].calls == {"start"}
    assert found["start"].frame == 12 + 24 + 16 + 24 and found["start"].calls == {"leaf"}
    assert found["leaf"].frame == 256 and found["leaf"].falls == "leaf_rest" and not found["start"].falls
    assert found["leaf_rest"].frame == 16 and not found["leaf_rest"].calls
    assert found["pointer"].indirect and not found["leaf_rest"].indirect


def test_zeros_up_to_the_next_function_are_no_way_into_it():
    text = """
00000010 <last>:
      10:\tstmdb\tsp!, {r4, lr}
      14:\tldmia.w\tsp!, {r4, pc}
      18:\tmovs\tr0, r0
\t...

00000020 <next>:
      20:\tbx\tlr
"""
    assert parse_disassembly(text)["last"].calls == set()


def test_riscv_disassembly():
    found = parse_disassembly(RISCV)
    assert found["rc_trap"].fresh and found["rc_trap"].frame == 0 and found["rc_trap"].calls == {"rc_trap_c"}
    assert found["rc_trap_c"].frame == 48 and found["rc_trap_c"].calls == {"far"} and not found["rc_trap_c"].indirect
    assert found["far"].indirect


def test_worst_path_with_interrupts_and_faults():
    f = {
        "reset": Function(0, {"main"}, True),
        "main": Function(16, {"a", "b"}),
        "a": Function(100, {"c"}),
        "b": Function(60),
        "c": Function(8),
        "tick": Function(24, {"c"}),
        "fault": Function(0, {"report"}, True),
        "report": Function(90),
    }
    use = worst_path(f, "reset", 112)
    assert use.worst_bytes == 16 + 100 + 8 + 112 + 24 + 8 + 112
    assert use.path == (("reset", 0), ("main", 16), ("a", 100), ("c", 8)) and use.interrupt_bytes == 112 + 32 + 112
    f["report"].frame = 2000
    assert worst_path(f, "reset", 112).path == (("fault", 0), ("report", 2000))
    assert worst_path(f, "reset", 112).worst_bytes == 2000, "a fault starts on a fresh stack"


def test_jumping_to_a_fresh_stack_leaves_the_frames_behind():
    f = {
        "reset": Function(0, {"main", "trap"}, True),
        "main": Function(100),
        "trap": Function(0, {"report"}, True),
        "report": Function(60),
    }
    assert worst_path(f, "reset", 0).worst_bytes == 100
    f["report"].frame = 140
    assert worst_path(f, "reset", 0).path == (("trap", 0), ("report", 140))


def test_only_assembly_runs_on_into_the_next_symbol():
    """Compiled code ends without a branch only behind a call that does not return; an edge there could be a false circle."""
    f = {"c": Function(8, {"stop"}, known=True, falls="next"), "asm": Function(4, falls="next"), "next": Function(0, {"c"})}
    add_falls(f)
    assert f["c"].calls == {"stop"} and f["asm"].calls == {"next"}


@pytest.mark.parametrize(
    "function,why", [(Function(0, {"main"}), "circle"), (Function(0, indirect=True), "pointer"), (Function(-1), "register")]
)
def test_what_has_no_bound_is_an_error(function, why):
    with pytest.raises(UnboundedStackError, match=why) as e:
        deepest({"main": Function(8, {"f"}), "f": function}, "main")
    assert e.value.exit_code == 1


def test_exception_frames():
    assert exception_frame_bytes(load_board("mps2-an500")) == 32 + 72 + 8
    assert exception_frame_bytes(load_board("riscv32-virt")) == 0


# -- with the compilers -----------------------------------------------------------------------------------------------

SOURCE = """
#include <stdint.h>
int main(void);
void rc_reset_handler(void);
uint64_t quotient(uint64_t a, uint64_t b);
uint32_t deep(uint32_t n);
__attribute__((section(".rodata.recurc_image"), used)) const uint8_t image[64] = {1};
__attribute__((section(".recurc_arena"), used, aligned(64))) static uint8_t arena[64];
const uint8_t rc_image_start[1], rc_image_end[1];
__attribute__((noinline)) uint64_t quotient(uint64_t a, uint64_t b) { return a / b; }
__attribute__((noinline)) uint32_t deep(uint32_t n)
{
    volatile uint8_t room[512];
    room[n & 511u] = (uint8_t)n;
    return room[(n * 7u) & 511u] + (uint32_t)quotient(n, n + 1u);
}
int main(void) { return (int)deep(3); }
void rc_reset_handler(void) { (void)main(); EXTRA; for (;;) { } }
"""


def compiled(folder: Path, board_name: str, extra: str = "", more: str = ""):
    need(board_name)
    board = load_board(board_name)
    source = folder / "t.c"
    source.write_text(more + SOURCE.replace("const uint8_t rc_image_start[1], rc_image_end[1];\n", "").replace("EXTRA", extra))
    objects = compile_objects(board, [source], [], {}, folder)
    script = folder / "t.ld"
    script.write_text(render_linker_script(board, default_placement(board)))
    return link_firmware(board, objects, script, folder), objects, board


@pytest.mark.parametrize("name", ["mps2-an386", "mps3-an547", "riscv32-virt"])
def test_known_c(name, tmp_path):
    elf, objects, board = compiled(tmp_path, name)
    use = stack_use(elf, objects, board)
    names = [n for n, _ in use.path]
    assert "deep" in names and 512 + 8 <= dict(use.path)["deep"] <= 512 + 64
    assert names[0] == "rc_reset_handler" and "quotient" in names
    assert any(n.startswith(("__udivmoddi4", "__aeabi_uldivmod", "__udivdi3")) for n, _ in (*use.assumed, *use.path)), use
    assert use.worst_bytes >= sum(size for _, size in use.path) + exception_frame_bytes(board)
    assert use.worst_bytes < 1200


def test_recursion_and_frames_of_unknown_size_are_refused(tmp_path):
    more = (
        "#include <stdint.h>\nextern volatile int v; volatile int v;\n"
        "__attribute__((noinline)) int odd(int n); __attribute__((noinline)) int even(int n);\n"
        "int even(int n) { v = n; return n == 0 ? 1 : 1 + odd(n - 1); }\n"
        "int odd(int n) { v = n; return n == 0 ? 0 : 2 + even(n - 1); }\n"
    )
    (tmp_path / "r").mkdir()
    elf, objects, board = compiled(tmp_path / "r", "mps2-an386", "(void)even(5)", more)
    with pytest.raises(UnboundedStackError, match="even|odd"):
        stack_use(elf, objects, board)
    more = (
        "#include <stdint.h>\nint vla(int); __attribute__((noinline)) int vla(int n)"
        "{ volatile char b[n]; b[n - 1] = 1; return b[0]; }\n"
    )
    (tmp_path / "v").mkdir()
    elf, objects, board = compiled(tmp_path / "v", "mps2-an386", "(void)vla(5)", more)
    with pytest.raises(UnboundedStackError, match="vla"):
        stack_use(elf, objects, board)
    more = (
        "#include <stdint.h>\nextern int (*volatile hook)(int); int (*volatile hook)(int); int call(int);"
        "__attribute__((noinline)) int call(int n) { return hook(n) + 1; }\n"
    )
    (tmp_path / "p").mkdir()
    elf, objects, board = compiled(tmp_path / "p", "mps2-an386", "(void)call(5)", more)
    with pytest.raises(UnboundedStackError, match="pointer"):
        stack_use(elf, objects, board)


def test_without_call_graphs_nothing_is_claimed(tmp_path):
    elf, objects, board = compiled(tmp_path, "mps2-an386")
    assert read_call_graphs([o.with_suffix(".ci") for o in objects])["deep"].known
    shutil.move(objects[0].with_suffix(".ci"), tmp_path / "away")
    with pytest.raises(ToolchainError, match="call graph"):
        stack_use(elf, objects, board)


def test_functions_of_one_name_count_with_the_larger_frame(tmp_path):
    for frames in ((100, 40), (40, 100)):
        for i, n in enumerate(frames):
            label = f"f\\n{i}.c:1:1\\n{n} bytes (static)\\n0 dynamic objects"
            (tmp_path / f"{i}.ci").write_text(f'node: {{ title: "{i}.c:f" label: "{label}" }}\n')
        found = read_call_graphs([tmp_path / "0.ci", tmp_path / "1.ci"])
        assert (found["f"].frame, found["f"].known) == (100, True)


@pytest.mark.parametrize("order", [("sub\tsp, r3", "push\t{r4, lr}"), ("push\t{r4, lr}", "sub\tsp, r3")])
def test_a_stack_pointer_that_moves_by_a_register_has_no_bound(order):
    text = "00000000 <f>:\n" + "".join(f"   {2 * i}:\t{line}\n" for i, line in enumerate(order)) + "   8:\tbx\tlr\n"
    functions = parse_disassembly(text)
    assert functions["f"].frame < 0
    with pytest.raises(UnboundedStackError, match="by a register"):
        deepest(functions, "f")
