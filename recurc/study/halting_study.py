"""What stopping early, asking again and saying "not sure" come to on one checkpoint, and the halting rule that is its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from recurc.dataset import Dataset
from recurc.evaluate.asked import Asked
from recurc.evaluate.halting import Halt
from recurc.evaluate.own_halting import OwnHalting
from recurc.evaluate.runs import Progress, Run
from recurc.evaluate.scores import Share
from recurc.evaluate.solving import Solved
from recurc.evaluate.stepping import Stepper
from recurc.evaluate.stopping import halting
from recurc.evaluate.theta import Choice, Clusters, by_labels, is_certificate, two_clusters
from recurc.solve import Policy
from recurc.symmetries import Forms as Drawn

HEAD_ALONE = Halt(patience=0)
_NAMES = {"margin": "the margin", "agreement": "agreement", "vote": "vote"}
FEWER = (0, 1, 2, 4)  # restarts that the curve of accuracy against steps has besides all of them


@dataclass(frozen=True)
class Subject:
    """A checkpoint in a precision: its name, the checkpoint's sha256, the precision in words, what steps it, and how many steps
    it was trained with."""

    name: str
    sha256: str
    precision: str
    stepper: Stepper
    steps: int


@dataclass(frozen=True)
class Forms:
    """Other forms of its puzzles: the symmetry's name, and those that were drawn."""

    symmetry: str
    drawn: Drawn


@dataclass(frozen=True)
class HaltingStudy:
    """What was found. own: the rule that may be kept; None where nothing tells, which `why` says. document: all of it as data,
    see `recurc.report.halting_page`."""

    own: OwnHalting | None
    why: str
    document: Mapping[str, Any]


def halting_study(
    subject: Subject,
    puzzles: Dataset,
    forms: Forms,
    policy: Policy,
    *,
    labels: bool = True,
    threads: int = 1,
    progress: Progress | None = None,
) -> HaltingStudy:
    """Find a checkpoint's own halting rule on half of some puzzles, and score it and others on the other half.

    Args:
        policy: steps, restarts and patience of the procedure; threshold and accept are found.
        labels: choose by labels; else by clusters of the margins.
        progress: called with 1 for each puzzle of a half.
    """
    policy = replace(policy, restarts=policy.runs(len(forms.drawn)))
    half = len(puzzles) - len(puzzles) // 2
    searched, held = puzzles.take(half), puzzles.take(None, half)
    asked, others = (_asked(subject, part, forms, policy, threads) for part in (searched, held))
    clusters = two_clusters(asked.plain.margins[min(policy.steps, subject.steps) - 1])
    labelled = labels and bool(puzzles.valid.any())
    choice = by_labels(asked, searched, policy) if labelled else None
    if progress:
        progress(len(searched))
    chosen, why = _chosen(policy, choice, clusters)
    default = Solved.of(policy, others.answers(policy), held)
    solved = default if chosen is None or chosen == policy else Solved.of(chosen, others.answers(chosen), held)
    own, certificate = None, None
    if choice is not None:
        by = choice.by_margin
        certificate = is_certificate([by, Solved.of(by.policy, others.answers(by.policy), held)])
    if chosen is not None:
        wrong = solved.wrong_solved if puzzles.valid.any() else None
        theta, found = float(f"{chosen.threshold:.6g}"), "labels" if choice else "clusters"
        own = OwnHalting(
            subject.sha256, theta, chosen.patience, chosen.accept, found, certificate, subject.precision, forms.symmetry,
            len(searched), len(held), int(solved.solved.sum()), wrong,
        )  # fmt: skip
    if progress:
        progress(len(held))
    lines = [_solving("the default rule", default)]
    if chosen is not None:
        lines.append(_solving("its own rule", solved))
        if choice is not None:
            lines += _other_accept(chosen, choice, others, held)
    document = {
        "model": subject.name,
        "precision": subject.precision,
        "symmetry": forms.symmetry,
        "steps": subject.steps,
        "n": len(searched),
        "held": len(held),
        "first_steps": policy.steps,
        "restarts": policy.runs(len(forms.drawn)),
        "restart_steps": policy.restart_steps,
        **policy.noise_dict(),
        "own": None if own is None else asdict(own),
        "why": why,
        "clusters": None if clusters is None else asdict(clusters),
        "stopping": _stopping(asked.plain, others.plain, puzzles, own),
        "solving": lines,
        "fewer": _fewer(chosen or policy, others, held, len(forms.drawn)),
        "curve": _curve(others.plain, held, solved),
    }
    return HaltingStudy(own, why, document)


def _asked(subject: Subject, part: Dataset, forms: Forms, policy: Policy, threads: int) -> Asked:
    return Asked(
        subject.stepper.fresh(), part.inputs, part.puzzle_ids, forms.drawn, subject.steps, policy.restart_steps, threads=threads
    )


def _chosen(policy: Policy, choice: Choice | None, clusters: Clusters | None) -> tuple[Policy | None, str]:
    """The policy that is found, and why none is."""
    if choice is not None:
        return choice.solved.policy, ""
    if clusters is not None:
        return replace(policy, threshold=clusters.theta, accept="margin"), ""
    return None, (
        "the margins form no two clusters: nearly all of these puzzles are solved, or none, or the halting head does not tell; "
        "puzzles of which some are not solved may, and labels do"
    )


def _other_accept(chosen: Policy, choice: Choice, others: Asked, held: Dataset) -> list[dict[str, Any]]:
    """What is not believed, beside it: by the margin, agreement, or a vote."""
    policies = {f"by {_NAMES[accept]}": best.policy for accept, best in choice.tried.items() if accept != chosen.accept}
    return [_solving(name, Solved.of(policy, others.answers(policy), held)) for name, policy in policies.items()]


def _share(share: Share) -> dict[str, Any]:
    low, high = share.interval
    return {"part": share.part, "n": share.n, "share": share.value, "low": low, "high": high}


def _solving(name: str, solved: Solved) -> dict[str, Any]:
    """A policy's line. policy_worst: steps of a puzzle that is never solved."""
    return {
        "rule": name,
        "n": len(solved.steps),
        **solved.as_dict(),
        "policy_worst": solved.policy.worst_steps,
        "right_if_solved": _share(solved.right_if_solved),
        "right_if_unsure": _share(solved.right_if_unsure),
    }


def _stopping(searched: Run, held: Run, puzzles: Dataset, own: OwnHalting | None) -> list[dict[str, Any]]:
    """One run of each puzzle, stopped by a rule or not at all; the checkpoint's own on the held-out half alone."""
    tokens, margins = (
        np.concatenate(pair, axis=1) for pair in ((searched.tokens, held.tokens), (searched.margins, held.margins))
    )
    run = Run(tokens, margins, held.z_H)
    steps = len(run.margins)
    never = Halt(float("inf"))
    plain = {"all steps": never, "the head alone": HEAD_ALONE, "the default": Halt()}
    rules = [(name, run, puzzles, halt) for name, halt in plain.items()]
    if own is not None and own.accept == "margin":  # where two runs must agree, none is stopped by it alone
        rules.append(("its own", held, puzzles.take(None, len(puzzles) - len(held.tokens[0])), own.halt))
    found = []
    for name, what, data, halt in rules:
        stopped = halting(what, data, halt)
        found.append(
            {
                "rule": name,
                "theta": None if halt is never else halt.threshold,
                "patience": None if halt is never else halt.patience,
                "n": len(data),
                "exact": stopped.scores.exact,
                "exact_error": stopped.scores.exact_error,
                "mean_steps": stopped.mean_steps,
                "worst_steps": steps,
                "lost": stopped.lost,
                "lost_error": stopped.error,
                "kept": stopped.kept,
            }
        )
    return found


def _fewer(policy: Policy, others: Asked, held: Dataset, forms: int) -> list[dict[str, Any]]:
    """Accuracy against steps: the policy with fewer restarts."""
    most, found = policy.runs(forms), []
    for restarts in [k for k in FEWER if k < most] + [most]:
        if policy.accept == "margin" or restarts:
            p = replace(policy, restarts=restarts)
            solved = Solved.of(p, others.answers(p), held)
            found.append({"restarts": restarts, "exact": solved.scores.exact, "mean_steps": solved.mean_steps,
                          "worst_steps": p.worst_steps})  # fmt: skip
    return found


def _curve(run: Run, held: Dataset, solved: Solved) -> dict[str, list[float]]:
    """Shares of held-out puzzles: right after each step of one run; called solved, and rightly so, within so many steps."""
    right = ((run.tokens == held.labels) | ~held.valid).all(axis=-1)
    within = [solved.solved & (solved.steps <= s) for s in range(1, int(solved.steps.max()) + 1)]
    return {
        "plain": [float(x) for x in right.mean(axis=1)],
        "solved": [float(w.mean()) for w in within],
        "right": [float((w & solved.right).mean()) for w in within],
    }
