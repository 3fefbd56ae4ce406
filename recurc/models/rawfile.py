"""Reading the original code's checkpoint files (`torch.save` of a state dict) without ever running code from them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from recurc.errors import InputError, printable
from recurc.filekinds import kind_of
from recurc.models.bundle import NotWeights, Weights, find_weights, is_harmless, short_names
from recurc.models.picklefile import Opaque, Stored
from recurc.models.rotary import ROTARY
from recurc.models.torchfile import TorchFile, is_float
from recurc.reading import Unreadable, not_read, open_regular, read_part, size_of

_NON_PERSISTENT = re.compile(r"^puzzle_emb\.local_\w+$")
_TENSORS, _NAME = 20_000, 256  # more tensors, or longer names, than any model here has
_ZIP, _PICKLE = b"PK\x03\x04", b"\x80"
EXPECTED = (
    "Give a checkpoint that the original code wrote (torch.save of the state dict), "
    "or a folder with config.json and model.safetensors"
)


def looks_like_checkpoint(path: Path) -> bool:
    """Whether a file starts like something `torch.save` writes (a zip, or a pickle of protocol 2 and up)."""
    magic = _head(path, 4)
    return magic == _ZIP or (magic[:1] == _PICKLE and magic[1:2] in b"\x02\x03\x04\x05" and len(magic) > 1)


def _head(path: Path, count: int) -> bytes:
    """The first bytes of a file.

    Raises:
        InputError: it cannot be read, or is no file.
    """
    try:
        with open_regular(path) as file:
            return read_part(file, 0, min(count, size_of(file)))
    except Unreadable as error:
        raise not_read(error, path, "the checkpoint", "the checkpoint cannot be read", EXPECTED) from None


def _not_a_checkpoint(path: Path, why: str) -> InputError:
    return InputError("not a checkpoint", where=str(path), why=why, next=EXPECTED)


def describe_foreign(path: Path) -> str:
    """What a file that is no checkpoint looks like, in words."""
    head = _head(path, 512)
    if not head:
        return "the file is empty"
    if kind := kind_of(head):
        return f"it is {kind}"
    if all(byte in b"\t\n\r\x0c\x1b" or 32 <= byte < 127 or byte >= 128 for byte in head):
        return "it is a text file"
    return f"it starts with bytes {head[:4].hex(' ')}, not like a file of torch.save"


def read(path: Path) -> tuple[dict[str, np.ndarray], Weights]:
    """Tensors of a raw checkpoint, by name without prefix, as float32.

    `puzzle_emb.weights` stays a read-only memory map of the file when it is stored as float32.

    Returns:
        (tensors, what was chosen in the file: its notes, and the configuration that it holds).

    Raises:
        InputError: not a checkpoint, truncated, a pickle with code in it, or not a state dict of float tensors.
    """
    if not looks_like_checkpoint(path):
        raise _not_a_checkpoint(path, describe_foreign(path))
    try:
        with TorchFile(path) as file:
            refused = [name for name in file.foreign if not is_harmless(name)]
            if refused:
                raise _refused_pickle(path, refused)
            weights = find_weights(file.value, path)
            return _tensors(file, weights.state, path), weights
    except Unreadable as error:
        raise not_read(error, path, "the checkpoint", "the checkpoint cannot be read", "Copy or download it again") from None


def something_else(path: Path) -> str:
    """What a file of torch.save holds that is no weights (predictions, an optimizer's state); empty for any other file."""
    try:
        with TorchFile(path) as file:
            find_weights(file.value, path)
    except NotWeights as error:
        return error.why
    except (Unreadable, InputError):
        pass
    return ""


def _tensors(file: TorchFile, state: Mapping[str, object], path: Path) -> dict[str, np.ndarray]:
    names = strip_names(state, path)
    wanted = {name: value for name, value in state.items() if not _passed_over(names[name], value)}
    wrong = [f"{printable(str(name), 100)} is {_kind(value)}" for name, value in wanted.items()
             if not isinstance(value, Stored) or not is_float(value.dtype)]  # fmt: skip
    if wrong:
        raise InputError(
            "the state dict holds things that are no dense float tensors",
            where=str(path),
            why=", ".join(wrong[:8]) + (f" and {len(wrong) - 8} more" if len(wrong) > 8 else ""),
            next="Save the float model's state dict: torch.save(model.state_dict(), ...)",
        )
    stored = {names[name]: value for name, value in wanted.items() if isinstance(value, Stored)}
    file.check(stored)
    return {name: file.array(value, keep=name == "puzzle_emb.weights") for name, value in stored.items()}


def _passed_over(name: str, value: object) -> bool:
    """Whether a buffer says nothing of the model. Rotary tables of plain numbers are read, to be compared."""
    if ROTARY.match(name):
        return not isinstance(value, Stored) or not is_float(value.dtype)
    return bool(_NON_PERSISTENT.match(name))


def _kind(value: object) -> str:
    if isinstance(value, (Stored, Opaque)):
        return value.dtype or "untyped" if isinstance(value, Stored) else value.kind
    return f"a {type(value).__name__}"


def _refused_pickle(path: Path, named: list[str]) -> InputError:
    names = ", ".join(printable(name, 100) for name in list(dict.fromkeys(named))[:3])
    return InputError(
        "the checkpoint holds code or objects that recurc does not load",
        where=str(path),
        why=f"Loading such a pickle can run any program, so recurc reads tensors only: it refers to {names}",
        next="If you trust it, save the weights alone where it was trained: torch.save(model.state_dict(), ...)",
    )


def strip_names(state: Mapping[str, object], path: Path) -> dict[str, str]:
    """Name in the file -> name of the inner model.

    Raises:
        InputError: two names become the same.
    """
    names: dict[str, str] = {}
    seen: dict[str, str] = {}
    if len(state) > _TENSORS or any(not isinstance(name, str) or len(name) > _NAME for name in state):
        raise InputError("the checkpoint's names are none of a model", where=str(path),
                         why=f"a state dict has at most {_TENSORS} tensors, named by texts of at most {_NAME} characters",
                         next=EXPECTED)  # fmt: skip
    shorter = short_names(list(state))
    for name in state:
        short = shorter[name]
        if short in seen:
            raise InputError(
                "the checkpoint holds a tensor twice", where=str(path),
                why=f"{seen[short]} and {name} are both {short}",
                next="Save the state dict of one model",
            )  # fmt: skip
        seen[short] = name
        names[name] = short
    return names
