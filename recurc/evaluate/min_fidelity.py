"""The fidelity that one checkpoint needs, kept beside it: a threshold does not carry over from one checkpoint to another."""

from __future__ import annotations

from dataclasses import dataclass

from recurc.arguments import argument
from recurc.evaluate.beside import SHA256, Beside, count, number
from recurc.models.reasoner import Reasoner

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


def _otherwise() -> str:
    return f"Leave out {argument('keep', True)}, and pass it on: `recurc build ... --min-fidelity PHI`"


_FILE = Beside(
    MinFidelity,
    MIN_FIDELITY_FILE,
    SCHEMA,
    {
        "checkpoint_sha256": SHA256,
        "min_fidelity": number(-1, 1),
        "tolerance": number(-1, 1),
        **{name: count() for name in ("n", "steps", "harmful", "missed", "harmless", "alarms")},
        "unclear": count(0),
    },
    "the threshold",
    _otherwise,
    "`recurc gate CHECKPOINT --keep`",
)
check_keep, keep, kept = _FILE.check_keep, _FILE.keep, _FILE.kept


def least_fidelity(reasoner: Reasoner, asked: float | None = None) -> tuple[float, str]:
    """(the fidelity below which a build is refused, where that number comes from): `asked`, else what is kept beside the
    checkpoint, else the default. Raises InputError."""
    if asked is not None:
        return asked, "as asked for"
    own = kept(reasoner)
    if own is not None:
        return own.min_fidelity, str(own)
    return DEFAULT_MIN_FIDELITY, "the default; `recurc gate CHECKPOINT --keep` finds this checkpoint's own"
