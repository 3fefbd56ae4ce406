"""The safetensors file form, read as memory maps.

Format: header length (8 bytes, little endian), JSON header, raw data.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, TypeGuard

import numpy as np
from numpy.typing import NDArray

from recurc.errors import InputError
from recurc.formats import parse_json
from recurc.models.pages import pieces
from recurc.reading import Unreadable, map_array, not_read, open_regular, read_into, read_part, shown, size_of

_DTYPES: dict[str, np.dtype] = {
    "F64": np.dtype("<f8"), "F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "BF16": np.dtype("<u2"),
    "I64": np.dtype("<i8"), "I32": np.dtype("<i4"), "I16": np.dtype("<i2"), "I8": np.dtype("i1"), "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}  # fmt: skip
_FLOATS = ("F64", "F32", "F16", "BF16")
_MAX_HEADER = 4 << 20  # bytes: 100 a tensor; the format allows 100 MB, which would take gigabytes to read
_TENSORS, _AXES = 20_000, 16
_IN_MEMORY = 1 << 24  # larger half-precision tables are widened into a file of their own


def widen_bfloat16(bits: np.ndarray) -> np.ndarray:
    """bfloat16 bit patterns (uint16) -> float32: the upper half of the word."""
    return (bits.astype("<u4") << 16).view("<f4")


def narrow_bfloat16(values: np.ndarray) -> np.ndarray:
    """float32 -> bfloat16 bit patterns (uint16), rounded to nearest even. Finite values only."""
    bits: NDArray[np.uint32] = np.ascontiguousarray(values, dtype="<f4").view("<u4")
    return ((bits + (0x7FFF + ((bits >> 16) & 1))) >> 16).astype("<u2")


def read(path: Path, keep: str = "") -> dict[str, np.ndarray]:
    """Tensors of a safetensors file as float32, of their own memory.

    Args:
        path: the file.
        keep: name of a tensor that is not read where it is large: a read-only memory map of the file, or, stored in fewer
            bits, widened to a file of its own.

    Raises:
        InputError: not a safetensors file, truncated, or its header lies.
    """
    try:
        with open_regular(path) as file:
            entries, start = _entries(file)
            return {name: _tensor(file, start, entry, keep == name) for name, entry in entries.items()}
    except _OtherType as error:
        raise InputError(
            "the safetensors file holds tensors of a type that recurc does not read",
            where=str(path),
            why=str(error),
            next=f"Copy or export the float checkpoint, as one of {', '.join(_FLOATS)}",
        ) from None
    except Unreadable as error:
        raise not_read(error, path, "the checkpoint", "not a whole safetensors file", "Copy or export the file again") from None


def metadata(path: Path) -> dict[str, object]:
    """What the header of a safetensors file, which `read` has read, says beside its tensors.

    Raises:
        InputError: as `read`.
    """
    try:
        with open_regular(path) as file:
            said = _header(file)[0].get("__metadata__")
    except Unreadable as error:
        raise not_read(error, path, "the checkpoint", "not a whole safetensors file", "Copy or export the file again") from None
    return {name: value for name, value in said.items() if value is not None} if isinstance(said, dict) else {}


def stored_bytes(path: Path) -> int:
    """How many bytes the tensors of a safetensors file, which `read` has read, take in it. Raises InputError: as `read`."""
    try:
        with open_regular(path) as file:
            return size_of(file) - _header(file)[1]
    except Unreadable as error:
        raise not_read(error, path, "the checkpoint", "not a whole safetensors file", "Copy or export the file again") from None


class Out(Protocol):
    """What tensors are written to."""

    def write(self, data: bytes, /) -> int: ...


class _OtherType(Unreadable):
    """The file is whole, and a tensor's type is none that is read."""


@dataclass(frozen=True)
class _Entry:
    """What the header says of a tensor: dtype by the format's name, shape, first byte and the one after the last."""

    code: str
    shape: tuple[int, ...]
    begin: int
    end: int


def _header(file: BinaryIO) -> tuple[dict[str, object], int]:
    """(the header, where the data begins)."""
    size = size_of(file)
    length = int.from_bytes(read_part(file, 0, min(size, 8)), "little")
    if size < 10 or length > size - 8:
        raise Unreadable(f"it has {size} bytes and no complete header")
    if length > _MAX_HEADER:
        raise Unreadable(f"its header claims {length:,} bytes, at most {_MAX_HEADER:,} are read")
    try:
        header = parse_json(read_part(file, 8, length).decode("utf-8"), _MAX_HEADER)
    except UnicodeDecodeError:
        raise Unreadable("its header is not JSON: it is no UTF-8 text") from None
    except Unreadable as error:
        raise Unreadable(f"its header is not JSON as the format has it: {error}") from None
    if not isinstance(header, dict):
        raise Unreadable("its header is not a JSON object")
    return header, 8 + length


def _entries(file: BinaryIO) -> tuple[dict[str, _Entry], int]:
    """(entries by name, where the data begins). The data lies end to end, as the format wants it: every byte has one owner."""
    header, start = _header(file)
    size = size_of(file)
    entries = {name: _entry(name, entry) for name, entry in header.items() if name != "__metadata__"}
    if len(entries) > _TENSORS:
        raise Unreadable(f"it has more than {_TENSORS:,} tensors")
    at = 0
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].begin, item[1].end)):
        if entry.begin != at:
            word = "overlaps another tensor" if entry.begin < at else "leaves bytes before it that are no tensor's"
            raise Unreadable(f"{shown(name)}, which begins at byte {entry.begin}, {word}")
        at = entry.end
        if start + at > size:
            raise Unreadable(f"the file is truncated: {shown(name)} ends at byte {start + at} of {size}")
    if start + at != size:
        raise Unreadable(f"it has {size - start - at} bytes after the last tensor")
    return entries, start


def _entry(name: str, raw: object) -> _Entry:
    if not isinstance(raw, dict) or not isinstance(code := raw.get("dtype"), str):
        raise Unreadable(f"the header's entry for {shown(name)} is not valid, or of an unsupported dtype")
    dtype = _DTYPES.get(code)
    if dtype is None:
        raise _OtherType(f"{shown(name)} is stored as {shown(code)}")
    shape, offsets = raw.get("shape"), raw.get("data_offsets")
    if not _counts(shape) or not _counts(offsets) or len(offsets) != 2 or len(shape) > _AXES:
        raise Unreadable(f"the header's entry for {shown(name)} is not valid: shape and data_offsets are whole numbers from 0")
    begin, end = offsets
    if not math.prod(shape):
        raise Unreadable(f"{shown(name)} has no values")
    if end - begin != math.prod(shape) * dtype.itemsize:
        raise Unreadable(f"the header gives {shown(name)} {end - begin} bytes, which does not match its shape {tuple(shape)}")
    if code not in _FLOATS:
        raise _OtherType(f"{shown(name)} is not of floating point, it is stored as {code}: recurc does its own quantization")
    return _Entry(code, tuple(shape), begin, end)


def _counts(value: object) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(type(n) is int and n >= 0 for n in value)


def _tensor(file: BinaryIO, start: int, entry: _Entry, keep: bool) -> np.ndarray:
    dtype = _DTYPES[entry.code]
    convert = widen_bfloat16 if entry.code == "BF16" else lambda part: part.astype(np.float32)
    if keep:
        mapped = map_array(file, dtype, start + entry.begin, entry.shape)
        return mapped if entry.code == "F32" else widen(mapped, convert)
    data = np.empty(entry.shape, dtype)
    read_into(file, start + entry.begin, data.reshape(-1).view(np.uint8).data)
    return data if entry.code == "F32" else np.asarray(convert(data), np.float32)


def widen(source: np.ndarray, convert: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """`source` as float32, some rows at a time; a large table goes to an unnamed temporary file, not to memory."""
    if source.size <= _IN_MEMORY:
        return np.ascontiguousarray(convert(np.asarray(source)))
    size = source.size * 4
    try:
        # Written, not mapped and filled: where there is no room, a page of a mapping is SIGBUS, a write is an error.
        with tempfile.TemporaryFile() as file:
            for _, part in pieces(source):
                file.write(np.ascontiguousarray(convert(np.asarray(part)), np.float32).data)
            file.flush()
            return np.memmap(file, dtype=np.float32, mode="r", shape=source.shape)
    except OSError as error:
        raise _no_room(size, error) from None


def _no_room(size: int, error: OSError) -> InputError:
    try:
        folder = tempfile.gettempdir()
        free = f" and {shutil.disk_usage(folder).free:,} are free there"
    except OSError:
        folder, free = "", ""
    return InputError(
        "a table of half precision cannot be widened to float32", where=folder,
        why=f"that takes {size:,} bytes of a temporary file{free}: {error.strerror or error}",
        next="Make room, or name another folder with TMPDIR",
    )  # fmt: skip


def write(out: Out, tensors: Mapping[str, np.ndarray], dtype: str) -> str:
    """Write float32 tensors as `dtype` ("f32" or "bf16") to an open file; the sha256 of what was written.

    Raises:
        OSError: of the file.
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
    digest = hashlib.sha256()

    def put(data: bytes) -> None:
        digest.update(data)
        out.write(data)

    put(len(head).to_bytes(8, "little") + head)
    for tensor in tensors.values():
        for _, chunk in pieces(tensor.reshape(-1)):
            put((narrow_bfloat16(chunk) if dtype == "bf16" else np.asarray(chunk, dtype="<f4")).tobytes())
    return digest.hexdigest()
