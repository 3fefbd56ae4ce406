"""The weights image: layout as in rc_image.h, round trip, determinism, and refusal of anything damaged, in both readers."""

from __future__ import annotations

import ctypes
import hashlib
import re
import struct
import subprocess
import zlib
from dataclasses import fields, replace

import numpy as np
import pytest

from recurc.emit import image as image_module
from recurc.emit.code import emit_model
from recurc.emit.image import ENTRY, HEADER, KINDS, build_image, check_image
from recurc.errors import InputError
from recurc.plan.kernels import KERNEL_SETS, kernel_set
from recurc.plan.layout import make_layout
from recurc.quant.model import quantize_model
from recurc.quant.scheme_int2_g32 import FORM as GROUPED2
from recurc.quant.weights import precision_named
from recurc.resources import resource_dir
from recurc.storage import INT2, INT3, INT4
from recurc.storage.form import unpack_layer
from recurc.storage.fp32 import FloatWeights
from recurc.storage.grouped import GroupWeights
from recurc.targets.host import _U8P, _aligned, _Context
from recurc.targets.toolchain import find_compiler
from tests.codegen.builder import compile_model
from tests.randmodels import random_reasoner
from tests.structs import IMAGE_FIELDS
from tests.tools import need

PORTABLE = kernel_set("portable")
OK, MAGIC, VERSION, FLAGS, SIZE, CRC, SECTION, MODEL, ALIGNMENT, ARENA = 0, 2, 3, 4, 5, 6, 7, 8, 9, 10


def quantized(precision="int4", seed=0, **shape):
    return quantize_model(random_reasoner(seed=seed, **shape), precision_named(precision), method="mse")


@pytest.fixture(scope="module")
def model():
    return quantized()


@pytest.fixture(scope="module")
def image(model):
    return build_image(model, PORTABLE)


@pytest.fixture(scope="module")
def opened(model, tmp_path_factory, kernels_folder):
    """status = opened(bytes): what the C reader, as the generated model calls it, says of an image."""
    engine = compile_model(tmp_path_factory.mktemp("image"), model, shared=kernels_folder)
    return lambda data, shift=0: open_image(engine, data, shift)


def open_image(engine, data: bytes, shift: int = 0) -> int:
    room, context = _aligned(len(data) + 64), _Context()
    room[shift : shift + len(data)] = np.frombuffer(data, np.uint8)
    at = room[shift:].ctypes.data_as(_U8P)
    arena = _aligned(engine.info.arena_bytes)
    return engine._lib.rc_open(ctypes.byref(context), at, len(data), arena.ctypes.data_as(_U8P), len(arena), None)


def sealed(data: bytes, **changes) -> bytes:
    """The image with header fields changed and its header CRC made right again."""
    names = (
        "magic",
        "endian",
        "major",
        "minor",
        "flags",
        "arithmetic",
        "packing",
        "count",
        "total",
        "table_at",
        "table_crc",
        "sha",
        "architecture",
        "counter",
    )
    fields = dict(zip(names, HEADER.unpack(data[:128])[:-1])) | changes
    head = HEADER.pack(*fields.values(), 0)[:-4]
    return head + struct.pack("<I", zlib.crc32(head)) + data[128:]


def flipped(data: bytes, at: int, bit: int = 1) -> bytes:
    bent = bytearray(data)
    bent[at] ^= bit
    return bytes(bent)


# -- layout -----------------------------------------------------------------------------------------------------------


def test_layout_equals_the_c_structs(tmp_path):
    need("host")
    entry = ("kind", "index", "offset", "bytes", "crc", "reserved")
    prints = [f'printf("%zu\\n", offsetof(rc_image_header_t, {f}));' for f in IMAGE_FIELDS]
    prints += [f'printf("%zu\\n", offsetof(rc_image_entry_t, {f}));' for f in entry]
    for value in ("RC_IMAGE_MAGIC", "RC_IMAGE_ENDIAN", "RC_IMAGE_VERSION", "RC_IMAGE_ALIGN", "RC_ARITHMETIC_ID"):
        prints.append(f'printf("%lu\\n", (unsigned long){value});')
    source = tmp_path / "offsets.c"
    source.write_text(
        '#include <stddef.h>\n#include <stdio.h>\n#include "recurc/rc_arith.h"\n'
        '#include "recurc/rc_image.h"\nint main(void) {' + "".join(prints) + "return 0; }\n"
    )
    subprocess.run(
        [find_compiler("host"), f"-I{resource_dir('runtime_c') / 'include'}", str(source), "-o", str(tmp_path / "offsets")],
        check=True,
    )
    told = [int(x) for x in subprocess.check_output([str(tmp_path / "offsets")]).split()]

    def offsets(layout: str) -> list[int]:
        found, at = [], 0
        for count, kind in re.findall(r"(\d*)([sIHx])", layout.format.lstrip("<")):
            size = {"I": 4, "H": 2, "s": 1, "x": 1}[kind] * (int(count or 1))
            if kind in "sx":
                found.append(at)
                at += size
            else:
                step = 4 if kind == "I" else 2
                found += range(at, at + size, step)
                at += size
        return found

    assert told[:16] == offsets(HEADER)
    assert told[16:22] == offsets(ENTRY)
    assert told[22:] == [
        int.from_bytes(image_module.MAGIC, "little"),
        image_module.ENDIAN_MARK,
        image_module.VERSION[0],
        image_module.ALIGN,
        image_module.ARITHMETIC_ID,
    ]


def test_round_trip(model, image):
    sections = check_image(image.data)
    assert [(KINDS[s.kind], s.offset, s.bytes) for s in image.sections] == list(sections)
    assert all(s.offset % 64 == 0 for s in image.sections)
    assert image.sha256 == hashlib.sha256(image.data[128:]).hexdigest()

    def read(name):
        s = image.section(name)
        return image.data[s.offset : s.offset + s.bytes]

    assert read("table.tokens") == model.tables["tokens"].tobytes()
    assert read("H_init") == model.vectors["H_init"].tobytes()
    for ref in model.program.linears:
        w = model.weights[ref.name]
        assert (_unpacked(read(f"{ref.name}:weights"), ref, w, PORTABLE) == w.q).all(), ref.name
        assert read(f"{ref.name}:scales") == w.scale.tobytes() and read(f"{ref.name}:zeros") == w.zero.tobytes()


@pytest.mark.parametrize("precision", ["fp32", "int8", "int4", "int4-g32", "int3", "int2-g32", "int2"])
@pytest.mark.parametrize("kernels", KERNEL_SETS, ids=lambda k: k.name)
def test_packed_weights_read_back(kernels, precision):
    model = quantized(precision, hidden=40, ndim=40)
    image = build_image(model, kernels)
    check_image(image.data)
    for ref in model.program.linears:
        w = model.weights[ref.name]
        s = image.section(f"{ref.name}:weights")
        data = image.data[s.offset : s.offset + s.bytes]
        values = w.w if isinstance(w, FloatWeights) else w.q
        assert _unpacked(data, ref, w, kernels).tolist() == values.tolist()
        pieces = [image.data[x.offset : x.offset + x.bytes] for x in image.sections if x.name.startswith(ref.name + ":")]
        again = unpack_layer(w.form, ref, kernels.weights, pieces)
        assert type(again) is type(w) and all(np.array_equal(getattr(again, f.name), getattr(w, f.name)) for f in fields(w))


def _of_pairs(piece, j, kp, bits):
    """Channel j from tiles of 4: int4 a half word w0 + 16 w1 + 256 w2 + 4096 (w3 - 8) an element of depth, int8 two."""
    if bits == 4:
        half = np.frombuffer(piece, "<u2").reshape(-1, kp)[j // 4] ^ 0x8000
        return half >> 4 * (j % 4) & 15
    words = np.frombuffer(piece, "<i2").reshape(-1, kp // 2, 2, 2)[j // 4, :, j % 4 // 2].reshape(-1).astype(int)
    return (words & 255) - 128 if j % 2 == 0 else words >> 8


def _of_sixteens(piece, j, k, bits):
    """Channel j from groups of 4, 16 k at a time: int4 a byte w0 + 16 (w1 - 8) for two channels, int8 a byte a channel."""
    steps = max(-(-k // 16), 2)
    if bits == 8:
        return np.frombuffer(piece, np.int8).reshape(-1, steps, 4, 16)[j // 4, :, j % 4].reshape(-1)
    both = np.frombuffer(piece, np.uint8).reshape(-1, steps, 2, 16)[j // 4, :, j % 4 // 2].reshape(-1)
    return both & 15 if j % 2 == 0 else both >> 4 ^ 8


def _widened(data, flip, bits):
    """The int4 form of int3 and int2 tiles, bit by bit: a fourth word from the top bits of three words' operands; two words
    of even operands from the halves of one word's."""
    words = []
    for word in np.frombuffer(data, "<u4").tolist() if bits == 2 else ():
        words += [sum((word >> 4 * i + lift & 3) << 4 * i + 1 for i in range(8)) for lift in (0, 2)]
    for three in np.frombuffer(data, "<u4").reshape(-1, 3).tolist() if bits == 3 else ():
        fourth = sum((word >> 4 * i + 3 & 1) << 4 * i + bit for bit, word in enumerate(three) for i in range(8))
        words += [word & 0x77777777 for word in three] + [fourth]
    return (np.array(words, dtype="<u4") ^ np.uint32(flip)).tobytes()


def _widened_groups(data, flip):
    """The int4-g32 form of int2-g32's tiles, operand by operand: 0 to 3 of a pair of bits stand for 1, 3, -3 and -1."""
    words = []
    for word in np.frombuffer(data, "<u4").tolist():
        words += [sum((1, 3, 13, 15)[word >> 4 * i + lift & 3] << 4 * i for i in range(8)) for lift in (0, 2)]
    return (np.array(words, dtype="<u4") ^ np.uint32(flip)).tobytes()


def _of_groups(piece, j, kp, kernels):
    """Channel j of weights in groups: panels as q + 8; packing 3 eight k a word, two's complement, the first ones on top;
    packing 5 k and k + 16 a byte; packing 8 k and k + 1; else packing 4's int4 form of q + 8."""
    if kernels.packing == 2:
        return np.frombuffer(piece, np.uint8).reshape(-1, kp // 4, 16, 4)[j // 16, :, j % 16].reshape(-1).astype(int) - 8
    if kernels.packing == 3:
        words = np.frombuffer(piece, "<u4").reshape(-1, kp // 8, 4)[j // 4, :, j % 4]
        row = [words >> 16 * (k % 2) + 12 - 4 * (k // 2) & 15 for k in range(8)]
        return (np.stack(row, axis=1).reshape(-1).astype(int) ^ 8) - 8
    if kernels.packing == 5:
        both = np.frombuffer(piece, np.uint8).reshape(-1, (kp + 31) // 32, 16)[j]
        return (np.concatenate((both & 15, both >> 4), axis=1).reshape(-1).astype(int) ^ 8) - 8
    if kernels.packing == 8:
        both = np.frombuffer(piece, np.uint8).reshape(-1, kp // 2, 32)[j // 32, :, j % 32]
        return (np.stack((both & 15, both >> 4), axis=1).reshape(-1).astype(int) ^ 8) - 8
    fours = np.frombuffer(piece, "<u2").reshape(-1, kp // 4, 4)[j // 4, :, j % 4]
    return (fours[:, None] >> 4 * np.arange(4) & 15).reshape(-1).astype(int) - 8


@pytest.mark.parametrize("kernels", KERNEL_SETS, ids=lambda k: k.name)
def test_groups_scales_lie_by_lanes(kernels):
    model = quantized("int4-g32", hidden=40, ndim=40)
    image = build_image(model, kernels)
    lanes = {"host": 16, "rvv": 32}.get(kernels.name, 4)
    for ref in model.program.linears:
        s = image.section(f"{ref.name}:groups")
        m, groups = model.weights[ref.name].m, -(-ref.k // 32)
        stored = np.frombuffer(image.data[s.offset : s.offset + s.bytes], np.uint8).reshape(ref.parts, -1, groups, lanes)
        for j in range(ref.n):
            part, channel = divmod(j, ref.part_n)
            assert (stored[part, channel // lanes, :, channel % lanes] == m[j]).all(), (ref.name, j)


def _unpacked(data, ref, w, kernels):
    """Weights [n, k] from packed bytes, element by element as rc_kernels.h describes the packing."""
    if w.form in (INT3, INT2) and kernels.name != "host":
        data = _widened(data, {3: 0x80008000, 5: 0x80808080}.get(kernels.packing, 0), w.bits)
        w = replace(w, bits=4)
    if w.form == GROUPED2 and kernels.name != "host":
        data = _widened_groups(data, 0x88888888 if kernels.packing == 4 else 0)
    parts, out = ref.parts, []
    for part in range(parts):
        piece = data[len(data) // parts * part : len(data) // parts * (part + 1)]
        kp = kernels.padded(ref.k)
        for j in range(ref.part_n):
            if isinstance(w, FloatWeights):
                flat = np.frombuffer(piece, "<f4")
                row = (
                    flat[j * ref.k : (j + 1) * ref.k]
                    if kernels.packing != 2
                    else flat.reshape(-1, ref.k, 16)[j // 16, :, j % 16]
                )
            elif isinstance(w, GroupWeights):
                row = _of_groups(piece, j, kp, kernels)
            elif kernels.packing == 3:
                row = _of_pairs(piece, j, kp, w.bits)
            elif kernels.packing == 5:
                row = _of_sixteens(piece, j, ref.k, w.bits)
            elif kernels.packing == 2:
                row = np.frombuffer(piece, np.uint8).reshape(-1, kp // 4, 16, 4)[j // 16, :, j % 16].reshape(-1)
                row = row.astype(int) - (128 if w.bits == 8 else 0)
            elif kernels.packing == 8:
                lanes = np.frombuffer(piece, np.int8 if w.bits == 8 else np.uint8).reshape(-1, kp * w.bits // 8, 32)
                row = lanes[j // 32, :, j % 32]
                row = row if w.bits == 8 else np.stack((row & 15, row >> 4), axis=1).reshape(-1)
            elif w.bits == 8:
                row = np.frombuffer(piece, np.int8).reshape(-1, kp, 4)[j // 4, :, j % 4]
            else:
                fours = np.frombuffer(piece, "<u2").reshape(-1, kp // 4, 4)[j // 4, :, j % 4]
                row = (fours[:, None] >> 4 * np.arange(4) & 15).reshape(-1)
            out.append(row[: ref.k])
    return np.stack(out)


def test_equal_models_give_equal_bytes(model, image):
    again = quantized()
    other = build_image(again, PORTABLE)
    assert other.data == image.data
    layouts = [make_layout(m.program, INT4, PORTABLE, 20_000) for m in (model, again)]
    assert emit_model(model, image, PORTABLE, layouts[0]) == emit_model(again, other, PORTABLE, layouts[1])
    assert build_image(quantized(seed=1), PORTABLE).sha256 != image.sha256


# -- refusals: both readers -----------------------------------------------------------------------------------------------


def test_the_good_image_is_taken(image, opened):
    assert opened(image.data) == OK
    check_image(image.data)


def test_every_byte_of_header_and_table_counts(image, opened):
    for at in range(128 + 32 * len(image.sections)):
        bent = flipped(image.data, at, 1 << (at % 8))
        assert opened(bent) != OK, at
        with pytest.raises(InputError):
            check_image(bent)


def test_damage_in_the_sections_is_noticed(image, opened):
    inside = [s.offset + i for s in image.sections for i in (*range(0, s.bytes, 64), s.bytes - 1)]
    for at in inside[::7]:
        bent = flipped(image.data, at, 0x80)
        assert opened(bent) == CRC, at
    for at in range(128 + 32 * len(image.sections), len(image.data), 64):  # the padding too: sha256
        with pytest.raises(InputError, match="CRC|sha256"):
            check_image(flipped(image.data, at, 0x80))


def test_truncated_and_longer_images(image, opened):
    n = len(image.data)
    lengths = {0, 1, 4, 127, 128, 129, 160, 128 + 32 * len(image.sections), n - 64, n - 1, *range(131, n, n // 60)}
    for length in sorted(lengths):
        assert opened(image.data[:length]) == SIZE, length
        with pytest.raises(InputError):
            check_image(image.data[:length])
    assert opened(image.data + bytes(64)) == SIZE
    with pytest.raises(InputError):
        check_image(image.data + bytes(64))


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"magic": b"RCM2"}, MAGIC),
        ({"endian": 0x04030201}, MAGIC),
        ({"major": 2}, VERSION),
        ({"major": 0}, VERSION),
        ({"flags": 1}, FLAGS),
        ({"flags": 1 << 31}, FLAGS),
        ({"arithmetic": 1}, VERSION),
        ({"packing": 2}, VERSION),
        ({"count": 0}, SECTION),
        ({"count": 0xFFFFFFFF}, SECTION),
        ({"total": 64}, SIZE),
        ({"total": 0xFFFFFFFF}, SIZE),
        ({"table_at": 192}, SECTION),
        ({"table_at": 0xFFFFFFF0}, SECTION),
        ({"architecture": bytes(16)}, MODEL),
        ({"architecture": bytes(16), "total": 64}, SIZE),
        ({"architecture": bytes(16), "count": 0}, MODEL),
        ({"sha": bytes(32)}, OK),
    ],
    ids=str,
)
def test_crafted_headers_with_a_right_crc(image, opened, change, status):
    bent = sealed(image.data, **change)
    assert opened(bent) == status
    if change.keys() <= {"packing", "architecture"}:
        check_image(bent)  # Python reads every packing and model; the firmware only its own
        return
    with pytest.raises(InputError) as e:
        check_image(bent, "some.rcm")
    assert e.value.exit_code == 3 and "some.rcm" in str(e.value)


def test_a_minor_version_is_taken(image, opened):
    newer = sealed(image.data, minor=9)
    check_image(newer)
    assert opened(newer) == OK


@pytest.mark.parametrize("field", range(5))
@pytest.mark.parametrize("value", [0, 1, 0x7FFFFFC0, 0xFFFFFFC0, 0xFFFFFFFF])
def test_crafted_sections_with_right_crcs(image, opened, field, value):
    """Section entries that point anywhere; table, header CRC and sha256 all fit, so only the bounds protect."""
    count = len(image.sections)
    for index in (0, count - 1):
        at = 128 + 32 * index + 4 * field
        bent = image.data[:at] + struct.pack("<I", value) + image.data[at + 4 :]
        if bent == image.data:
            continue
        bent = sealed(bent, table_crc=zlib.crc32(bent[128 : 128 + 32 * count]), sha=hashlib.sha256(bent[128:]).digest())
        assert opened(bent) in (SECTION, CRC)
        if field:  # the kind is the firmware's business
            with pytest.raises(InputError):
                check_image(bent)


def test_another_models_image_is_refused(opened):
    for shape in ({"hidden": 40, "ndim": 40}, {"vocab": 12}, {"precision": "int8"}):
        assert opened(build_image(quantized(**shape), PORTABLE).data) == MODEL, shape


def test_other_weights_of_the_same_model_are_taken(image, opened):
    other = build_image(quantized(seed=5), PORTABLE)
    assert other.data != image.data and other.sha256 != image.sha256
    assert opened(other.data) == OK


def test_the_sha256_of_the_bytes_is_not_asked_at_a_start(image, opened):
    """`rc_prove` and whoever asks over the wire compute it."""
    assert opened(sealed(image.data, sha=bytes(32))) == OK


def test_a_misaligned_image_is_refused(image, opened):
    for shift in (1, 4, 32):
        assert opened(image.data, shift) == ALIGNMENT
