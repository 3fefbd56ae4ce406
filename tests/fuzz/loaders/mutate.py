"""Mutations of files: of their bytes whatever they are, and of the numbers and words of text."""

from __future__ import annotations

import random
import re
import struct
from collections.abc import Callable, Sequence
from functools import lru_cache

Mutation = Callable[[random.Random, bytes], bytes]

NUMBERS = (0, 1, 2, 3, 7, 8, 63, 64, 127, 128, 255, 256, 1023, 4096, 32767, 65535, 65536, 2**24, 2**31 - 1, 2**31, 2**32 - 1,
           2**32, 2**40, 2**53, 2**62, 2**63 - 1, 2**63, 2**64 - 1)  # fmt: skip
_DEEP = 3000
_PART = 8000  # bytes
_WINDOW = 300  # bytes, of what was mutated before
EXTREMES = tuple(text.encode("utf-8", "surrogatepass") for text in (
    "0", "-1", "-0", "1", "3", "255", "65536", "2147483648", "-9223372036854775809", "18446744073709551616", "9" * 400,
    "9" * 5000,
    "1e999", "-1e999", "1e308", "1e-320", "0.1", "3.0", "NaN", "Infinity", "-Infinity", ".inf", "-.inf", ".nan", "nan", "inf",
    "true", "false", "null", "~", "yes", "no", "on", "off", "1:30", "010", "0x10", "0b11", "1_000", "0o17", "2024-01-01",
    "2024-01-01T00:00:00Z", "12:00:00", "[]", "{}", "[1]", '""', "''", '"a"', '{"a": 1}', "[1, [2, [3]]]", "a" * 3000,
    '"' + "b" * 3000 + '"', '"\\u001b[31m"', '"\\u0000"', '"\\ud800"', "\x1b[2J", "\u202e", "\ufeff", "\x85", "\u2028",
    "\ud800",
    "[" * _DEEP, "{" * 200, '{"a":' * _DEEP, "- " * _DEEP, "[" * 70 + "]" * 70, "(" * _DEEP, "a." * 200 + "a = 1", "*a", "&a",
    "&a [1, 2]", "<<", "<<: {a: 1}", "!!python/object/apply:os.system [id]", "!!binary aGk=", "!!set {a}", "!!int x",
    "!!float x", "!!bool x", "!!timestamp x", "!a b", "%YAML 1.1", "---", "...", "? a", ": ", "# ", "|", ">", "@", "`", "\t",
    "\n", "\r", "\r\n", "${.hidden_size}", "${hidden_size}", "${arch.x}", "../../../etc/passwd", "/dev/zero",
    "~nobody-here/x", "~", "a\0b", "=", ",",
    "[[a]]", "[a.b]", '"""', "'''", "\\", "\\u12", "'", '"',
))  # fmt: skip
_SIGNS = b'""\\\\\'[]{}:,.-#=? a1\n'
_TOKEN = re.compile(rb'"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'|-?\d[\w.+-]*|[A-Za-z_][\w.]*|[\[\]{}:,=]')


def _flip(r: random.Random, data: bytes) -> bytes:
    out = bytearray(data)
    for _ in range(r.choice((1, 1, 1, 2, 5, 20))):
        out[r.randrange(len(out))] ^= 1 << r.randrange(8)
    return bytes(out)


def _set(r: random.Random, data: bytes) -> bytes:
    at = r.randrange(len(data))
    return data[:at] + bytes([r.choice((0, 1, 0x7F, 0x80, 0xFF, 0x1B, 0x0A, r.randrange(256)))]) + data[at + 1 :]


def _number(r: random.Random, data: bytes) -> bytes:
    size = r.choice((2, 4, 4, 8))
    value = (r.choice(NUMBERS) + r.choice((0, 0, -1, 1))) % (1 << 8 * size)
    at = r.randrange(max(1, len(data) - size))
    if r.random() < 0.7:
        at = at // 4 * 4
    return data[:at] + value.to_bytes(size, r.choice(("little", "little", "big"))) + data[at + size :]


def _insert(r: random.Random, data: bytes) -> bytes:
    at = r.randrange(len(data) + 1)
    return data[:at] + r.choice((r.randbytes(r.randrange(1, 17)), bytes(r.randrange(1, 65)), r.choice(EXTREMES))) + data[at:]


def _delete(r: random.Random, data: bytes) -> bytes:
    at = r.randrange(len(data))
    return data[:at] + data[at + r.choice((1, 1, 2, 4, 8, 64, 1000)) :]


def _splice(r: random.Random, data: bytes) -> bytes:
    a, b, n = r.randrange(len(data)), r.randrange(len(data)), r.choice((1, 4, 16, 64, 1000))
    return data[:b] + data[a : a + n] + data[b + n :]


def _repeat(r: random.Random, data: bytes) -> bytes:
    at, n = r.randrange(len(data)), r.choice((1, 2, 4, 16, 64))
    return data[:at] + data[at : at + n] * r.choice((2, 3, 10, 100, 1000)) + data[at:]


def _truncate(r: random.Random, data: bytes) -> bytes:
    return data[: r.randrange(len(data))]


def _extend(r: random.Random, data: bytes) -> bytes:
    return data + r.choice((b"\0", b"\0" * 64, r.randbytes(7), data[: r.randrange(200)]))


BYTES: tuple[Mutation, ...] = (_flip, _set, _number, _number, _insert, _delete, _splice, _repeat, _truncate, _extend)


def head(r: random.Random, data: bytes) -> bytes:
    """A number in the first 512 bytes, where headers are."""
    return _number(r, data[:512]) + data[512:]


def tail(r: random.Random, data: bytes) -> bytes:
    """Some bytes of the last 1024."""
    return data[:-1024] + r.choice(BYTES)(r, data[-1024:])


@lru_cache(maxsize=16)
def _found(data: bytes) -> tuple[tuple[int, int], ...]:
    """(begin, end) of the tokens; of the valid file they are asked for again and again."""
    return tuple(token.span() for token in _TOKEN.finditer(data))


def _tokens(r: random.Random, data: bytes) -> Sequence[tuple[int, int]]:
    """(begin, end) of the tokens; of a part of data that was mutated before, all of whose tokens nobody asks for again."""
    if len(data) <= _PART and not isinstance(data, _Mutated):
        return _found(data)
    at = r.randrange(max(1, len(data) - _WINDOW))
    return [token.span() for token in _TOKEN.finditer(data, at, at + _WINDOW)]


def _token(r: random.Random, data: bytes) -> bytes:
    found = _tokens(r, data)
    if not found:
        return r.choice(EXTREMES)
    begin, end = r.choice(found)
    a, b = r.choice(found)
    new = r.choice(EXTREMES) if r.random() < 0.8 else data[a:b]
    return data[:begin] + new + data[end:]


def _lines(r: random.Random, data: bytes) -> bytes:
    lines = data.split(b"\n")
    at = r.randrange(len(lines))
    kind = r.randrange(5)
    if kind == 0:
        lines.insert(r.randrange(len(lines) + 1), lines[at])
    elif kind == 1:
        del lines[at]
    elif kind == 2:
        lines[at] = r.choice((b"  ", b"\t", b" ")) + lines[at]
    elif kind == 3:
        lines[at] = lines[at].lstrip()
    else:
        lines.insert(at, r.choice(EXTREMES))
    return b"\n".join(lines)


def _flood(r: random.Random, data: bytes) -> bytes:
    """A few characters again and again: in a reader that is worse than linear they take for ever."""
    unit = bytes(r.choice(_SIGNS) for _ in range(r.choice((1, 2, 2, 3))))
    at = r.randrange(len(data) + 1)
    return data[:at] + unit * (r.choice((4000, 200_000)) // len(unit)) + data[at:]


def _nest(r: random.Random, data: bytes) -> bytes:
    if r.random() < 0.03:
        return _flood(r, data)
    found = _tokens(r, data)
    if not found:
        return data
    (begin, end), n = r.choice(found), r.choice((10, 63, 64, 65, 500, 3000))
    opening, closing = r.choice(((b"[", b"]"), (b'{"a":', b"}"), (b"{a = ", b"}"), (b"{a: ", b"}")))
    return data[:begin] + opening * n + data[begin:end] + closing * n + data[end:]


TEXT: tuple[Mutation, ...] = (_token, _token, _token, _lines, _nest)


class _Mutated(bytes):
    """Bytes that the next mutation finds mutated already."""


def mixed(*kinds: tuple[Mutation, ...]) -> Mutation:
    """One to three mutations in a row, of all kinds alike."""

    def mutate(r: random.Random, data: bytes) -> bytes:
        for _ in range(r.choice((1, 1, 1, 2, 3))):
            data = _Mutated(r.choice(r.choice(kinds))(r, data or b"\0"))
        return data

    return mutate


def framed(start: int, width: int, inner: Mutation) -> Mutation:
    """Mutates a text that is preceded by its length (`width` bytes at `start`), and corrects or keeps that."""

    def mutate(r: random.Random, data: bytes) -> bytes:
        begin = start + width
        length = min(int.from_bytes(data[start:begin], "little"), len(data) - begin)
        text = inner(r, data[begin : begin + length] or b" ")
        if r.random() < 0.95:
            data = data[:start] + (len(text) % (1 << 8 * width)).to_bytes(width, "little") + data[begin:]
        return data[:begin] + text + data[begin + length :]

    return mutate


def floats(r: random.Random, data: bytes) -> bytes:
    """A value of a table of float32."""
    at = r.randrange(max(1, len(data) // 4)) * 4
    value = r.choice((float("nan"), float("inf"), -float("inf"), 3e38, 1e-45, -0.0))
    return data[:at] + struct.pack("<f", value) + data[at + 4 :]
