"""Every number in runtime_c/SPEC.md is the one that the C headers and the Python side use."""

from __future__ import annotations

import re
import struct
import subprocess
from functools import lru_cache
from itertools import accumulate, takewhile

import numpy as np
import pytest

from recurc.device import frames, selftest
from recurc.emit import image
from recurc.noise import DEVIATION, NOISE_AT, START, STEP, Noise
from recurc.plan.kernels import KERNEL_SETS
from recurc.quant import tableformat
from recurc.resources import resource_dir
from recurc.storage import INT8
from recurc.storage.image import KEY_BYTES
from recurc.storage.packings import PANELS
from recurc.storage.packings.packing import GROUP
from recurc.storage.packings.panels import PANEL
from recurc.targets.toolchain import find_compiler
from tests.structs import IMAGE_FIELDS, TABLE_FIELDS
from tests.tools import need

RUNTIME = resource_dir("runtime_c")
SPEC = (RUNTIME / "SPEC.md").read_text(encoding="utf-8")
SIZES = {"u8": "B", "u16": "H", "u32": "I", "u64": "Q", "f32": "f"}


def the(pattern: str, text: str = SPEC) -> tuple[str, ...]:
    """The groups of the one place in a text that a pattern matches."""
    found = re.findall(pattern, text)
    assert len(found) == 1, (pattern, found)
    return found[0] if isinstance(found[0], tuple) else (found[0],)


def number(pattern: str, text: str = SPEC) -> int:
    return int(the(pattern, text)[0])


def section(title: str) -> str:
    """The text under a heading, up to the next one of its level."""
    marks = title.split()[0]
    after = SPEC.split(f"\n{title}\n")[1]
    return re.split(rf"\n{marks} ", after)[0]


def after(words: str, text: str = SPEC) -> str:
    """The text from some words on that stand there once."""
    assert text.count(words) == 1, words
    return text[text.index(words) :]


def rows(text: str) -> list[list[str]]:
    """Cells of the first table in a text, without its head."""
    lines = text[text.index("\n|") + 1 :].split("\n")
    table = takewhile(lambda line: line.startswith("|"), lines)
    return [[cell.strip() for cell in line.removeprefix("|").removesuffix("|").split("|")] for line in list(table)[2:]]


def layout(text: str) -> list[tuple[int, int]]:
    """(offset, size) of the fields in a table of offsets and sizes; "2, 2" are two fields."""
    found = []
    for offset, sizes, *_ in rows(text):
        each = [int(size) for size in sizes.split(",")]
        found += zip(accumulate([int(offset), *each]), each)
    return found


def body(text: str, first: int = 0) -> str:
    """The struct format of a table of offsets and types; offsets have to follow from the types, and begin at `first`."""
    made = "<"
    for offset, kind, *_ in rows(text):
        if not offset.isdigit() or "+ bytes" in kind:
            break
        assert first + struct.calcsize(made) == int(offset), (offset, kind)
        count, unit = re.fullmatch(r"(?:(\d+) (?:× )?)?(\w+)", kind).groups()
        made += f"{count}s" if unit == "bytes" else f"{count or ''}{SIZES[unit]}"
    return made


def fields_of(layout: struct.Struct) -> list[tuple[int, int]]:
    """(offset, size) of the fields of a struct's format, padding too."""
    sizes = []
    for count, code in re.findall(r"(\d*)([a-zA-Z])", layout.format):
        sizes += [int(count)] if code in "sx" else [struct.calcsize("<" + code)] * int(count or 1)
    return list(zip(accumulate([0, *sizes]), sizes))


@lru_cache
def defined(name: str) -> int:
    """A constant of the C headers or the wire's sources, from `#define NAME 12u` or an enumeration."""
    files = sorted(RUNTIME.glob("include/recurc/*.h")) + sorted(RUNTIME.glob("wire/*.c"))
    found = {
        int(value, 0)
        for f in files
        for value in re.findall(rf"(?:#define\s+{name}\s+|\b{name} = )(0x[0-9A-Fa-f]+|\d+)u?\b", f.read_text(encoding="utf-8"))
    }
    assert len(found) == 1, (name, found)
    return found.pop()


@pytest.fixture(scope="module")
def headers(tmp_path_factory):
    """(struct, field) -> (offset, size), as the compiler lays them out."""
    need("host")
    wanted = [("rc_image_header_t", f) for f in IMAGE_FIELDS] + [("rc_table_header_t", f) for f in TABLE_FIELDS]
    prints = "\n".join(
        f'printf("%u %u\\n", (unsigned)offsetof({s}, {f}), (unsigned)sizeof((({s} *)0)->{f}));' for s, f in wanted
    )
    folder = tmp_path_factory.mktemp("layout")
    (folder / "layout.c").write_text(
        '#include <stddef.h>\n#include <stdio.h>\n#include "recurc/rc_image.h"\n#include "recurc/rc_table.h"\n'
        f"int main(void) {{\n{prints}\nreturn 0;\n}}\n"
    )
    subprocess.run([find_compiler("host"), f"-I{RUNTIME / 'include'}", "layout.c", "-o", "layout"], cwd=folder, check=True)
    lines = subprocess.run([folder / "layout"], capture_output=True, text=True, check=True).stdout.splitlines()
    return dict(zip(wanted, (tuple(map(int, line.split())) for line in lines), strict=True))


# -- versions -------------------------------------------------------------------------------------------------------------


def test_versions():
    arithmetic, major, minor, table_major, table_minor, wire = map(
        int, the(r"arithmetic (\d+), image format (\d+)\.(\d+), puzzle table file (\d+)\.(\d+), wire (\d+)\.")
    )
    assert arithmetic == image.ARITHMETIC_ID == number(r"\nVersion (\d+) \(1 did not store") == number(r"arithmetic id: (\d+)")
    assert (major, minor) == image.VERSION == tuple(map(int, the(r"little-endian, version (\d+)\.(\d+)\. One image")))
    assert (table_major, table_minor) == tableformat.VERSION
    assert (table_major, table_minor) == tuple(map(int, the(r"streams them, version (\d+)\.(\d+), little-endian")))
    assert (major, table_major) == (defined("RC_IMAGE_VERSION"), defined("RC_TABLE_VERSION"))
    in_headers = [tuple(map(int, pair)) for pair in re.findall(r"version major (\d+), minor (\d+)", SPEC)]
    assert in_headers == [(major, minor), (table_major, table_minor)]
    assert wire == frames.VERSION == defined("RC_WIRE_VERSION")
    assert wire == number(r"Version (\d+) \(in \d") == number(r"protocol version u16 \((\d+)\)")


def test_arithmetic_is_what_the_image_reader_takes():
    text = "".join(f.read_text() for f in (RUNTIME / "image").glob("*.c")) + (RUNTIME / "include/recurc/rc_arith.h").read_text()
    assert int(the(r"#define RC_ARITHMETIC\w*\s+(\d+)u", text)[0]) == image.ARITHMETIC_ID


# -- image and table ------------------------------------------------------------------------------------------------------


def test_image_header(headers):
    told = layout(section("# Image"))
    assert told == [headers["rc_image_header_t", f] for f in IMAGE_FIELDS] == fields_of(image.HEADER)
    text = section("# Image")
    assert the(r'magic "(\w+)"', text) == (image.MAGIC.decode(),)
    assert int.from_bytes(image.MAGIC, "little") == defined("RC_IMAGE_MAGIC")
    assert int(the(r"endian mark (0x\d+)", text)[0], 16) == image.ENDIAN_MARK == defined("RC_IMAGE_ENDIAN")
    assert number(r"section table: (\d+) \|", text) == image.HEADER.size == defined("RC_IMAGE_HEADER_BYTES")
    assert number(r"Then (\d+) bytes a section", text) == image.ENTRY.size == defined("RC_IMAGE_ENTRY_BYTES")
    assert number(r"offset \(a multiple of (\d+)\)", text) == image.ALIGN == defined("RC_IMAGE_ALIGN")
    assert told[-1][0] + 4 == image.HEADER.size and f"bytes 0..{told[-1][0] - 1} |" in text


def test_section_kinds():
    kinds = rows(after("| kind | content |").replace("| kind", "\n| kind", 1))
    assert {name: int(n) for n, name in (kind.split() for kind, _ in kinds)} == image.KINDS


def test_table_header(headers):
    text = section("# Puzzle table file")
    told = layout(text)
    of_c = {f: headers["rc_table_header_t", f] for f in TABLE_FIELDS}
    of_c["total_low"] = (of_c["total_low"][0], 8)  # two words
    assert told == list(of_c.values()) == fields_of(tableformat.HEADER)
    assert the(r'magic "(\w+)"', text) == (tableformat.MAGIC.decode(),)
    assert int.from_bytes(tableformat.MAGIC, "little") == defined("RC_TABLE_MAGIC")
    assert int(the(r"endian mark (0x\d+)", text)[0], 16) == tableformat.ENDIAN_MARK == defined("RC_TABLE_ENDIAN")
    assert number(r"a header of (\d+) bytes", text) == tableformat.HEADER.size == defined("RC_TABLE_HEADER_BYTES")
    assert number(r"A record, at most (\d+) bytes", text) == tableformat.MAX_RECORD
    assert number(r"CRC-32 over key \((\d+) bytes\)", text) == KEY_BYTES == defined("RC_TABLE_KEY_BYTES")
    types = the(r"type of a row: (\d+) binary32, (\d+) int8", text)
    assert tuple(map(int, types)) == (defined("RC_TABLE_F32"), defined("RC_TABLE_I8"))
    assert tuple(map(int, types)) == tuple(tableformat.STORAGES.index(s) for s in ("fp32", "int8"))


# -- packings -------------------------------------------------------------------------------------------------------------


def test_packings_and_their_kernel_sets():
    """The header's list, a paragraph for each packing, and the kernel sets that have them."""
    in_code = {k.packing: k for k in KERNEL_SETS}
    listed = dict((int(n), name) for n, name in re.findall(r"(\d+) ([a-z ]+)", the(r"packing id: ([^|;]*);")[0]))
    paragraphs = re.findall(r"\n\* \*\*Packing (\d+), ([a-z ]+)\*\* \(`(\w+)`", SPEC)
    assert {int(n): name for n, name, _ in paragraphs} == listed
    assert {int(n): kernels for n, _, kernels in paragraphs} == {n: k.name for n, k in in_code.items()}


@pytest.mark.parametrize("kernels", KERNEL_SETS, ids=lambda k: k.name)
def test_tiles_and_padding(kernels):
    packing = kernels.weights
    own = after(f"* **Packing {packing.id},").split("\n* ")[0]
    if "padded as in packing 3" in own:
        own += after("* **Packing 3,").split("\n* ")[0]
    tile = re.search(r"(\d+) channels a (?:panel|tile)|tiles of (\d+) channels", own)
    stored = PANEL if packing is PANELS else packing.tile  # panels are stored one by one, whatever is computed at once
    assert int(tile.group(1) or tile.group(2)) == stored == INT8.codec(packing).part_bytes(1, 64) // 64
    assert number(r"K (?:padded )?to a multiple of (\d+)", own.replace("\n ", "")) == packing.depth
    groups = re.sub(r"\s+", " ", after("channels only to whole L:")[:120])
    each = {int(n): int(lanes) for lanes, n in re.findall(r"(\d+) in packing (\d+)", groups)}
    assert each.get(packing.id, number(r"else (\d+)", groups)) == packing.lanes


def test_limits_of_sums():
    assert number(r"for each group g of (\d+) inputs") == GROUP
    limit = number(r"K <= (\d+) \(proved")
    assert number(r"integer weights up to (\d+)") == 255 * 8
    assert limit * 127 * 2040 < 2**31 <= (limit + 1) * 127 * 2040
    limit = number(r"K <= (\d+), which the generated code")
    assert limit * 127 * 3840 < 2**31 <= (limit + 1) * 127 * 3840


# -- wire -----------------------------------------------------------------------------------------------------------------

WIRE = section("# Wire")


def test_frame_types():
    for code, names, _ in rows(section("## Conversation")):
        codes = [int(c, 16) for c in code.split("/")]
        request = names.split("/")[0].strip()
        assert codes[0] == getattr(frames, request) == defined(f"RC_FRAME_{request}"), request
        if len(codes) == 2:
            assert codes[1] == codes[0] | frames.REPLY
    told = {int(c, 16) for code, *_ in rows(section("## Conversation")) for c in code.split("/")[:1]}
    enum = re.findall(r"RC_FRAME_(\w+) = (0x\w+)", (RUNTIME / "include/recurc/rc_wire.h").read_text())
    assert told == {int(value, 16) for name, value in enum if name != "REPLY"}
    assert defined("RC_FRAME_REPLY") == frames.REPLY == int(the(r"request type \| (0x\d+)")[0], 16)


def test_frames_and_limits():
    largest = number(r"body, 0 ≤ n ≤ (\d+)")
    assert largest == frames.MAX_BODY == defined("RC_WIRE_MAX_BODY")
    payload = 2 + largest + 4
    assert number(r"more\nthan (\d+) bytes without a zero") == payload + payload // 254 + 2
    assert number(r"then 1\.\.(\d+) tokens") == frames.MAX_LOAD == largest - 4
    assert number(r"length u16 \(0\.\.(\d+), 0 asks") == frames.MAX_READ == largest - defined("READ_HEADER")
    assert number(r"then 1\.\.(\d+) bytes of the record") == frames.MAX_ROW == largest - defined("ROW_HEADER")
    assert set(re.findall(r"length \(at most (\d+)\), ASCII", WIRE)) == {str(defined("NAME_MAX"))}
    assert (frames.RUN_BEGIN, frames.RUN_HALT) == (defined("RC_RUN_BEGIN"), defined("RC_RUN_HALT"))
    begin, halt = map(int, the(r"flags: bit (\d) begin, bit (\d) halt"))
    assert (1 << begin, 1 << halt) == (frames.RUN_BEGIN, frames.RUN_HALT)


@pytest.mark.parametrize(
    "name, start, of_python, of_c",
    [
        ("HELLO", "**HELLO** request", frames.LAYOUTS[frames.HELLO | frames.REPLY].struct, "HELLO_FIXED"),
        ("STEP", "a **STEP**, ", frames.LAYOUTS[frames.STEP].struct, "STEP_BODY"),
        ("RESULT", "**RESULT**, ", frames.LAYOUTS[frames.RUN | frames.REPLY].struct, "RESULT_BODY"),
        ("TRACE", "**TRACE** request", frames.LAYOUTS[frames.TRACE | frames.REPLY].struct, "RC_TRACE_REPLY"),
        ("SELFTEST", "**SELFTEST** request", frames.LAYOUTS[frames.SELFTEST | frames.REPLY].struct, "RC_SELFTEST_REPLY"),
        ("RUN", "**RUN** request", struct.Struct("<BBHHHIIf"), "RC_WIRE_PLAIN"),
    ],
)
def test_bodies(name, start, of_python, of_c):
    text = after(start)
    made = body(text)
    told = re.search(r"(?:Reply|RUN\*\* request|STEP\*\*|RESULT\*\*), (\d+) bytes", text)
    assert int(told.group(1)) == struct.calcsize(made) == of_python.size == defined(of_c)
    ours = [f for f in fields_of(of_python) if f[1] != 8 or name != "STEP"]
    spec = fields_of(struct.Struct(made))
    if name == "STEP":  # both halting logits are read as 8 bytes, too, for their bits
        spec, ours = [f for f in spec if f[0] not in (14, 18, 22)], [f for f in ours if f[0] != 14]
    assert spec == ours


def test_the_nonce_has_its_length():
    told = number(r"\*\*SELFTEST\*\* request: nonce, (\d+) bytes"), number(r"SELFTEST carries a nonce, (\d+) bytes")
    assert set(told) == {selftest.NONCE_BYTES} == {defined("RC_SELFTEST_NONCE")}


def test_run_body_as_it_is_sent():
    assert len(frames.run_body(0, 1, 0, 0, 0, 0, 0.0)) == defined("RC_WIRE_PLAIN")
    noisy = frames.run_body(0, 1, 0, 0, 0, 0, 0.0, stir=(Noise(0.5, "step", 7), 3))
    tail = fields_of(struct.Struct(body(after("A longer body asks for noise"), 20)))
    assert number(r"\*\*RUN\*\* request, 20 bytes, or (\d+) with noise") == len(noisy) == defined("RC_WIRE_NOISY")
    assert [noisy[20 + at : 20 + at + size] for at, size in tail] == [
        struct.pack("<f", 0.5), b"\1", b"\0", b"\3\0", b"\7\0\0\0"]  # fmt: skip
    assert len(frames.row_body(0, 0, b"")) == frames.ROW_HEADER == defined("ROW_HEADER")


def test_noise_as_it_is_computed():
    text = after("**Noise** on a tensor")
    assert np.float32(the(r"fl\(1 / sqrt\((\d+)\)\), ([0-9.]+),", text)[1]) == DEVIATION
    assert int(the(r"fl\(1 / sqrt\((\d+)\)\)", text)[0]) == number(r"variance (\d+)\. Threefry", text) == 4 * (16**2 - 1) // 12
    assert [(defined("RC_NOISE_AT_START"), START), (defined("RC_NOISE_AT_STEP"), STEP)] == list(enumerate(NOISE_AT))


def test_statuses():
    told = rows(after("Statuses (`rc_status.h`):"))
    header = (RUNTIME / "include/recurc/rc_status.h").read_text()
    in_c = re.findall(r'X\((\w+), (\d+), "([^"]+)"\)', header)
    assert told == [[value, name, text] for name, value, text in in_c]
    assert [text for *_, text in in_c] == list(frames.STATUS_TEXT)
    assert [int(value) for _, value, _ in in_c] == list(range(len(in_c)))
    codes = {name: int(value) for name, value, _ in in_c}
    named = {name: value for name, value in vars(frames).items() if name.startswith("STATUS_") and isinstance(value, int)}
    assert named and all(codes[name.replace("STATUS_", "RC_ERR_")] == value for name, value in named.items())
    assert set(re.findall(r"\bRC_ERR_\w+", SPEC)) <= set(codes)


def test_enumerations():
    """Tensors, carries, tables, causes of resets and faults: the same numbers in the text, in C and in Python."""
    for name, value in frames.TENSORS.items():
        assert defined(f"RC_TENSOR_{name.upper()}") == value
    assert (
        number(r"tensors 6 and 7, the scales of an int8 carry, are RC_ERR_ARGUMENT for others, and tensor (\d+)")
        == frames.TENSORS["columns"]
    )
    carries = the(r"stored type of the carry: (\d) binary32, (\d) binary16, (\d) int8")
    assert [int(c) for c in carries] == [frames.CARRIES.index(c) for c in ("fp32", "fp16", "int8")]
    modes = the(r"table come from: (\d) nowhere [^|]*, (\d) a memory-mapped table, (\d) the wire")
    assert [int(m) for m in modes] == [frames.TABLE_NONE, frames.TABLE_MAPPED, frames.TABLE_WIRE]
    assert [int(m) for m in modes] == [defined(f"RC_TABLE_{m}") for m in ("NONE", "MAPPED", "WIRE")]
    stored = the(r"streamed table: (\d) none, (\d) binary32 rows, (\d) int8 rows")
    assert [int(s) for s in stored] == [frames.TABLE_STORAGES.index(s) for s in ("", "fp32", "int8")]
    causes = re.findall(r"(\d) (\w+)", the(r"why the firmware started: ([^;]*);")[0])
    assert causes == [(str(i), name) for i, name in enumerate(frames.RESET_CAUSES)]
    assert all(defined(f"RC_RESET_{name.upper()}") == int(i) for i, name in causes)
    assert the(r"(\d) an exception, (\d) the watchdog") == ("0", "1") and len(frames.FAULT_CAUSES) == 3
    assert [defined(f"RC_FAULT_{n}") for n in ("EXCEPTION", "WATCHDOG", "NMI")] == [0, 1, 2]
    assert number(r"bits (\d)-6: why the firmware") == defined("RC_HELLO_RESET_SHIFT")


def test_the_carrys_checksum_covers_what_is_told():
    text = re.sub(r"\s+", " ", the(r"\*\*Carry CRC\*\*: ((?:.*\n)+?)\n")[0])
    order = {"z_H": "z_H", "its scales": None, "z_L": "z_L", "the column scales": "columns"}
    told = the(r"row by row: ([^.]*)\.", text)[0].split(", ")
    assert set(told) == set(order)
    here = [order[part] or frames.CARRY_SCALES[told[i - 1]] for i, part in enumerate(told)]
    assert tuple(here) == frames.CARRY_PARTS
    known = (RUNTIME / "solve/rc_known.c").read_text()
    parts = re.findall(r"RC_TENSOR_(\w+)", the(r"PARTS\[\] = \{([^}]*)\}", known)[0])
    assert [frames.TENSORS[part] for part in here] == [defined(f"RC_TENSOR_{part}") for part in parts]


@pytest.mark.parametrize("where", ["SPEC.md", "include/recurc", "kernels", "solve", "wire", "image"])
def test_files_that_are_named_are_there(where):
    """A path in the text or in a comment names a file of the runtime or of the package."""
    place = RUNTIME / where
    files = [place] if place.is_file() else sorted(f for f in place.rglob("*") if f.suffix in (".c", ".h"))
    root = RUNTIME.parent
    for file in files:
        text = re.sub("#include <.*", "", file.read_text(encoding="utf-8"))
        for path in re.findall(r"[a-z_]+/(?:[a-z_]+/)*\w+\.(?:py|c|h|md)\b", text):
            assert any((base / path).exists() for base in (root, RUNTIME, RUNTIME / "include")), f"{file.name}: {path}"


# -- constants of the arithmetic ------------------------------------------------------------------------------------------

ARITH = (RUNTIME / "include/recurc/rc_arith.h").read_text(encoding="utf-8")


def bits(text: str) -> int:
    """binary32 of a decimal number, as its bits."""
    return struct.unpack("<I", struct.pack("<f", float(text)))[0]


def exp_constants() -> dict[str, str]:
    """The numbers of exp(x) as the text has them."""
    text = re.sub(r"\s+", " ", after("**exp(x)**: ").split("\n\n")[0])
    low, high = the(r"x clamped to \[(-\d+), (\d+)\]", text)
    (magic,) = the(r"t = x \* fl\(log2 e\) \+ (\d+)", text)
    parts = the(r"r = \(x - n \* (\S+)\) - n \* fl\((\S+)\)", text)
    coefficients = the(r"Horner over r of ((?:[\d.e-]+,? )+)\(", text)[0].split(", ")
    return {
        "low": low,
        "high": high,
        "magic": magic,
        "ln2": parts[0],
        "ln2_rest": parts[1],
        **{f"c{i}": c.strip() for i, c in enumerate(coefficients)},
    }


def test_constants_of_exp():
    told, body = exp_constants(), after("static inline float rc_exp_inside", ARITH).split("\n}")[0]
    here = re.findall(r"p = (?:p \* r \+ )?([\d.e-]+)f;", body)
    assert [bits(told[f"c{i}"]) for i in range(6)] == [bits(c) for c in here]
    assert [bits(n) for n in the(r"r = \(x - n \* ([\d.e-]+)f\) - n \* ([\d.e-]+)f;", body)] == [
        bits(told["ln2"]),
        bits(told["ln2_rest"]),
    ]
    assert bits(told["magic"]) == bits(the(r"RC_ROUND_MAGIC (\S+)f\n", ARITH)[0])
    assert bits(told["magic"]) == int(the(r"RC_ROUND_BITS +(0x\w+)", ARITH)[0], 16)
    assert bits(told["magic"]) == bits(the(r"\|x\| < 2\^22: x \+ (\d+) rounded")[0])
    clamp = the(r"x = x < (-[\d.]+)f \? .*\n.*x = x > ([\d.]+)f", ARITH)
    assert [bits(c) for c in clamp] == [bits(told["low"]), bits(told["high"])]
    assert the(r"If m < 2\^(-\d+)") == the(r"RC_ROW_TINY 0x1p(-\d+)f", ARITH)


def test_vector_kernels_have_the_same_constants():
    """Helium's tables are bits, RISC-V's operands decimal numbers."""
    told = {name: bits(text) for name, text in {**exp_constants(), "one": "1", "log2e": "1.44269504088896341"}.items()}
    coefficients = [told[f"c{i}"] for i in range(6)]
    common = [told[name] for name in ("log2e", "magic", "one", "ln2", "ln2_rest")]
    words = {
        name: [
            int(w, 0)
            for line in re.findall(r'"\.word ([^\\]*)\\n"', (RUNTIME / f"kernels/mve/{name}.c").read_text())
            for w in line.split(",")
        ]
        for name in ("rc_silu_mul_mve", "rc_softmax_mve")
    }
    assert words["rc_silu_mul_mve"] == [coefficients[0], told["low"], told["high"], *common, *coefficients[1:]]
    assert words["rc_softmax_mve"] == [0, told["one"], told["low"], *common, *coefficients]
    operands = dict(re.findall(r'\[(\w+)\] "f"\(([-\d.e]+)f\)', (RUNTIME / "kernels/rvv/rc_exp_rvv.h").read_text()))
    assert {name: bits(value) for name, value in operands.items()} == {n: v for n, v in told.items() if n != "magic"}
