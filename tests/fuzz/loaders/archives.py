"""Mutations of what torch.save and np.savez write: zips and pickles, by their parts."""

from __future__ import annotations

import io
import pickletools
import random
import struct
import zipfile
import zlib
from functools import lru_cache
from itertools import islice

from tests.fuzz.loaders.mutate import BYTES, EXTREMES, NUMBERS, Mutation

_NAMES = (
    "os system", "builtins eval", "builtins bytearray", "builtins set", "builtins complex", "_codecs encode",
    "collections OrderedDict", "collections Counter", "torch Size", "torch float8_e4m3fn", "torch bfloat16",
    "torch FloatStorage", "torch LongStorage", "torch ComplexFloatStorage", "torch.storage UntypedStorage",
    "torch.storage TypedStorage", "torch._utils _rebuild_tensor", "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_tensor_v3", "torch._utils _rebuild_sparse_tensor", "torch._utils _rebuild_qtensor",
    "torch._utils _rebuild_parameter", "torch._utils _rebuild_parameter_with_state",
    "torch._utils _rebuild_meta_tensor_no_storage", "torch._tensor _rebuild_from_type_v2",
    "torch._utils _rebuild_nested_tensor", "torch._utils _rebuild_device_tensor_from_numpy",
    "torch.nn.parameter Parameter", "numpy.core.multiarray _reconstruct", "a b", "\x1b[31m x", "x" * 5000 + " y",
)  # fmt: skip
_READ = 5000  # opcodes of a pickle; more are a flood, and alike
# Opcodes to insert, and what floods are made of.
_OPS = (
    b"N", b"}", b"]", b")", b"(", b"0", b"1", b"2", b"t", b"\x85", b"\x86", b"\x87", b"R", b"b", b"Q", b"s", b"u", b"a",
    b"e", b"d", b"l", b"\x81", b"\x88", b"\x89", b"\x8f", b"\x90", b"\x91", b"\x94", b"q\x00", b"h\x00", b"h\x05",
    b"K\x00", b"K\xff", b".", b"J\xff\xff\xff\xff", b"J\xff\xff\xff\x7f", b"\x8a\x08" + b"\xff" * 7 + b"\x7f",
    b"\x8a\x00", b"G" + struct.pack(">d", float("nan")), b"X\x01\x00\x00\x00a", b"X\xff\xff\xff\xff", b"U\x01b",
    b"B\xff\xff\xff\xff", b"\x8e" + b"\xff" * 8, b"\x8d" + b"\xff" * 8, b"\x8b\xff\xff\xff\x7f", b"r\xff\xff\xff\xff",
    b"j\x01\x00\x00\x00", b"I99\n", b"L" + b"9" * 5000 + b"L\n", b"F1e999\n", b"S'a'\n", b"V\\ud800\n", b"P1\n",
    b"\x82\x01", b"\x93", b"\x95" + b"\xff" * 8, b"\x96" + b"\xff" * 8, b"\x80\x05", b"\x80\xff", b"h\x01\x86h\x01",
)  # fmt: skip


@lru_cache(maxsize=4)
def _positions(data: bytes) -> list[tuple[str, int, int]]:
    """(opcode's name, begin, end) of a pickle's first opcodes, as far as they can be read."""
    found: list[tuple[str, int]] = []
    try:
        for opcode, _, at in islice(pickletools.genops(data), _READ):
            found.append((opcode.name, at or 0))
    except Exception:  # noqa: BLE001 - a mutated pickle is mutated again
        pass
    ends = [at for _, at in found[1:]] + [len(data)]
    return [(name, at, end) for (name, at), end in zip(found, ends)]


def pickle_ops(r: random.Random, data: bytes) -> bytes:
    """One opcode replaced, removed, doubled, moved, or a flood of them put in; names and numbers changed."""
    ops = _positions(data)
    if not ops:
        return r.choice(BYTES)(r, data or b"\0")
    name, begin, end = r.choice(ops)
    kind = r.randrange(9)
    if kind <= 2:
        chosen = [op for op in ops if op[0] in ("BININT", "BININT1", "BININT2", "LONG1", "GLOBAL")]
        name, begin, end = r.choice(chosen or ops)
    if name == "GLOBAL" and kind <= 3:
        new = b"c" + r.choice(_NAMES).replace(" ", "\n", 1).encode() + b"\n"
    elif name.startswith(("BININT", "LONG1")) and kind <= 3:
        value = r.choice((*NUMBERS, -1, -(2**31), -(2**63)))
        body = value.to_bytes(10, "little", signed=True)
        new = b"J" + struct.pack("<i", value) if -(2**31) <= value < 2**31 else b"\x8a\x0a" + body
    elif kind == 4:
        new = b""
    elif kind == 5:
        new = data[begin:end] * r.choice((2, 3, 100))
    elif kind == 6:
        _, a, b = r.choice(ops)
        new = data[a:b]
    elif kind == 7:
        flood = r.choice(_OPS)
        times = r.choice((1, 2, 1000)) if r.random() < 0.95 else 30_000  # which costs as much as a hundred others
        new = flood * min(times, 1 + 200_000 // len(flood)) + data[begin:end]
    else:
        new = r.choice(_OPS) + (data[begin:end] if r.random() < 0.5 else b"")
    return data[:begin] + new + data[end:]


@lru_cache(maxsize=4)
def _members(data: bytes) -> tuple[tuple[str, bytes], ...]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return tuple((i.filename, archive.read(i)) for i in archive.infolist())


def _zipped(members: list[tuple[str, bytes]], r: random.Random) -> bytes:
    """A zip of members; zipfile makes the same in a millisecond."""
    out, directory = bytearray(), bytearray()
    for name, data in members:
        deflated = r.random() < 0.01
        text, kept = name.encode("utf-8"), zlib.compress(data, wbits=-15) if deflated else data
        flags = 0 if name.isascii() else 0x800
        common = struct.pack("<5H3I2H", 20, flags, 8 * deflated, 0, 0x21, zlib.crc32(data), len(kept), len(data), len(text), 0)
        directory += b"PK\1\2" + struct.pack("<H", 0x314) + common
        directory += struct.pack("<3H2I", 0, 0, 0, 0o600 << 16, len(out)) + text
        out += b"PK\3\4" + common + text + kept
    end = struct.pack("<4H2IH", 0, 0, len(members), len(members), len(directory), len(out), 0)
    return bytes(out + directory) + b"PK\5\6" + end


def members(inner: Mutation, suffix: str) -> Mutation:
    """Rebuilds a zip with a mutated member (one that ends in `suffix`, mostly), or with members doubled, renamed, removed."""

    def mutate(r: random.Random, data: bytes) -> bytes:
        try:
            parts = list(_members(data))
        except Exception:  # noqa: BLE001 - it was mutated before, and is no zip any more
            parts = []
        if not parts:
            return r.choice(BYTES)(r, data or b"\0")
        at = r.randrange(len(parts))
        fitting = [i for i, (name, _) in enumerate(parts) if name.endswith(suffix)]
        kind = r.randrange(12)
        if kind < 9 and fitting:
            at = r.choice(fitting)
        name, content = parts[at]
        if kind < 9:
            parts[at] = (name, inner(r, content or b"\0"))
        elif kind == 9:
            parts[at] = (r.choice((name + "x", "x/" + name, "data.pkl", "a/../b", "\x1b[1m", name.replace("/", ""))), content)
        elif kind == 10:
            del parts[at]
        else:
            parts.insert(at, (name + r.choice(("", "", "2")), content[: r.randrange(len(content) + 1)]))
        return _zipped(parts, r)

    return mutate


def directory(r: random.Random, data: bytes) -> bytes:
    """Lies in a zip's headers: a field of the end record, of a directory entry or of a member's own header."""
    places = [(data.rfind(b"PK\5\6"), 22)]
    places += [(at, 46) for at in _all(data, b"PK\1\2")] + [(at, 30) for at in _all(data, b"PK\3\4")][:50]
    places = [place for place in places if place[0] >= 0]
    if not places:
        return r.choice(BYTES)(r, data)
    at, size = r.choice(places)
    field = at + r.randrange(4, size - 1)
    width = r.choice((1, 2, 4))
    value = (r.choice(NUMBERS) + r.choice((0, 0, 1, -1))) % (1 << 8 * width)
    if r.random() < 0.1:
        return data[:at] + r.choice(EXTREMES)[:40] + data[at:]
    return data[:field] + value.to_bytes(width, "little") + data[field + width :]


def _all(data: bytes, magic: bytes) -> list[int]:
    found, at = [], data.find(magic)
    while at >= 0:
        found.append(at)
        at = data.find(magic, at + 1)
    return found
