"""The safetensors file form, read as memory maps and written atomically.

Format: header length (8 bytes, little endian), JSON header, raw data.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
from pathlib import Path
from typing import Mapping

import numpy as np

from recurc.errors import InputError
from recurc.models.pages import dropper, pieces

_DTYPES = {
    "F64": np.dtype("<f8"), "F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "BF16": np.dtype("<u2"),
    "I64": np.dtype("<i8"), "I32": np.dtype("<i4"), "I16": np.dtype("<i2"), "I8": np.dtype("i1"), "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}  # fmt: skip
_MAX_HEADER = 100_000_000  # the format's own limit
_IN_MEMORY = 1 << 24  # larger half-precision tables are widened into a file of their own


def widen_bfloat16(bits: np.ndarray) -> np.ndarray:
    """bfloat16 bit patterns (uint16) -> float32: the upper half of the word."""
    return (bits.astype("<u4") << 16).view("<f4")


def narrow_bfloat16(values: np.ndarray) -> np.ndarray:
    """float32 -> bfloat16 bit patterns (uint16), rounded to nearest even. Finite values only."""
    bits = np.ascontiguousarray(values, dtype="<f4").view("<u4")
    return ((bits + (0x7FFF + ((bits >> 16) & 1))) >> 16).astype("<u2")


def read(path: Path) -> dict[str, np.ndarray]:
    """Tensors of a safetensors file: float32 ones as read-only memory maps, narrower ones widened to float32.

    Raises:
        InputError: not a safetensors file, truncated, or its header lies.
    """
    header, start, size = _header(path)
    tensors: dict[str, np.ndarray] = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        try:
            dtype, shape = _DTYPES[entry["dtype"]], tuple(int(n) for n in entry["shape"])
            begin, end = (int(n) for n in entry["data_offsets"])
        except (KeyError, TypeError, ValueError):
            raise _broken(path, f"the header's entry for {name} is not valid or of an unsupported dtype") from None
        if min(shape, default=0) < 0 or begin < 0 or end - begin != math.prod(shape) * dtype.itemsize:
            raise _broken(path, f"the header gives {name} {end - begin} bytes, which does not match its shape {shape}")
        if start + end > size:
            raise _broken(path, f"the file is truncated: {name} ends at byte {start + end} of {size}")
        if not shape or 0 in shape:
            tensors[name] = np.zeros(shape, np.float32)
            continue
        mapped = np.memmap(path, dtype=dtype, mode="r", offset=start + begin, shape=shape)
        tensors[name] = _as_float32(mapped, entry["dtype"], path, name)
    return tensors


def _header(path: Path) -> tuple[dict, int, int]:
    size = path.stat().st_size
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 10 or length > min(_MAX_HEADER, size - 8):
            raise _broken(path, f"it has {size} bytes and no complete header")
        try:
            header = json.loads(file.read(length))
        except ValueError:
            raise _broken(path, "its header is not JSON") from None
    if not isinstance(header, dict):
        raise _broken(path, "its header is not a JSON object")
    return header, 8 + length, size


def _broken(path: Path, why: str) -> InputError:
    return InputError("not a whole safetensors file", where=str(path), why=why, next="Copy or export the file again")


def _as_float32(mapped: np.ndarray, code: str, path: Path, name: str) -> np.ndarray:
    if code == "F32":
        return mapped
    if code not in ("F64", "F16", "BF16"):
        raise InputError(
            "a tensor is not of floating point", where=f"{path}: {name}", why=f"it is stored as {code}",
            next="Export the float checkpoint: recurc does its own quantization",
        )  # fmt: skip
    return widen(mapped, widen_bfloat16 if code == "BF16" else lambda part: part.astype(np.float32))


def widen(source: np.ndarray, convert) -> np.ndarray:
    """`source` as float32, some rows at a time; a large table goes to an unnamed temporary file, not to memory."""
    if source.size <= _IN_MEMORY:
        return np.ascontiguousarray(convert(np.asarray(source)))
    with tempfile.TemporaryFile() as file:
        out = np.memmap(file, dtype=np.float32, mode="w+", shape=source.shape)
    drop = dropper(out)
    for row, part in pieces(source):
        wide = out[row : row + len(part)]
        wide[:] = convert(np.asarray(part))
        drop(wide)  # a shared mapping: what was written stays in the file
    out.flags.writeable = False
    return out


def write(path: Path, tensors: Mapping[str, np.ndarray], dtype: str) -> None:
    """Write float32 tensors as `dtype` ("f32" or "bf16"), to a temporary name first, renamed when whole.

    Raises:
        OSError: the folder cannot be written, or the disk is full.
    """
    code, item = {"f32": ("F32", 4), "bf16": ("BF16", 2)}[dtype]
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, tensor in tensors.items():
        end = offset + tensor.size * item
        header[name] = {"dtype": code, "shape": list(tensor.shape), "data_offsets": [offset, end]}
        offset = end
    head = json.dumps(header, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)  # the format wants aligned data
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(part, "wb") as file:
            file.write(len(head).to_bytes(8, "little") + head)
            for tensor in tensors.values():
                for _, chunk in pieces(tensor.reshape(-1)):
                    data = narrow_bfloat16(chunk) if dtype == "bf16" else np.asarray(chunk, dtype="<f4")
                    file.write(data.tobytes())
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
