"""When one checkpoint's runs halt and what is believed of them, kept beside it: a theta does not carry over to another one."""

from __future__ import annotations

from dataclasses import dataclass

from recurc.arguments import argument
from recurc.evaluate.beside import SHA256, Beside, Kind, count, number, text, word
from recurc.evaluate.halting import MOST_PATIENCE, Halt, stayed_text
from recurc.models.reasoner import Reasoner
from recurc.solve import ACCEPT, BELIEVED
from recurc.symmetries import LONGEST_SYMMETRY

HALTING_FILE = "halting.json"
SCHEMA = "recurc/halting/1"
FOUND = ("labels", "clusters")
DEFAULT = Halt()


@dataclass(frozen=True)
class OwnHalting:
    """What `recurc halting CHECKPOINT --keep` found.

    theta: what the halting head's margin must exceed, while the tokens have stayed for `patience` steps. accept: what is
    believed, of ACCEPT. found: by "labels", or by "clusters" of the margins without them. certificate: whether next to all
    that is called solved by the margin is right; None where no labels tell. precision, symmetry: that it was found with. n:
    puzzles that it was chosen on; held: others that it was tried on; solved, wrong: of these, by what is believed.
    """

    checkpoint_sha256: str
    theta: float
    patience: int
    accept: str
    found: str
    certificate: bool | None
    precision: str
    symmetry: str
    n: int
    held: int
    solved: int
    wrong: int | None

    @property
    def halt(self) -> Halt:
        """The rule that a run halts by."""
        return Halt(self.theta, patience=self.patience)

    def __str__(self) -> str:
        """Where the rule comes from, and how far it can be trusted."""
        how = "with labels" if self.found == "labels" else "without labels, where the margins part in two"
        tried = f"{self.solved} of {self.held} others solved" + (
            "" if self.wrong is None else f", {self.wrong} of them wrongly"
        )
        no = "; the head is no certificate" if self.certificate is False else ""
        return f"this checkpoint's own, {HALTING_FILE}: {how}, {self.n} puzzles at {self.precision}; {tried}{no}"

    @property
    def rule_text(self) -> str:
        """The rule in words."""
        rule = f"a margin above {self.theta:g}{stayed_text(self.patience)}"
        return rule if self.accept == "margin" else f"{rule} ends a run; believed is {BELIEVED[self.accept]}"


def _otherwise() -> str:
    return (
        f"Leave out {argument('keep', True)}, and pass on what is found: "
        "`recurc eval ... --solve --halt-threshold Q --patience P --accept HOW`"
    )


_OPEN_COUNT = Kind(lambda v: v is None or (type(v) is int and 0 <= v < 2**31), "a whole number from 0, or null")
_FILE = Beside(
    OwnHalting,
    HALTING_FILE,
    SCHEMA,
    {
        "checkpoint_sha256": SHA256,
        "theta": number(-3.4e38, 3.4e38),
        "patience": count(most=MOST_PATIENCE),
        "accept": word(*ACCEPT),
        "found": word(*FOUND),
        "certificate": Kind(lambda v: v is None or type(v) is bool, "true, false or null"),
        "precision": text(),
        "symmetry": text(LONGEST_SYMMETRY),
        "n": count(),
        "held": count(),
        "solved": count(),
        "wrong": _OPEN_COUNT,
    },
    "the halting rule",
    _otherwise,
    "`recurc halting CHECKPOINT --keep`",
)
check_keep, keep, kept = _FILE.check_keep, _FILE.keep, _FILE.kept


def halting_of(reasoner: Reasoner) -> tuple[Halt, str]:
    """(the rule that one run stops by where nobody says otherwise, where it comes from): what is kept beside the checkpoint,
    else the default; a rule that ends runs of which two must agree is none to stop a single one by. Raises InputError."""
    own = kept(reasoner)
    if own is not None and own.accept == ACCEPT[0]:
        return own.halt, str(own)
    if own is not None:
        return DEFAULT, f"the default; {HALTING_FILE} believes {BELIEVED[own.accept]}, and one run alone tells nothing of that"
    return DEFAULT, "the default; `recurc halting CHECKPOINT --keep` finds this checkpoint's own"
