"""Reading the original code's checkpoint files (`torch.save` of a state dict) without ever running code from them."""

from __future__ import annotations

import io
import pickle
import pickletools
import re
import warnings
import zipfile
from pathlib import Path
from typing import Mapping

import numpy as np

from recurc.errors import InputError
from recurc.models.tensorfile import widen

WRAPPERS = ("model", "state_dict", "model_state_dict", "module")
_PREFIX = re.compile(r"^(?:(?:_orig_mod|module|model|inner)\.)+")
_NON_PERSISTENT = re.compile(r"^(?:puzzle_emb\.local_\w+|(?:\w+\.)*rotary_emb\.\w+)$")
_SCANNED = 1 << 20  # bytes of a bare pickle that are looked at to name what it refers to
_PICKLES = 5  # pickles in one legacy file
_ZIP, _PICKLE = b"PK\x03\x04", b"\x80"
_MAGIC = (
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"), (b"\x7fELF", "an ELF program"), (b"%PDF", "a PDF document"),
    (b"\x1f\x8b", "a gzip archive: unpack it first"), (b"GGUF", "a GGUF file"), (b"\x93NUMPY", "a NumPy array"),
    (b"\x89HDF", "an HDF5 file"),
    (b"version https://git-lfs", "a Git LFS pointer: the file itself was not downloaded (git lfs pull)"),
)  # fmt: skip
EXPECTED = (
    "Give a checkpoint that the original code wrote (torch.save of the state dict), "
    "or a folder with config.json and model.safetensors"
)


def looks_like_checkpoint(path: Path) -> bool:
    """Whether a file starts like something `torch.save` writes (a zip, or a pickle of protocol 2 and up)."""
    with open(path, "rb") as file:
        magic = file.read(4)
    return magic == _ZIP or (magic[:1] == _PICKLE and magic[1:2] in b"\x02\x03\x04\x05" and len(magic) > 1)


def _not_a_checkpoint(path: Path, why: str) -> InputError:
    return InputError("not a checkpoint", where=str(path), why=why, next=EXPECTED)


def describe_foreign(path: Path) -> str:
    """What a file that is no checkpoint looks like, in words."""
    with open(path, "rb") as file:
        head = file.read(512)
    if not head:
        return "the file is empty"
    for magic, name in _MAGIC:
        if head.startswith(magic):
            return f"it is {name}"
    if head.lstrip()[:1] == b"<":
        return "it is an HTML or XML page: perhaps a download page was saved instead of the file"
    if all(byte in b"\t\n\r\x0c\x1b" or 32 <= byte < 127 or byte >= 128 for byte in head):
        return "it is a text file"
    return f"it starts with bytes {head[:4].hex(' ')}, not like a file of torch.save"


def read(path: Path) -> tuple[dict[str, np.ndarray], list[str]]:
    """Tensors of a raw checkpoint, by name without prefix, as float32.

    `puzzle_emb.weights` stays a read-only memory map of the file when it is stored as float32 in a zip file.

    Returns:
        (tensors, notes).

    Raises:
        InputError: not a checkpoint, truncated, a pickle with code in it, or not a state dict of float tensors.
    """
    state, notes = _state_dict(_load(path), path)
    import torch

    names = strip_names(state, path)
    tensors: dict[str, np.ndarray] = {}
    wrong = []
    for name, value in state.items():
        short = names[name]
        if _NON_PERSISTENT.match(short):
            continue
        if not isinstance(value, torch.Tensor):
            wrong.append(f"{name} is a {type(value).__name__}")
        elif not value.is_floating_point() or value.layout != torch.strided or value.is_quantized:
            form = "" if value.layout == torch.strided else f" ({str(value.layout).removeprefix('torch.')})"
            wrong.append(f"{name} is {str(value.dtype).removeprefix('torch.')}{form}")
        else:
            tensors[short] = _to_numpy(value.detach(), short, torch)
    if wrong:
        raise InputError(
            "the state dict holds things that are no dense float tensors",
            where=str(path),
            why=", ".join(wrong[:8]) + (f" and {len(wrong) - 8} more" if len(wrong) > 8 else ""),
            next="Save the float model's state dict: torch.save(model.state_dict(), ...)",
        )
    return tensors, notes


def _to_numpy(value, name: str, torch) -> np.ndarray:
    if name == "puzzle_emb.weights" and value.ndim == 2 and value.is_contiguous():
        if value.dtype == torch.float32:
            table = value.numpy()
            table.flags.writeable = False
            return table
        if value.element_size() == 2:
            kind = value.dtype
            bits = value.view(torch.int16).numpy()
            return widen(bits, lambda part: torch.from_numpy(part.copy()).view(kind).float().numpy())
        if value.dtype == torch.float64:
            return widen(value.numpy(), lambda part: part.astype(np.float32))
    return np.array(value.to(torch.float32).contiguous().numpy(), order="C")


def _load(path: Path) -> object:
    with open(path, "rb") as file:
        magic = file.read(4)
    if not looks_like_checkpoint(path):
        raise _not_a_checkpoint(path, describe_foreign(path))
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # weights_only: torch's restricted unpickler, which builds tensors and plain containers only.
            return torch.load(path, map_location="cpu", weights_only=True, mmap=magic == _ZIP)
    except pickle.UnpicklingError as error:
        raise _refused_pickle(path, str(error)) from None
    except Exception as error:  # torch raises RuntimeError, EOFError, KeyError, ... for damaged files
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        if "weights_only" in str(error) or "Weights only" in str(error):
            raise _refused_pickle(path, str(error)) from None
        if magic == _ZIP and "central directory" in str(error):
            why = "the end of the file is missing: it is truncated, or no file of torch.save"
        else:
            why = f"it is truncated or damaged ({text[:160]})"
        raise InputError(
            "the checkpoint cannot be read", where=str(path), why=why, next="Copy or download it again"
        ) from None


def _refused_pickle(path: Path, message: str) -> InputError:
    named = foreign_globals(path)
    if not named and re.search(r"Ran out of input|truncated|persistent_id|Unsupported operand|Invalid magic", message):
        return InputError(
            "the checkpoint cannot be read", where=str(path), why="it is truncated or no file of torch.save",
            next="Copy or download it again",
        )  # fmt: skip
    what = f"it refers to {', '.join(named[:3])}" if named else "it holds more than tensors and plain containers"
    return InputError(
        "the checkpoint holds code or objects that recurc does not load",
        where=str(path),
        why=f"Loading such a pickle can run any program, so recurc reads tensors only: {what}",
        next="If you trust it, save the weights alone where it was trained: torch.save(model.state_dict(), ...)",
    )


def foreign_globals(path: Path) -> list[str]:
    """Functions and classes that a pickle refers to, but for torch's own and OrderedDict. Nothing is executed."""
    found: list[str] = []
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                data = [archive.read(n) for n in archive.namelist() if n.endswith(".pkl")]
        else:
            with open(path, "rb") as file:
                data = [file.read(_SCANNED)]
        for part in data:
            _scan(io.BytesIO(part), found)
    except Exception:  # noqa: BLE001 - this only words a message; damaged input may fail in any way
        pass
    return [
        name for name in dict.fromkeys(found) if not name.startswith(("torch.", "torch ", "collections.OrderedDict"))
    ]


def _scan(stream: io.BytesIO, found: list[str]) -> None:
    """Append the names that a stream of pickles (a legacy file has several) refers to."""
    for _ in range(_PICKLES):
        strings: list[str] = []  # text pushed so far: STACK_GLOBAL takes its module and name from there
        memo: dict[int, str] = {}
        for opcode, arg, _position in pickletools.genops(stream):
            if opcode.name in ("GLOBAL", "INST"):
                found.append(str(arg).replace(" ", "."))
            elif opcode.name == "STACK_GLOBAL":
                found.append(".".join(strings[-2:]))
            elif "UNICODE" in opcode.name:
                strings.append(str(arg))
            elif opcode.name == "MEMOIZE":
                memo[len(memo)] = strings[-1] if strings else ""
            elif opcode.name in ("BINGET", "LONG_BINGET") and isinstance(arg, int) and arg in memo:
                strings.append(memo[arg])


def _state_dict(loaded: object, path: Path) -> tuple[Mapping[str, object], list[str]]:
    """The mapping of tensors in what a file held, out of the usual wrappers."""
    import torch

    if not isinstance(loaded, Mapping):
        raise _not_a_checkpoint(path, f"it holds a {type(loaded).__name__}, not a state dict")
    for key in WRAPPERS:
        inner = loaded.get(key)
        if isinstance(inner, Mapping) and any(isinstance(v, torch.Tensor) for v in inner.values()):
            others = [str(k) for k in loaded if k != key]
            return inner, [f"weights are read from {key!r}; not used: {', '.join(others)}"] if others else []
    if not any(isinstance(v, torch.Tensor) for v in loaded.values()):
        keys = ", ".join(str(k) for k in list(loaded)[:8])
        raise _not_a_checkpoint(path, f"it holds no tensors (keys: {keys})" if keys else "its state dict is empty")
    return loaded, []


def strip_names(state: Mapping[str, object], path: Path) -> dict[str, str]:
    """Name in the file -> name of the inner model.

    Raises:
        InputError: two names become the same.
    """
    names, seen = {}, {}
    for name in state:
        short = _PREFIX.sub("", str(name))
        if short in seen:
            raise InputError(
                "the checkpoint holds a tensor twice", where=str(path),
                why=f"{seen[short]} and {name} are both {short}",
                next="Save the state dict of one model",
            )  # fmt: skip
        seen[short] = name
        names[name] = short
    return names
