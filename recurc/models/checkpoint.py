"""From a path to a `Reasoner`, and back to a folder of `config.json` + `model.safetensors`."""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import re
import stat
from collections.abc import Mapping
from io import BufferedReader
from pathlib import Path
from typing import cast

import numpy as np

from recurc.errors import InputError, UsageError, printable
from recurc.files import locked, not_written, whole_file, write_whole
from recurc.formats import parse_json
from recurc.models import find_family, rawfile, tensorfile
from recurc.models.bundle import check_prefix
from recurc.models.checks import check_finite, check_names, check_shapes
from recurc.models.codefile import changed_code
from recurc.models.config_files import (
    CONFIG_FORMAT,
    DATA_FIELDS,
    FIELDS_SHA256,
    NEARBY,
    WEIGHTS_SHA256,
    Source,
    compare_names,
    fields_digest,
    find_dataset,
    flat_fields,
    flat_source,
    other_dataset,
    read_fields,
)
from recurc.models.layouts import layout_of, renamed, translated
from recurc.models.metadata import metadata_sources
from recurc.models.reasoner import Reasoner
from recurc.models.rotary import ROTARY, check_rotary
from recurc.models.shards import as_one_file, find_set, part_of_set
from recurc.models.shards import read as read_shards
from recurc.models.variants import with_two_q_rows, without_adapters
from recurc.reading import Refusal, Unreadable, clause, enough_memory, is_file, open_regular, read_text, shown, user_path
from recurc.resources import bundled_models

_STEP = re.compile(r"step_(\d{1,18})(?!\d)")
_NO_WEIGHTS = re.compile(r"optim|train_?state|preds?(?:iction)?s?\b|_preds|scheduler|rng_state|scaler", re.IGNORECASE)
_NOTE = 400  # characters
_WEIGHTS, _CONFIG, _TABLE = "model.safetensors", "config.json", "puzzle_emb.safetensors"
PUZZLE_TABLE = "puzzle_emb.weights"
_CONVERTED = ("the output folder", "Choose another folder")


def load(path: str | Path, data_dir: str | Path | None = None, told: Mapping[str, object] | None = None) -> Reasoner:
    """Load a trained reasoner. No code from the file is run.

    Args:
        path: a checkpoint file of the original code, a folder with one, a folder with `config.json` +
            `model.safetensors`, or the name of a bundled example.
        data_dir: dataset directory, for the sequence length where neither configuration nor tensors tell it.
        told: fields of the configuration that the caller knows and perhaps no file says: `seq_len`, `num_heads`,
            `pos_encodings`. They count as one more configuration.

    Returns:
        The model; `notes` says each thing that was assumed.

    Raises:
        InputError: not a checkpoint, damaged, unsupported, or not consistent: also where a file says otherwise than `told`.
    """
    file, notes = find_checkpoint(path)
    with enough_memory("the checkpoint", str(file)):
        return _load(file, notes, data_dir, told or {})


def _load(file: Path, notes: list[str], data_dir: str | Path | None, said: Mapping[str, object]) -> Reasoner:
    files = [file]
    inside: list[Source] = []
    shards = find_set(file)
    if file.suffix == ".safetensors" or shards is not None:
        if shards is None:
            tensors = tensorfile.read(file, PUZZLE_TABLE)
        else:
            tensors, more = read_shards(shards, PUZZLE_TABLE)
            notes, files = [*notes, *more], list(shards.files)
        if is_file(table := file.parent / _TABLE) and PUZZLE_TABLE not in tensors:
            more_tensors = tensorfile.read(table, PUZZLE_TABLE)
            twice = next((name for name in more_tensors if name in tensors), None)
            if twice is not None:
                raise InputError("a tensor is in two files", where=str(table), why=f"{shown(twice)} is also in {file.name}",
                                 next="Leave the puzzle table alone in its file")  # fmt: skip
            tensors.update(more_tensors)
            files.append(table)
        names = rawfile.strip_names(tensors, file)
        notes += check_prefix(tensors, file)
        tensors = {names[name]: tensor for name, tensor in tensors.items()}
        layout = layout_of(tensors)
        for part in files:
            sources, more = metadata_sources(tensorfile.metadata(part), part, layout)
            inside += sources
            notes += more
    else:
        tensors, weights = rawfile.read(file)
        notes += weights.notes
        layout = layout_of(tensors)
        if weights.config is not None:
            config_fields = translated(layout, weights.config, str(file))
            inside = [flat_source(config_fields, f"{file}[{weights.config_key}]")]
    if layout is not None:
        tensors = renamed(layout, tensors, str(file))
        notes.append(f"tensors and configuration are in the words of {layout.NAME}")
    rotary = {name: tensors.pop(name) for name in list(tensors) if ROTARY.match(name)}
    fields, config_file, told = read_fields(as_one_file(file), inside, layout, said)
    notes += [*told, *changed_code(as_one_file(file).parent)]
    tensors, more = without_adapters(tensors, fields, str(file))
    notes += more
    stated = fields.pop(WEIGHTS_SHA256, None)
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    fields["file_name"] = file.name
    arch_name = fields.get("name")
    family = find_family(None if arch_name is None else str(arch_name), shapes, str(file))
    data_len = _add_dataset_fields(fields, file, data_dir, shapes)
    where = config_file or str(file)
    try:
        config, more = family.config_from_fields(fields, shapes, where)
    except InputError as error:
        if not told:
            raise
        # Whoever mends a configuration wants to know of all that is odd in it.
        why = "; ".join(text for text in (error.why, *told) if text)
        raise InputError(error.what, where=error.where, why=why, next=error.next) from None
    notes += more
    if config_file is None:
        notes.insert(0, "no configuration file lies beside the checkpoint: it is inferred from the tensors' shapes")
    notes += with_two_q_rows(tensors, config)
    expected = family.expected_tensors(config)
    check_names(tensors, expected, str(file))
    check_shapes(tensors, expected, str(file))
    check_finite(tensors, str(file))
    notes += check_rotary(rotary, config, str(file), config_file or "what is assumed without a configuration")
    if data_dir is not None and data_len != config.seq_len:
        raise other_dataset(data_dir, f"sequences of {data_len} tokens where the model takes {config.seq_len}")
    if config.puzzle_emb_ndim:
        notes += compare_names(fields, file, data_dir)
    ordered = {name: _own(name, tensors[name]) for name in expected}
    digests = _digests(files)
    if config_file is not None and Path(config_file).name == _CONFIG:
        _check_pair(stated, digests[0].hex(), file)
    return Reasoner(config, ordered, str(file), _sha256(digests), tuple(printable(note, _NOTE) for note in notes))


def save(reasoner: Reasoner, folder: str | Path, dtype: str = "f32") -> None:
    """Write `config.json` + `model.safetensors` (dtype "f32" or "bf16"); each file appears whole or not at all.

    The configuration carries the weights' sha256, so that `load` tells a pair of which only one was replaced, and one of its
    fields, so that `load` tells that somebody changed them.

    Raises:
        InputError: the folder cannot be written, or is the one that the model was read from.
        UsageError: a file of that name is there that `save` has not written.
    """
    out = user_path(folder)
    try:
        if (out / _WEIGHTS).exists() and (out / _WEIGHTS).samefile(reasoner.source):
            raise InputError("a checkpoint cannot be converted onto itself", where=str(out), next="Choose another folder")
        out.mkdir(parents=True, exist_ok=True)
    except FileNotFoundError as error:
        if error.filename and str(error.filename) == reasoner.source:
            raise
        raise _not_writable(out, error) from None
    except OSError as error:
        raise _not_writable(out, error) from None
    with locked(out):
        _check_ours(out)
        with whole_file(out / _WEIGHTS, *_CONVERTED) as file:
            digest = tensorfile.write(file, reasoner.tensors, dtype)
            file.sync()  # on disk before the configuration names them: what can fail has failed by then
            fields = flat_fields(reasoner.config)
            config = {
                "format": CONFIG_FORMAT,
                **fields,
                "notes": list(reasoner.notes),
                WEIGHTS_SHA256: digest,
                FIELDS_SHA256: fields_digest(fields),
            }
            write_whole(out / _CONFIG, json.dumps(config, indent=2) + "\n", *_CONVERTED)


def _check_ours(out: Path) -> None:
    """That nothing is replaced that `save` has not written. Raises UsageError."""
    there = [path for path in (out / _CONFIG, out / _WEIGHTS) if os.path.lexists(path)]
    try:
        ours = parse_json(read_text(out / _CONFIG))["format"] == CONFIG_FORMAT
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        ours = False
    if there and not ours:
        raise UsageError(
            "a file is there already that recurc did not convert",
            where=str(there[0]),
            why=f"{_CONFIG} of a converted checkpoint says format {CONFIG_FORMAT}",
            next="Choose another folder, or move the file away yourself",
        )


def _not_writable(out: Path, error: OSError) -> InputError:
    return not_written(_CONVERTED[0], out, error, _CONVERTED[1])


def _check_pair(stated: object, digest: str, file: Path) -> None:
    """That a converted checkpoint's weights are those that its configuration was written with. Raises InputError."""
    if stated is not None and stated != digest:
        raise InputError(
            "config.json is of other weights",
            where=str(file),
            why=f"it names sha256 {shown(stated, 16)}, these "
            f"have {digest[:16]}…: a conversion was interrupted, or one of the two was replaced",
            next=f"Convert again; or, where the weights were changed on purpose, remove {WEIGHTS_SHA256!r} from config.json",
        )


# -- finding files --------------------------------------------------------------------------------------------------


def find_checkpoint(path: str | Path) -> tuple[Path, list[str]]:
    """The weights file that `path` means, and notes on how it was chosen.

    Raises:
        InputError: nothing there, or nothing that is a checkpoint.
    """
    given = user_path(path)
    try:
        mode = os.stat(given).st_mode
    except (FileNotFoundError, NotADirectoryError):
        mode = 0
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", "") or clause(error)
        raise InputError("no checkpoint", where=str(path), why=why, next=rawfile.EXPECTED) from None
    if stat.S_ISREG(mode):
        shards = find_set(given)
        if shards is None:
            _check_shard(given)
        return (given if shards is None else shards.source), []
    if stat.S_ISDIR(mode):
        return _in_folder(given)
    if mode:
        raise InputError("no checkpoint", where=str(path), why="it is a pipe, a device or a socket", next=rawfile.EXPECTED)
    bundled = bundled_models()
    if str(path) in bundled:
        return _in_folder(bundled[str(path)])
    near = difflib.get_close_matches(str(path)[:100], list(bundled), n=1)
    known = f"Bundled examples: {', '.join(bundled)}" if bundled else rawfile.EXPECTED
    why = "there is no such file, folder or bundled example" + (f"; did you mean {near[0]}?" if near else "")
    raise InputError("no checkpoint", where=str(path), why=why, next=known)


def _in_folder(folder: Path) -> tuple[Path, list[str]]:
    try:
        names = sorted(p for p in folder.iterdir())
        files = [p for p in names if not p.name.startswith(".") and is_file(p, private=True)]
    except OSError as error:
        raise InputError(
            "the folder cannot be read",
            where=str(folder),
            why=error.strerror or str(error),
            next="Check that it is there and that you may read it",
        ) from None
    unread: list[str] = []
    passed = [p for p in files if _NO_WEIGHTS.search(p.name) and not _STEP.fullmatch(p.name)]
    found = [
        p
        for p in files
        if p not in passed
        and p.name != _TABLE
        and (_named_like_checkpoint(p) or (p.suffix not in (".npz", ".zip") and _readable_checkpoint(p, unread)))
    ]
    found = _one_of_each_set(found, [p for p in files if p not in passed])
    if not found:
        there = ", ".join(p.name for p in names[:6])
        why = f"found {there}" if there else "the folder is empty"
        if unread:
            why = unread[0]
        elif passed:
            why = f"{passed[0].name} holds predictions or the state of an optimizer, to judge by its name"
        raise InputError("no checkpoint in this folder", where=str(folder), why=why, next=rawfile.EXPECTED)
    skipped = []
    steps = {p: int(m.group(1)) for p in found if (m := _STEP.search(p.name))}
    if steps and not any(p.name == _WEIGHTS for p in found):  # which of the two is newer in training, nothing tells
        while len(steps) > 1 and (said := rawfile.something_else(last := max(steps, key=lambda p: steps[p]))):
            skipped.append(f"{last.name} is passed over: {said}")
            del steps[last]
        highest = max(steps.values())
        best = [p for p, step in steps.items() if step == highest]
        if len(best) == 1:
            more = [f"{best[0].name} is read, the highest step of {len(found)} checkpoints"] if len(found) > 1 else []
            return best[0], [*skipped, *more, *unread]
        found = best
    if len(found) > 1:
        listed = ", ".join(p.name for p in found[:8])
        raise InputError(
            "several checkpoints in this folder", where=str(folder), why=f"any of {listed} could be meant", next="Name the file"
        )
    return found[0], unread


def _one_of_each_set(found: list[Path], files: list[Path]) -> list[Path]:
    """Checkpoints among the files of a folder, with one file for each set that lies in several.

    Raises:
        InputError: a file is a part of a set that is not joined.
    """
    sets = {s.source: s for path in [*files, *found] if (s := find_set(path)) is not None}
    for path in found:
        if not any(s.contains(path) for s in sets.values()):
            _check_shard(path)
    return [*sets, *(path for path in found if not any(s.contains(path) for s in sets.values()))]


def _check_shard(path: Path) -> None:
    """Raises InputError where a file says by its name that it holds a part of the weights only."""
    if shard := part_of_set(path):
        raise InputError(
            "the checkpoint is in several files",
            where=str(path),
            why=f"to judge by its name it is shard {shard[0]} of {shard[1]}, and recurc joins only files of safetensors",
            next="Join them: load them all where it was trained, and save one state dict",
        )


def _named_like_checkpoint(path: Path) -> bool:
    return bool(re.fullmatch(r"step_\d+|checkpoint", path.name)) or path.suffix in (".pt", ".pth", ".safetensors")


def _readable_checkpoint(path: Path, unread: list[str]) -> bool:
    """Whether a file is one by its first bytes; where the system refuses them that is told, and the file is passed over."""
    try:
        return rawfile.looks_like_checkpoint(path)
    except InputError as error:
        if isinstance(error, Refusal):
            unread.append(f"{path.name} is passed over, as it cannot be read: {error.why}")
        return False


# -- pieces of load -------------------------------------------------------------------------------------------------


def _add_dataset_fields(
    fields: dict[str, object], file: Path, data_dir: str | Path | None, shapes: Mapping[str, tuple[int, ...]]
) -> int | None:
    """Fill in what the original takes from the dataset; one that was only found nearby just helps out.

    Returns:
        The dataset's sequence length, None when there is no dataset.
    """
    found = find_dataset(fields, file, data_dir, shapes)
    if found is None:
        return None
    meta, certain = found
    if certain:
        for name in DATA_FIELDS:
            fields.setdefault(name, getattr(meta, name))
    else:
        fields.setdefault(NEARBY, meta.seq_len)
    return meta.seq_len


def _own(name: str, tensor: np.ndarray) -> np.ndarray:
    """A C-contiguous float32 array of our own; the puzzle table stays what it is, perhaps a memory map of gigabytes."""
    if name == PUZZLE_TABLE:
        return tensor
    return np.require(tensor, np.float32, ["C", "W"])


def _digests(files: list[Path]) -> list[bytes]:
    digests: list[bytes] = []
    for path in files:
        try:
            with open_regular(path) as file:
                digests.append(hashlib.file_digest(cast(BufferedReader, file), "sha256").digest())  # what a plain file is
        except (Unreadable, OSError) as error:
            raise InputError("the checkpoint cannot be read", where=str(path), why=clause(error)) from None
    return digests


def _sha256(digests: list[bytes]) -> str:
    """sha256 of the weights file; where the puzzle table has a file of its own, of the two files' digests."""
    return digests[0].hex() if len(digests) == 1 else hashlib.sha256(b"".join(digests)).hexdigest()
