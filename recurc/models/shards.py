"""A checkpoint in several safetensors files: which files are one set, and their tensors joined.

`NAME.safetensors.index.json` says which file has which tensor. Where there is none, the files' names alone say that they are
parts 1 to N of one set; that is told.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recurc.errors import InputError
from recurc.formats import parse_json
from recurc.models import tensorfile
from recurc.reading import Unreadable, is_file, not_read, read_text, shown

_SHARD = re.compile(r"[-_](\d{1,5})-of-(\d{1,5})(?!\d)")
_SUFFIX, _INDEX = ".safetensors", ".safetensors.index.json"
_PLAIN = re.compile(r"\w[\w.-]{0,199}\.safetensors", re.ASCII)
_LARGEST_INDEX = 8 << 20  # characters: 20,000 tensors of 400
_TENSORS, _NAME, _TOLD = 20_000, 256, 8
_AGAIN = "Copy or download the whole set again, with its index"


@dataclass(frozen=True)
class ShardSet:
    """Files that hold one checkpoint together. `source`: the index, or the first file where there is none; `places`: what the
    index says, tensor -> file name, None without one; `total`: its count of bytes."""

    source: Path
    files: tuple[Path, ...]
    places: Mapping[str, str] | None = None
    total: int | None = None

    def contains(self, path: Path) -> bool:
        return path.name == self.source.name or any(path.name == file.name for file in self.files)


def part_of_set(path: Path) -> tuple[int, int] | None:
    """(which part, of how many) where a file says by its name that it holds only a part of the weights."""
    found = _SHARD.search(path.name)
    return (int(found[1]), int(found[2])) if found and int(found[2]) > 1 else None


def find_set(path: Path) -> ShardSet | None:
    """The set that an index, or one of its files, means; None where `path` is neither.

    Raises:
        InputError: the index is none.
    """
    if path.name.endswith(_INDEX):
        return _indexed(path)
    part = part_of_set(path)
    if part is None or path.suffix != _SUFFIX:
        return None
    found = _SHARD.search(path.name)
    assert found is not None
    index = path.with_name(path.name[: found.start()] + _INDEX)
    if is_file(index) and (indexed := _indexed(index)).contains(path):
        return indexed
    files = tuple(path.with_name(name) for name in _siblings(path.name, part[1]))
    return ShardSet(files[0], files)


def as_one_file(path: Path) -> Path:
    """The file that the set of `path` would be if it were one, for what lies beside and is named like it; else `path`."""
    if path.name.endswith(_INDEX):
        return path.with_name(path.name.removesuffix(".index.json"))
    found = _SHARD.search(path.name) if path.suffix == _SUFFIX and part_of_set(path) else None
    return path.with_name(path.name[: found.start()] + _SUFFIX) if found else path


def _siblings(name: str, count: int) -> list[str]:
    """Names of all files of a set of which one is known."""
    found = _SHARD.search(name)
    assert found is not None
    digits, at = len(found[1]), found.start(1)
    return [f"{name[:at]}{i:0{digits}d}{name[at + digits :]}" for i in range(1, count + 1)]


def _indexed(index: Path) -> ShardSet:
    """The set that an index names. Raises InputError."""
    try:
        document = parse_json(read_text(index, _LARGEST_INDEX), _LARGEST_INDEX)
        places = document.get("weight_map") if isinstance(document, dict) else None
        if not isinstance(places, dict) or not 1 <= len(places) <= _TENSORS:
            raise Unreadable("it has no weight_map, which says in which file each tensor is")
        for name, file in places.items():
            if len(name) > _NAME or not isinstance(file, str) or not _PLAIN.fullmatch(file):
                raise Unreadable(f"its weight_map has {shown(name)} in {shown(file)}, which is no safetensors file beside it")
    except Unreadable as error:
        raise not_read(error, index, "the index", "not an index of safetensors files", _AGAIN) from None
    meta = document.get("metadata")
    total = meta.get("total_size") if isinstance(meta, dict) else None
    files = tuple(index.with_name(name) for name in sorted(set(places.values())))
    return ShardSet(index, files, places, total if type(total) is int else None)


def read(shards: ShardSet, keep: str = "") -> tuple[dict[str, np.ndarray], list[str]]:
    """(the tensors of a whole set, as `tensorfile.read` reads each file; notes).

    Raises:
        InputError: a file is missing, a tensor is there twice or nowhere, or the index is of another set.
    """
    _check_files(shards)
    tensors: dict[str, np.ndarray] = {}
    owner: dict[str, str] = {}
    for file in shards.files:
        part = tensorfile.read(file, keep)
        for name in part:
            told = file.name if shards.places is None else shards.places.get(name)
            if told != file.name:
                more = "does not name" if told is None else f"has in {told}"
                raise _other_set(shards, f"{file.name} holds {shown(name)}, which the index {more}")
            if name in owner:
                raise InputError(
                    "a tensor is in two files of the checkpoint",
                    where=str(shards.source.parent),
                    why=f"{shown(name)} is in {owner[name]} and in {file.name}",
                    next=_AGAIN,
                )
            owner[name] = file.name
        tensors |= part
    for name, file_name in (shards.places or {}).items():
        if name not in tensors:
            raise InputError(
                "a tensor of the checkpoint is in no file",
                where=str(shards.source),
                why=f"the index has {shown(name)} in {file_name}, which does not hold it",
                next=_AGAIN,
            )
    return tensors, _notes(shards)


def _check_files(shards: ShardSet) -> None:
    """That all files are there, and are the parts of one set. Raises InputError."""
    parts = {file: part for file in shards.files if (part := part_of_set(file))}
    counts = {count: file.name for file, (_, count) in parts.items()}
    if len(counts) > 1:
        (a, first), (b, second), *_ = sorted(counts.items())
        raise _other_set(shards, f"it names {first}, a part of {a}, and {second}, a part of {b}")
    for file, (_, count) in parts.items():
        unnamed = [name for name in _siblings(file.name, count) if not shards.contains(file.with_name(name))]
        if unnamed:
            raise _other_set(shards, f"it names {file.name} and has no tensor in {_listed(unnamed)}")
    missing = [file.name for file in shards.files if not is_file(file)]
    if missing:
        says = "to judge by their names" if shards.places is None else f"to judge by {shards.source.name}"
        raise InputError(
            "a file of the checkpoint is missing" if len(missing) == 1 else "files of the checkpoint are missing",
            where=str(shards.source.parent),
            why=f"there is no {_listed(missing)}; {says} the weights are in {len(shards.files)} files",
            next=_AGAIN,
        )


def _notes(shards: ShardSet) -> list[str]:
    """What was taken for granted: with an index that agrees, nothing."""
    if shards.places is None:
        return [
            f"the weights are joined from {len(shards.files)} files, {shards.files[0].name} to {shards.files[-1].name}: they "
            "are one set to judge by their names, and no index lies beside them"
        ]
    stored = sum(tensorfile.stored_bytes(file) for file in shards.files)
    if shards.total in (None, stored):
        return []
    return [
        f"{shards.source.name} gives a total_size of {shards.total:,} bytes and the tensors have {stored:,}: check that the "
        "index is of these files"
    ]


def _other_set(shards: ShardSet, why: str) -> InputError:
    return InputError("the index is of another set of files", where=str(shards.source), why=why, next=_AGAIN)


def _listed(names: list[str]) -> str:
    more = len(names) - _TOLD
    return ", ".join(names[:_TOLD]) + (f" and {more} more" if more > 0 else "")
