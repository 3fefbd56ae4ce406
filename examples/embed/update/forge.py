"""forge.py UPDATE FORGED: what somebody without the key can do: change weights and the counter, and mend every checksum."""

import hashlib
import struct
import sys
import zlib
from pathlib import Path

data = bytearray(Path(sys.argv[1]).read_bytes())
image, signature = data[:-64], data[-64:]
sections, size = struct.unpack_from("<2I", image, 24)
for entry in range(128, 128 + 32 * sections, 32):
    kind, _, at, length = struct.unpack_from("<4I", image, entry)
    if kind == 3:  # weights
        image[at] ^= 1
    struct.pack_into("<I", image, entry + 16, zlib.crc32(image[at : at + length]))
struct.pack_into("<I", image, 36, zlib.crc32(image[128 : 128 + 32 * sections]))
image[40:72] = hashlib.sha256(image[128:]).digest()
struct.pack_into("<I", image, 88, 1000)  # the counter: newer than all
struct.pack_into("<I", image, 124, zlib.crc32(image[:124]))
Path(sys.argv[2]).write_bytes(image + signature)
