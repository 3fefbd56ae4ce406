"""The fidelity that one checkpoint needs, kept beside it: a threshold does not carry over from one checkpoint to another."""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from recurc.arguments import argument
from recurc.errors import InputError
from recurc.files import check_file, write_whole
from recurc.formats import parse_json
from recurc.models.reasoner import Reasoner
from recurc.reading import Unreadable, is_there, read_text, shown

MIN_FIDELITY_FILE = "fidelity.json"
SCHEMA = "recurc/fidelity/1"
# Where nothing was measured: docs/gate/gate.md, the threshold for all bundled examples together, rounded.
DEFAULT_MIN_FIDELITY = 0.96


@dataclass(frozen=True)
class MinFidelity:
    """What `recurc gate CHECKPOINT --keep` measured: refuse below min_fidelity (phi after one supervision step).

    n puzzles, `steps` supervision steps; tolerance (0..1): a variant that lost more of puzzles exact, and more than two
    standard errors, was harmful. missed of `harmful` variants are above min_fidelity, alarms of `harmless` ones below.
    unclear: of the harmless ones above, those that lost more than tolerance, within two standard errors.
    """

    checkpoint_sha256: str
    min_fidelity: float
    tolerance: float
    n: int
    steps: int
    harmful: int
    missed: int
    harmless: int
    alarms: int
    unclear: int = 0

    def __str__(self) -> str:
        said = f"this checkpoint's own, {MIN_FIDELITY_FILE}: {self.n} puzzles, {self.harmful + self.harmless} variants"
        return said + (f", {self.unclear} unclear" if self.unclear else "")


def keep(own: MinFidelity, reasoner: Reasoner) -> Path:
    """Write it beside the checkpoint, whole or not at all. Raises InputError."""
    return write_whole(_beside(reasoner), json.dumps({"schema": SCHEMA, **asdict(own)}, indent=2) + "\n", *_kept_words())


def _kept_words() -> tuple[str, str]:
    """What is written, and what to do where that cannot be."""
    return "the threshold", f"Leave out {argument('keep', True)}, and pass it on: `recurc build ... --min-fidelity PHI`"


def check_keep(checkpoint: Path) -> None:
    """That a threshold can be kept beside a checkpoint's file. Raises InputError."""
    folder = checkpoint.parent
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(
            "the threshold cannot be kept beside the checkpoint",
            where=str(folder),
            why="the folder may not be written",
            next=f"Leave out {argument('keep', True)}, and pass on the threshold that is found: "
            "`recurc build ... --min-fidelity PHI`; or copy the checkpoint to a folder of your own",
        )
    check_file(folder / MIN_FIDELITY_FILE, *_kept_words())


def kept(reasoner: Reasoner) -> MinFidelity | None:
    """What is kept beside a checkpoint; None where nothing is, or what another checkpoint left there.

    Raises:
        InputError: there is a file and it is none of ours, or broken.
    """
    path = _beside(reasoner)
    if not is_there(path, follow=False):
        return None
    try:
        content = parse_json(read_text(path))
        if not isinstance(content, dict) or content.pop("schema", None) != SCHEMA:
            raise Unreadable(f"its schema is not {SCHEMA}")
        own = MinFidelity(**{name: _field(name, kind, content) for name, kind in _FIELDS.items()})
        if content:
            raise Unreadable(f"unknown field {shown(next(iter(content)))}")
    except Unreadable as error:
        raise _invalid(path, str(error)) from None
    return own if own.checkpoint_sha256 == reasoner.sha256 else None


_FIELDS = {"checkpoint_sha256": str, "min_fidelity": float, "tolerance": float, "n": int, "steps": int, "harmful": int,
           "missed": int, "harmless": int, "alarms": int, "unclear": int}  # fmt: skip
_SHA256 = re.compile(r"[0-9a-f]{64}")


def _field(name: str, kind: type, content: dict[str, Any]) -> Any:
    """Take a field out of the file's content, checked. Raises Unreadable."""
    value = content.pop(name, 0 if name == "unclear" else None)
    if kind is str:
        good = isinstance(value, str) and _SHA256.fullmatch(value) is not None
    elif kind is int:
        good = type(value) is int and 0 <= value < 2**31
    else:
        good = type(value) in (int, float) and -1 <= value <= 1
    if not good:
        expected = {str: "64 hexadecimal digits", int: "a whole number from 0", float: "a number from -1 to 1"}[kind]
        raise Unreadable(f"{name} is {shown(value)}, not {expected}")
    return float(value) if kind is float else value


def _beside(reasoner: Reasoner) -> Path:
    return Path(reasoner.source).parent / MIN_FIDELITY_FILE


def _invalid(path: Path, why: str) -> InputError:
    return InputError(
        f"{path.name} is not valid",
        where=str(path),
        why=why,
        next="Remove it, or write it anew with `recurc gate CHECKPOINT --keep`",
    )


def least_fidelity(reasoner: Reasoner, asked: float | None = None) -> tuple[float, str]:
    """(the fidelity below which a build is refused, where that number comes from): `asked`, else what is kept beside the
    checkpoint, else the default. Raises InputError."""
    if asked is not None:
        return asked, "as asked for"
    own = kept(reasoner)
    if own is not None:
        return own.min_fidelity, str(own)
    return DEFAULT_MIN_FIDELITY, "the default; `recurc gate CHECKPOINT --keep` finds this checkpoint's own"
