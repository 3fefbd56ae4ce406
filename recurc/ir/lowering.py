"""Lowering: what is decided of a model when it becomes a program, but not with which bits its weights are stored.

One frozen value goes from the command line, `recurc.toml`, Python or a build's manifest to the program. Each knob has its one
name here, is checked here, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypedDict

from recurc.arguments import argument
from recurc.errors import InputError, UsageError
from recurc.models.reasoner import ReasonerConfig
from recurc.noise import Noise
from recurc.reading import shown
from recurc.recursion import Depth
from recurc.symmetries import Forms, Grids

CARRIES = ("fp32", "fp16", "int8")  # int8 rows have a scale each
STORAGES = ("image", "fp32", "int8")  # of the puzzle table
AUTO = "auto"
IMAGE_TABLE_BYTES = 64 * 1024  # larger puzzle tables are streamed, unless asked otherwise
MOST_CYCLES, MOST_STEPS = 255, 1 << 16
MOST_FORMS = MOST_RESTARTS = 255


class Knobs(TypedDict, total=False):
    """The fields of a `Lowering` as keyword arguments; None: as `Lowering` has it."""

    steps: int | None
    h_cycles: int | None
    l_cycles: int | None
    carry: str | None
    puzzle_table: str | None
    scratch: int | None
    symmetries: Forms | None
    noisy_runs: int | None
    own_noise: Noise | None


def _count(most: int) -> Any:
    return field(default=None, metadata={"most": most})


def _word(default: str, *words: str) -> Any:
    return field(default=default, metadata={"words": words})


@dataclass(frozen=True, kw_only=True)
class Lowering:
    """How a model is lowered to a program.

    Args:
        steps, h_cycles, l_cycles: supervision steps, high-level cycles of each, low-level cycles of each of those; None: as
            trained.
        carry: how the states are stored between ops, one of CARRIES.
        puzzle_table: where puzzle embeddings are: "image", or streamed row by row from a table of "fp32" or "int8" rows;
            "auto": in the image up to IMAGE_TABLE_BYTES, or where forms have rows of their own, else fp32. Without meaning for
            models that have none.
        scratch: most bytes of working memory for tiles; more means fewer passes over the weights, the same bits. None leaves
            it to the planner.
        symmetries: other forms of every puzzle, that it is asked again in; they lie in the image, in this order.
        noisy_runs: how often it may be asked again with noise on the carry, by code that adds it; None: never.
        own_noise: which noise that is, where a program is not told otherwise.

    Raises:
        UsageError: a value that there is not.
    """

    steps: int | None = _count(MOST_STEPS)
    h_cycles: int | None = _count(MOST_CYCLES)
    l_cycles: int | None = _count(MOST_CYCLES)
    carry: str = _word("fp32", *CARRIES)
    puzzle_table: str = _word(AUTO, AUTO, *STORAGES)
    scratch: int | None = _count(1 << 40)
    symmetries: Forms = field(default=(), metadata={"forms": MOST_FORMS})
    noisy_runs: int | None = _count(MOST_RESTARTS)
    own_noise: Noise | None = field(default=None, metadata={"any": True})

    def __post_init__(self) -> None:
        for knob in fields(Lowering):
            _check(knob.name, getattr(self, knob.name), knob.metadata)

    @classmethod
    def of(cls, lowering: Lowering | None = None, **knobs: Any) -> Lowering:
        """`lowering` (None: all as it is by default) with the knobs that are given, and not None, in the place of its own.

        Raises:
            UsageError: a value that there is not. TypeError: a knob that there is not.
        """
        given = {name: value for name, value in knobs.items() if value is not None or name not in _NAMES}
        own = {name: getattr(lowering, name) for name in _NAMES} if lowering is not None else {}
        return Lowering(**{**own, **given})

    @classmethod
    def of_manifest(cls, manifest: Mapping[str, Any]) -> Lowering:
        """That of a build, from the entries of its manifest; the oldest builds say nothing of the carry."""
        table = manifest.get("table")
        knobs = {name: manifest[name] for name in _IN_MANIFEST if name in manifest}
        return cls(**knobs, puzzle_table=table["storage"] if table else "image")

    def depth(self, config: ReasonerConfig) -> Depth:
        """How often the model turns, where it is not said here as trained."""
        return config.trained.but(**{name: getattr(self, name) for name in DEPTH})

    def table_storage(self, config: ReasonerConfig) -> str:
        """Where the puzzle embeddings are, one of STORAGES."""
        if self.puzzle_table != AUTO:
            return self.puzzle_table
        size = 4 * config.num_puzzle_identifiers * config.puzzle_emb_ndim
        return "image" if size <= IMAGE_TABLE_BYTES or isinstance(self.symmetries, Grids) else "fp32"

    def settled(self, config: ReasonerConfig) -> Lowering:
        """The same with the model's own numbers where nothing is said; only `scratch` may stay open."""
        return replace(self, **vars(self.depth(config)), puzzle_table=self.table_storage(config))

    def manifest(self) -> dict[str, int | str]:
        """The manifest's entries of a settled one; where the puzzle table is, its own entry says."""
        return {name: getattr(self, name) for name in _IN_MANIFEST}


DEPTH = tuple(knob.name for knob in fields(Depth))
_NAMES = tuple(knob.name for knob in fields(Lowering))
_IN_MANIFEST = (*DEPTH, "carry")
# What each knob may be, for those who read one from elsewhere: the largest number, or the words.
MOST: Mapping[str, int] = {k.name: k.metadata["most"] for k in fields(Lowering) if "most" in k.metadata}
WORDS: Mapping[str, tuple[str, ...]] = {k.name: k.metadata["words"] for k in fields(Lowering) if "words" in k.metadata}


def check_forms(forms: Forms, config: ReasonerConfig) -> None:
    """That a model has what its forms need.

    Raises:
        InputError: forms with rows of a puzzle table that the model has not, or not so many.
    """
    if not isinstance(forms, Grids):
        return
    rows = config.num_puzzle_identifiers if config.puzzle_emb_ndim else 0
    if rows != len(forms.rows):
        raise InputError("the model has other puzzles", where=argument("symmetry"),
                         why=f"the names tell the forms of {len(forms.rows)} rows of a puzzle table, and the model has {rows}",
                         next="Name the model's own identifiers, another symmetry, or `none`")  # fmt: skip


def _check(name: str, value: Any, allowed: Mapping[str, Any]) -> None:
    if "any" in allowed:
        return
    if "forms" in allowed:
        if len(value) > allowed["forms"]:
            raise UsageError(f"{len(value)} forms of a puzzle are too many", where=argument("restarts"),
                             next=f"Give at most {allowed['forms']}")  # fmt: skip
    elif "words" in allowed:
        if value not in allowed["words"]:
            raise UsageError(
                f"unknown {name} {shown(value)}" if not isinstance(value, str) else f"unknown {name} {value!r}",
                where=argument(name),
                why="it is one of " + ", ".join(allowed["words"]),
                next="choose one of them",
            )
    elif value is not None and (isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= allowed["most"]):
        raise UsageError(
            f"no number of {name}: {shown(value)}",
            where=argument(name),
            why=f"it is a whole number from 1 to {allowed['most']:,}",
            next="choose such a number, or leave it out",
        )
