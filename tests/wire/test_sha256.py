"""The runtime's SHA-256 against published vectors and hashlib: any length, any pieces, any address, under sanitizers."""

from __future__ import annotations

import hashlib
import random
import struct
import subprocess

import pytest

from recurc.resources import resource_dir
from recurc.targets.toolchain import C_FLAGS, find_compiler
from tests.tools import need

SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer")
# FIPS 180-4's examples and the CAVP vectors for short and long messages, by hand so that hashlib is not the only witness.
PUBLISHED = {
    b"": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    b"abc": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq":
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
    b"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu":
        "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1",
    bytes.fromhex("d3"): "28969cdfa74a12c82f3bad960b0b000aca2ac329deea5c2328ebc6f2ba9802c1",
    bytes.fromhex("c98c8e55"): "7abc22c0ae5af26ce93dbb94433a0e0b2e119d014f8e7f65bd56c61ccccd9504",
    b"a" * 1_000_000: "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0",
}  # fmt: skip


@pytest.fixture(scope="module")
def digests(tmp_path_factory):
    """digests of cases (shift from an aligned address, bytes a piece or 0, data), all in one run."""
    need("host")
    runtime, out = resource_dir("runtime_c"), tmp_path_factory.mktemp("sha256") / "driver"
    sources = [f"{__file__.rpartition('/')[0]}/sha256_driver.c", str(runtime / "image" / "rc_sha256.c")]
    subprocess.run(
        [find_compiler("host"), *C_FLAGS, *SANITIZERS, f"-I{runtime / 'include'}", *sources, "-o", str(out)], check=True
    )

    def run(cases):
        stream = b"".join(struct.pack("<3I", shift, piece, len(data)) + data for shift, piece, data in cases)
        done = subprocess.run([str(out)], input=stream, capture_output=True, timeout=120)
        assert done.returncode == 0 and not done.stderr, done.stderr.decode()
        assert len(done.stdout) == 32 * len(cases)
        return [done.stdout[i : i + 32].hex() for i in range(0, len(done.stdout), 32)]

    return run


def test_published_vectors(digests):
    assert digests([(0, 0, data) for data in PUBLISHED]) == list(PUBLISHED.values())


def test_every_length_around_its_blocks(digests):
    data = random.Random(1).randbytes(4 * 64 + 9)
    cases = [(0, 0, data[:n]) for n in range(len(data) + 1)]
    assert digests(cases) == [hashlib.sha256(d).hexdigest() for _, _, d in cases]


def test_any_pieces_from_any_address(digests):
    rng = random.Random(2)
    cases = [(shift, piece, rng.randbytes(300)) for shift in range(8) for piece in (0, 1, 3, 55, 56, 63, 64, 65, 128, 299)]
    cases += [
        (rng.randrange(64), rng.choice((0, rng.randrange(1, 5000))), rng.randbytes(rng.randrange(20_000))) for _ in range(150)
    ]
    assert digests(cases) == [hashlib.sha256(d).hexdigest() for _, _, d in cases]


def test_the_length_is_counted_in_64_bits(digests, tmp_path):
    """The length field of messages from 2^29 bytes (2^32 bits) on, without hashing so many: the counter is set by hand."""
    runtime, out = resource_dir("runtime_c"), tmp_path / "long"
    source = tmp_path / "long.c"
    source.write_text("""
#include "recurc/rc_sha256.h"
#include <stdio.h>
int main(void)
{
    rc_sha256_t hash;
    uint8_t digest[RC_SHA256_BYTES];
    rc_sha256_init(&hash);
    hash.length = 0x123456789AULL * 64u; /* as if so many blocks had left the state as it was */
    rc_sha256_final(&hash, digest);
    for (int i = 0; i < 32; i++) printf("%02x", digest[i]);
    return 0;
}
""")
    subprocess.run(
        [
            find_compiler("host"),
            f"-I{runtime / 'include'}",
            str(source),
            str(runtime / "image" / "rc_sha256.c"),
            "-o",
            str(out),
        ],
        check=True,
    )
    told = subprocess.run([str(out)], capture_output=True, text=True, check=True).stdout
    assert told == _last_block_only(b"\x80" + bytes(55) + struct.pack(">Q", 0x123456789A * 64 * 8))


def _last_block_only(block: bytes) -> str:
    """SHA-256's compression of one block from the initial state, written from FIPS 180-4."""
    mask = 0xFFFFFFFF
    primes = [p for p in range(2, 312) if all(p % q for q in range(2, p))]
    state = [int(_root(p, 2) * 2**32) & mask for p in primes[:8]]
    k = [int(_root(p, 3) * 2**32) & mask for p in primes]

    def turn(x: int, n: int) -> int:
        return (x >> n | x << 32 - n) & mask

    w = list(struct.unpack(">16I", block))
    for t in range(16, 64):
        s0 = turn(w[t - 15], 7) ^ turn(w[t - 15], 18) ^ w[t - 15] >> 3
        s1 = turn(w[t - 2], 17) ^ turn(w[t - 2], 19) ^ w[t - 2] >> 10
        w.append(w[t - 16] + s0 + w[t - 7] + s1 & mask)
    a, b, c, d, e, f, g, h = state
    for t in range(64):
        t1 = h + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + (e & f ^ ~e & g) + k[t] + w[t]
        t2 = (turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + (a & b ^ a & c ^ b & c)
        a, b, c, d, e, f, g, h = t1 + t2 & mask, a, b, c, d + t1 & mask, e, f, g
    return struct.pack(">8I", *(x + y & mask for x, y in zip(state, (a, b, c, d, e, f, g, h)))).hex()


def _root(p: int, n: int):
    """The n-th root of p, exact enough for 32 bits behind the point."""
    from fractions import Fraction

    scale = 2**64
    low, high = 0, p * scale
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if middle**n <= p * scale**n else (low, middle)
    return Fraction(low, scale)
