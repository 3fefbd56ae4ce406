"""Files of `torch.save`, both forms, as tensors in NumPy: without torch, and without memory for what a file only claims.

A zip holds the pickle as data.pkl and each storage as a member; the older form has pickles one after the other, then the
storages' values.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from recurc.models.picklefile import Storage, Stored, read_pickle
from recurc.models.tensorfile import widen, widen_bfloat16
from recurc.reading import Unreadable, map_array, open_regular, read_into, read_part, shown, size_of
from recurc.zipread import ZipMembers

_ZIP = b"PK\x03\x04"
_PICKLE_LIMIT = 64 << 20  # bytes
_LEGACY_MAGIC, _LEGACY_VERSION = 0x1950A86A20F9469CFC6C, 1001
_SHARED = 4  # times that the file's bytes may be used: tensors may share a storage
_SMALL = 1 << 16
_FLOATS = {"float32": "f4", "float64": "f8", "float16": "f2", "bfloat16": "u2"}
_BYTES = {"int64": 8, "int32": 4, "int16": 2, "complex64": 8, "complex128": 16, "qint32": 4}  # 1 for all others


def is_float(dtype: str) -> bool:
    """Whether a type, as torch names it, is one of floating point."""
    return dtype in _FLOATS or dtype.startswith("float8_")


def _item(dtype: str) -> int:
    return int(_FLOATS[dtype][1]) if dtype in _FLOATS else _BYTES.get(dtype, 1)


class TorchFile:
    """An open file. A context manager. `value` is what was saved, tensors as `Stored`; `foreign` names code in its pickle.

    Raises:
        Unreadable: truncated, damaged, or a zip of something else.
    """

    def __init__(self, path: Path) -> None:
        self._file = open_regular(path)
        try:
            self._size = size_of(self._file)
            self._order, self._prefix = "<", ""
            self._places: dict[str, tuple[int, int]] = {}  # (offset, bytes) of storages by key
            self._zip = ZipMembers(self._file) if read_part(self._file, 0, min(4, self._size)) == _ZIP else None
            found = self._from_zip(self._zip) if self._zip else self._legacy()
            self.value, self.foreign = found.value, found.foreign
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> TorchFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def check(self, tensors: Mapping[str, Stored]) -> None:
        """That real bytes stand behind every tensor.

        Raises:
            Unreadable: names the first that claims more.
        """
        total = 0
        for name, tensor in tensors.items():
            try:
                _, span = self._place(tensor)
            except Unreadable as error:
                raise Unreadable(f"{name}: {error}") from None
            total += span * _item(tensor.dtype)
        if total > _SHARED * self._size + _SMALL:
            raise Unreadable(f"its tensors claim {total:,} bytes and the file has {self._size:,}: they share the same values")

    def array(self, tensor: Stored, keep: bool) -> np.ndarray:
        """A checked tensor as float32, of its own memory.

        Args:
            keep: do not read it into memory where it is large and contiguous: a read-only memory map, or a file of its own.

        Raises:
            Unreadable: the file became shorter.
        """
        at, span = self._place(tensor)
        kind = np.dtype(self._order + _FLOATS[tensor.dtype]) if tensor.dtype in _FLOATS else np.dtype("u1")
        if keep and tensor.strides == _contiguous(tensor.shape) and len(tensor.shape) == 2:
            raw = map_array(self._file, kind, at, tensor.shape)
            return raw if kind == "<f4" else widen(raw, lambda part: _floats(part, tensor.dtype))
        flat = np.empty(span, kind)
        read_into(self._file, at, flat.view(np.uint8).data)
        if tensor.strides == _contiguous(tensor.shape):
            return _floats(flat, tensor.dtype).reshape(tensor.shape)
        strides = tuple(n * kind.itemsize for n in tensor.strides)
        raw = np.lib.stride_tricks.as_strided(flat, tensor.shape, strides, writeable=False)
        return np.ascontiguousarray(_floats(raw, tensor.dtype), np.float32).reshape(tensor.shape)

    def _place(self, tensor: Stored) -> tuple[int, int]:
        """(offset in the file, values from the first to the last) of a tensor."""
        item = _item(tensor.dtype)
        begin, size = self._storage(tensor.storage)
        count = math.prod(tensor.shape)
        if not count:
            raise Unreadable(f"its shape is {_text(tensor.shape)}: it has no values")
        span = 1 + sum((n - 1) * stride for n, stride in zip(tensor.shape, tensor.strides))
        if (tensor.offset + span) * item > size:
            raise Unreadable(f"its shape is {_text(tensor.shape)}, and its storage of {size:,} bytes does not hold that")
        if count > span:
            raise Unreadable(f"its shape is {_text(tensor.shape)}, of only {span:,} values: it is expanded, save .contiguous()")
        return begin + tensor.offset * item, span

    def _storage(self, storage: Storage) -> tuple[int, int]:
        """(offset in the file, bytes) of a storage."""
        found = self._places.get(storage.key)
        if found is None:
            if self._zip is None:
                raise Unreadable(f"its storage {shown(storage.key)} is missing: the file is truncated")
            found = self._places[storage.key] = self._zip.place(f"{self._prefix}data/{storage.key}")
        if storage.count * _item(storage.dtype) > found[1]:
            raise Unreadable(f"its storage claims {storage.count:,} values and has {found[1]:,} bytes")
        return found[0], storage.count * _item(storage.dtype)

    def _from_zip(self, archive: ZipMembers) -> Any:
        roots = [name for name in archive.members if name.rpartition("/")[2] == "data.pkl" and name.count("/") <= 1]
        if len(roots) != 1:
            raise Unreadable(f"this zip holds {len(roots)} files data.pkl: it is truncated, or no file of torch.save")
        self._prefix = roots[0].removesuffix("data.pkl")
        if self._prefix + "constants.pkl" in archive.members:
            raise Unreadable("it is a TorchScript program: save the weights alone, torch.save(model.state_dict(), ...)")
        begin, size = archive.place(roots[0])
        if size > _PICKLE_LIMIT:
            raise Unreadable(f"its pickle has {size:,} bytes, a state dict has thousands")
        if self._prefix + "byteorder" in archive.members:
            at, length = archive.place(self._prefix + "byteorder")
            order = read_part(self._file, at, min(length, 8))
            if order not in (b"little", b"big"):
                raise Unreadable(f"its byte order is {shown(order)}")
            self._order = "<" if order == b"little" else ">"
        return read_pickle(io.BytesIO(read_part(self._file, begin, size)))

    def _legacy(self) -> Any:
        file = self._file
        first = read_pickle(file)
        if first.foreign or first.value != _LEGACY_MAGIC:
            return first  # some other pickle
        version, system, found = read_pickle(file), read_pickle(file), read_pickle(file)
        if version.value != _LEGACY_VERSION or not isinstance(system.value, Mapping):
            raise Unreadable("it is of a form of torch.save that recurc does not know")
        if found.foreign:
            return found
        self._order = ">" if system.value.get("little_endian") is False else "<"
        keys = read_pickle(file).value
        if not isinstance(keys, list) or not all(isinstance(key, (str, bytes)) for key in keys):
            raise Unreadable("it is damaged: its list of storages is none")
        items = {s.key: _item(s.dtype) for s in _storages(found.value)}
        at = file.tell()
        for key in keys:
            key = key.decode("ascii", "replace") if isinstance(key, bytes) else key
            count = int.from_bytes(read_part(file, at, 8), "little")
            item = items.get(key)
            if item is None:  # of something that is no tensor of the state dict: its size is unknown, and what follows
                break
            if key in self._places or at + 8 + count * item > self._size:
                raise Unreadable("it is truncated, or damaged: a storage claims more bytes than follow")
            self._places[key] = (at + 8, count * item)
            at += 8 + count * item
        return found


def _storages(value: object) -> list[Storage]:
    """Every storage in what a file held, however deep, each container looked into once."""
    found, todo, seen = [], [value], set()
    while todo:
        item = todo.pop()
        if isinstance(item, Stored):
            found.append(item.storage)
        elif isinstance(item, Storage):
            found.append(item)
        elif isinstance(item, (Mapping, list, tuple)) and id(item) not in seen:
            seen.add(id(item))
            todo += item.values() if isinstance(item, Mapping) else item
    return found


def _contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(math.prod(shape[i + 1 :]) for i in range(len(shape)))


def _floats(raw: np.ndarray, dtype: str) -> np.ndarray:
    """Stored values of some type as float32, in this computer's byte order."""
    if dtype == "bfloat16":
        return widen_bfloat16(raw)
    if dtype in _FLOATS:
        with np.errstate(over="ignore"):  # of float64: infinite values are found and named later
            return raw.astype(np.float32, copy=False)
    import torch

    kind = getattr(torch, dtype, None)
    if not isinstance(kind, torch.dtype) or kind.itemsize != 1:
        raise Unreadable(f"numbers of type {dtype} cannot be read here")
    return torch.from_numpy(np.array(raw)).view(kind).float().numpy()


def _text(shape: tuple[int, ...]) -> str:
    return "x".join(shown(n, 30) for n in shape) or "a scalar"
