"""Shared by the commands that answer puzzles with restarts: options, and what they come to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, cast

import click

from recurc.arguments import argument
from recurc.cli.common.groups import Command, given, given_options
from recurc.cli.common.output import Console
from recurc.errors import InputError, UsageError
from recurc.noise import NOISE_AT, START
from recurc.solve import ACCEPT, BELIEVED, MOST_RESTARTS, MOST_STEPS, Policy
from recurc.symmetries import Forms, is_arc

if TYPE_CHECKING:
    from recurc.build.manifest import Build
    from recurc.cli.common.options import Halting, Model
    from recurc.dataset import Dataset
    from recurc.documents.shares import SolveEntry
    from recurc.evaluate.halting import Halt
    from recurc.evaluate.solving import Solved
    from recurc.ir.lowering import Lowering
    from recurc.models.reasoner import Reasoner, ReasonerConfig

FIRST_STEPS = 8  # a run that has not halted by then seldom does


@dataclass(frozen=True)
class Asking:
    """--symmetry, --restarts, --first-steps, --restart-steps, --noise (None: not given) and --noise-at."""

    symmetry: str | None = None
    restarts: int = 8
    first_steps: int | None = None
    restart_steps: int | None = None
    noise: float | None = None
    noise_at: str = START

    def policy(self, steps: int, halt: Halt, accept: str = ACCEPT[0], seed: int = 0) -> Policy:
        """The procedure for a model that is lowered for `steps`, whose runs halt by a rule; the seed is the noise's.

        Raises:
            UsageError: --noise-at without noise, noise without restarts, the rule has a least number of steps, more steps are
                asked of a run, or the numbers do not go together.
        """
        if halt.min_steps != 1:
            raise UsageError("solving has no least number of steps", where=argument("min_steps"),
                             next=f"Leave it out; {argument('patience', 'P')} lets a run go on")  # fmt: skip
        for name in ("first_steps", "restart_steps"):
            if (getattr(self, name) or 0) > steps:
                raise UsageError("a run has too many steps", where=argument(name), why=f"the model is compiled for {steps}",
                                 next=f"Give a number from 1 to {steps}")  # fmt: skip
        unsaid = self.noise is None and self.noise_at != START  # as recurc.toml has it; a noise of 0 says that there is none
        if not self.noise and (unsaid or given("noise_at")):
            raise UsageError("there is no noise to put anywhere", where=argument("noise_at"),
                             next=f"Add {argument('noise', 'SIGMA')}, or leave it out")  # fmt: skip
        if self.noise and not self.restarts:
            raise UsageError("there are no restarts to have noise", where=argument("noise"),
                             next=f"Allow some with {argument('restarts', 'K')}, or give a noise of 0")  # fmt: skip
        first = self.first_steps or min(FIRST_STEPS, steps)
        noise = (self.noise, self.noise_at, seed) if self.noise else ()
        return Policy(first, self.restarts, self.restart_steps or first, halt.threshold, halt.patience, accept, *noise)

    def forms(self, console: Console, data: Dataset, config: ReasonerConfig, seed: int) -> tuple[str, Forms]:
        """The symmetry's name, and the other forms that restarts take.

        Args:
            data: labelled examples that the symmetry is held against, and found by where none is named.

        Raises:
            UsageError: no symmetry of this name. InputError: the labels contradict it, or the model has not the rows for it.
        """
        from recurc.datadescribe import allowed_symmetry, check_symmetry, forms_named, tells_symmetry
        from recurc.ir.lowering import check_forms

        if self.symmetry is None:
            name = allowed_symmetry({data.split: data})
            known = f"the labels of {data.split} allow" if tells_symmetry(data) else "too few labels tell"
            reason = f"the largest that {known}" if name != "none" else f"{known} no other"
            reason = "as the names of the puzzle identifiers tell" if is_arc(name) else reason
            console.assumed([f"symmetry: {name}, {reason}"])
        else:
            name = self.symmetry
        forms = forms_named(name, data, self.restarts, seed)
        check_symmetry(name, forms, {data.split: data})
        check_forms(forms, config)
        return name, forms


@dataclass(frozen=True)
class Solving(Asking):
    """--solve, --accept (None: not given) and what belongs to them."""

    solve: bool = False
    accept: str | None = None

    def asked(self) -> bool:
        """Whether --solve is given. Raises UsageError where what belongs to it stands alone."""
        alone = next(given_options(*(f.name for f in fields(self))), None)
        if alone and not self.solve:
            raise UsageError("it says how to solve", where=alone, next="Add --solve, or leave it out")
        return self.solve

    def believed(self, console: Console, model: Model, reasoner: Reasoner, halt: Halt) -> tuple[Halt, str]:
        """(the rule that runs halt by, what is believed): as the command line or `recurc.toml` says, else as is kept beside the
        checkpoint, else the default; where they come from is told. A rule for runs of which two must agree is taken for no
        others. Raises InputError: what is kept there is broken."""
        from recurc.evaluate.halting import stayed_text
        from recurc.evaluate.own_halting import halting_of, kept

        said = [n for n in ("halt_threshold", "patience", "min_steps") if given(n) or model.project.value(n) is not None]
        own = None if said else kept(reasoner)
        if own is None:
            return halt, self.accept or ACCEPT[0]
        accept = self.accept or (own.accept if self.restarts else ACCEPT[0])
        if accept == ACCEPT[0] != own.accept:
            halt, whence = halting_of(reasoner)
            console.assumed([f"a margin above {halt.threshold:g}{stayed_text(halt.patience)}: {whence}"])
            return halt, accept
        console.assumed([f"{own.rule_text}: {own}"])
        return own.halt, accept


def labelled(model: Model, symmetry: str | None) -> Dataset:
    """Examples that may say which symmetry there is: those that are not scored, as long as there are some.

    Raises:
        InputError: no symmetry is named, and there are neither a training split nor labels that could tell one.
    """
    from recurc.reading import is_folder, user_path

    if model.data is not None and is_folder(user_path(model.data) / "train"):
        return model.dataset("train")
    found = model.dataset("test")
    if found.valid.any():
        return found.labelled()
    if symmetry is None:
        raise InputError(
            "no example has labels, so none tells the other forms", where=str(model.data),
            why="no symmetry is named, there is no training split, and the test split has no labels",
            next=f"Name it with {argument('symmetry', 'NAME')}; `none` asks for no other forms",
        )  # fmt: skip
    return found


def procedure(
    console: Console, chosen: Model, reasoner: Reasoner, asked: tuple[Solving, Lowering, int], rule: Halt
) -> tuple[Policy | None, str, Forms]:
    """The procedure that asks again, the symmetry's name and the forms; None where it is not asked for.

    asked: how to solve, how the model is lowered, and the seed of the forms.
    """
    solving, lowering, seed = asked
    if not solving.asked():
        return None, "", ()
    symmetry, forms = solving.forms(console, labelled(chosen, solving.symmetry), reasoner.config, seed)
    possible = solving if solving.noise else replace(solving, restarts=min(solving.restarts, len(forms)))
    halt, accept = possible.believed(console, chosen, reasoner, rule)
    return possible.policy(lowering.depth(reasoner.config).steps, halt, accept, seed), symmetry, forms


def built_policy(build: Build, solving: Solving, halting: Halting) -> Policy | None:
    """How a build's firmware answers: as the build says, where the command line does not; None where --solve is not given.

    Raises:
        UsageError: as `Asking.policy`; the build has not so many forms.
    """
    from recurc.verify.answers import build_policy

    if not solving.asked():
        return None
    own, kept = build_policy(build), build.details.get("solve")
    forms = kept["forms"] if kept else 0

    def chosen(option: str, group: object, value: Any) -> Any:
        return getattr(group, option) if given(option) else value

    threshold, patience = chosen("halt_threshold", halting, own.threshold), chosen("patience", halting, own.patience)
    rule = replace(halting.rule, threshold=threshold, patience=patience)
    asking = replace(
        solving,
        first_steps=chosen("first_steps", solving, own.steps),
        restart_steps=chosen("restart_steps", solving, own.restart_steps),
        restarts=chosen("restarts", solving, own.restarts),
        noise=chosen("noise", solving, own.noise),
        noise_at=chosen("noise_at", solving, own.noise_at),
    )
    if not asking.restarts and not given("noise"):  # no run is left that would have the build's
        asking = replace(asking, noise=0.0)
    if asking.noise and not own.noise:
        raise UsageError("the build adds no noise", where=argument("noise"), why="its firmware was compiled without",
                         next="Leave it out, or build with --solve and noise")  # fmt: skip
    room = max(forms, own.restarts) if asking.noise else forms
    if asking.restarts > room:
        if given("noise") and not given("restarts"):
            asking = replace(asking, restarts=room)
        else:
            what, why = ("so much room", f"it has room for {room} runs after the first")
            what, why = (what, why) if asking.noise else ("so many forms", f"its image holds {forms}")
            raise UsageError(f"the build has not {what}", where=argument("restarts"), why=why,
                             next="Give no more, or build with --solve and more restarts")  # fmt: skip
    return asking.policy(build.steps, rule, solving.accept or (own.accept if asking.restarts else ACCEPT[0]), own.seed)


def solve_entry(name: str, policy: Policy, forms: int) -> SolveEntry:
    """What a build's manifest says of how it answers, in how many other forms."""
    return cast("SolveEntry", {"symmetry": name, "forms": forms, **policy.as_dict()})  # a policy's fields


def asking_options(prefix: str) -> Callable[[Command], Command]:
    """The options of `Asking`; their help begins with the prefix."""
    symmetry = click.option(
        "--symmetry",
        metavar="NAME",
        help=f"{prefix}the other forms: sudoku:3x3, square, tokens:2-10, file:PATH, several joined by +, arc, or none. "
        "Default: the largest that the labels allow.",
    )
    return _all([symmetry, _runs(prefix, 8, " Default: 8.", " Default: as many."), _noise(prefix, " Default: none.")])


def _runs(prefix: str, restarts: int | None, else_count: str, else_as_many: str) -> Callable[[Command], Command]:
    """How many runs, and of how many steps; what the help says of the default of each."""
    steps, counts = click.IntRange(1, MOST_STEPS), click.IntRange(0, MOST_RESTARTS)
    return _all([
        click.option("--restarts", type=counts, default=restarts, metavar="K", help=f"{prefix}at most so many.{else_count}"),
        click.option("--first-steps", type=steps, metavar="B", help=f"{prefix}steps of the first run.{else_count}"),
        click.option("--restart-steps", type=steps, metavar="R", help=f"{prefix}steps of the others.{else_as_many}"),
    ])  # fmt: skip


def _noise(prefix: str, otherwise: str) -> Callable[[Command], Command]:
    """The noise of all runs but the first; what the help says of the default."""
    at = "--noise-at"
    return _all([
        click.option("--noise", type=click.FloatRange(min=0), metavar="SIGMA",
                     help=f"{prefix}noise on the carry of all runs but the first, 0 for none.{otherwise}"),
        click.option(at, type=click.Choice(NOISE_AT), default=START, help=f"{prefix}noise at the start, or before each step."),
    ])  # fmt: skip


def _accept(otherwise: str) -> Callable[[Command], Command]:
    """What is believed; what the help says of the default."""
    said = (
        "With --solve, believe the first run that halts (margin), two that agree (agreement), or more than half of all (vote)."
    )
    said += otherwise
    return click.option("--accept", type=click.Choice(ACCEPT), default=None, help=said)


def solving_options(function: Command) -> Command:
    """The options of `Solving`."""
    said = "Ask again: a run that does not halt is followed by others, of other forms of the puzzle."
    kept = " Default: as is kept beside the checkpoint (`recurc halting --keep`), else margin."
    return _all([click.option("--solve", is_flag=True, help=said), asking_options("With --solve, "), _accept(kept)])(function)


def built_solving_options(function: Command) -> Command:
    """Those of them that a build leaves open: its forms are in its image, and what is not given is as it was built."""
    said = (
        "Let the device answer by itself, and ask again in the forms that a build made with --solve holds. What the options "
        "below leave open is as it was built."
    )
    solve, runs = click.option("--solve", is_flag=True, help=said), _runs("With --solve, ", None, "", "")
    return _all([solve, runs, _noise("With --solve, ", ""), _accept("")])(function)


def _all(options: list[Callable[[Command], Command]]) -> Callable[[Command], Command]:
    """Options one after the other, in this order."""

    def decorate(function: Command) -> Command:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def again_text(policy: Policy, symmetry: str) -> str:
    """How a puzzle is asked again, in words."""
    form = f"in another form ({symmetry})"
    if not policy.noise:
        return form
    where = "at the start" if policy.noise_at == START else "before each step"
    return ("" if symmetry == "none" else f"{form} while there is one, ") + f"with noise of {policy.noise:g} {where}"


def solved_text(found: Solved, symmetry: str) -> list[str]:
    """What to say of a set of puzzles that were solved with restarts, as sentences."""
    from recurc.evaluate.halting import stayed_text

    p, n, solved = found.policy, len(found.steps), int(found.solved.sum())
    halted = f"a margin above {p.threshold:g}{stayed_text(p.patience)}"
    if p.accept == "margin":
        believed = f"the first run with {halted}"
    else:
        believed = f"{BELIEVED[p.accept]}; a run ends with {halted}"
    steps = f"{found.mean_steps:.2f}" + (f" ± {found.mean_error:.2f}" if n > 1 else "")
    asked = f"with restarts: {p.steps} steps, then up to {p.restarts} runs of {p.restart_steps} {again_text(p, symmetry)}"
    return [
        (asked if p.restarts else f"without restarts (symmetry: {symmetry}): {p.steps} steps") + f"; believed is {believed}",
        f"{solved} of {n} puzzles are called solved, {found.wrong_solved} of them wrongly; {n - solved} unsure, "
        f"{found.right_unsure} of them right",
        f"{int((found.restarts > 0).sum())} were asked again; {steps} steps a puzzle, at most {int(found.steps.max())}",
    ]
