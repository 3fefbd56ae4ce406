"""What `verify` says at its end: to people, and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from recurc.cli.common.drawn import draw_steps
from recurc.cli.common.live import LEAST, accuracy_text, columns, row
from recurc.cli.common.output import Console
from recurc.documents.commands import AnsweredEntry, FirstDifference, VerifiedPuzzle, VerifyDocument
from recurc.report.numbers import fidelity_text

if TYPE_CHECKING:
    from recurc.build.manifest import Build
    from recurc.targets.boards import Board
    from recurc.verify.proof import Proof
    from recurc.verify.result import Answered, StepView, VerifyResult

MOST_ROWS = 40  # of the table; of more puzzles only those that differ are listed


def worst_stack(build: Build, result: VerifyResult) -> int | None:
    """Bytes of the worst stack path that the build computed for the board it ran on; None on this computer."""
    entry = build.details["boards"].get(result.board.name)
    plan = entry.get("plan") if entry else None
    return plan["stack"]["worst"] if plan else None


def proof_text(proof: Proof | None) -> str:
    """What a device proved of its memory, in a line."""
    from recurc.report.timing import seconds_text

    if proof is None:
        return "CRC only: the device was not asked for a sha256"
    took = "" if proof.seconds is None else f", about {seconds_text(proof.seconds)} on {proof.clocked} (an estimate)"
    what = " and of the puzzle table" if len(proof.pieces) > 1 else ""
    return f"sha256 computed on the device behind a fresh nonce: the build's{what}; {proof.bytes:,} bytes{took}"


def clock_text(board: Board, told_hz: int) -> str:
    """What is to say of a real board that told of fewer ticks a second than its file has; empty where it did not."""
    if board.emulator is not None or board.family == "host" or not 0 < told_hz < board.ticks.hz:
        return ""
    return (
        f"its clock runs at {told_hz / 1e6:g} MHz, and {board.ticks.hz / 1e6:g} MHz are {board.name}'s: a crystal, PLL or "
        "supply did not get ready, or the silicon is an earlier one"
    )


def document(result: VerifyResult, offset: int, worst: int | None) -> VerifyDocument:
    """The command's JSON."""
    d, phi = result.first_difference, result.fidelity
    return {
        "on": result.on, "board": result.board.name, "n": result.n, "offset": offset, "bit_exact": result.bit_exact,
        "matched": result.matched, "cell": result.cell, "exact": result.exact,
        "mean_steps": result.steps / max(1, result.n), "ticks": result.ticks, "tick_hz": result.info.tick_hz,
        "instructions": result.instructions(result.ticks), "seconds": result.seconds(result.ticks),
        "ticks_per_step": result.ticks / max(1, result.steps),
        "instructions_per_step": result.instructions_per_step, "seconds_per_step": result.seconds_per_step,
        "stack_used": result.stack_used, "stack_bytes": result.info.stack_bytes,
        "stack_worst": worst, "retries": result.retries,
        "fidelity": None if phi is None else {
            "n": phi.n, "after_step_1": phi.first, "after_last_step": phi.last, "last_step": phi.last_steps,
            "after_step_1_error": phi.first_error, "after_last_step_error": phi.last_error,
            "carries": "read back from the device", "against": "fp32 reference",
        },
        "build_id": result.info.build_id, "model_sha256": result.info.model_sha256,
        "weights": {"checked": "CRC only"} if result.proof is None else result.proof.as_dict(),
        "journal": result.journal, "resumed": result.resumed,
        "solve": None if result.answered is None else cast(AnsweredEntry, vars(result.answered)),
        "first_difference": None if d is None else cast(FirstDifference, {**d.as_dict(), "text": str(d)}),
        "puzzles": [cast(VerifiedPuzzle, {**p.as_dict(), "exact": p.exact}) for p in result.puzzles],
    }  # fmt: skip


def print_result(console: Console, build: Build, result: VerifyResult, views: list[StepView]) -> None:
    """Table and summary."""
    if views:
        _show(console, views, build.config.vocab_size, build.symbols)
    counted = result.instructions(1) is not None
    rows = []
    for p in result.puzzles:
        if result.n <= MOST_ROWS or not p.matched:
            cost = result.instructions(p.ticks) if counted else p.ticks
            rows.append((*row(p), f"{cost:,}"))
    if rows:
        console.table((*columns(result.puzzles), "instructions" if counted else "ticks"), rows, least=LEAST)
    reach = "emulated" if result.board.verified == "emulated" else "a real board"
    where = "this computer" if result.on == "host" else f"{result.board.title} ({reach})"
    n = result.n
    console.print(f"on {where}: {result.matched} of {n} puzzles equal to the host in every bit after every step")
    console.print(accuracy_text(result))
    if (answered := result.answered) is not None:
        console.print(_answered_text(answered, n))
    if (phi := result.fidelity) is not None:
        last = f"{phi.last_steps:g}" + (" on average" if phi.last_steps != int(phi.last_steps) else "")
        console.print(
            f"fidelity {fidelity_text(phi.first, phi.first_error)} after 1 step, "
            f"{fidelity_text(phi.last, phi.last_error)} after the last ({last}): carries of {phi.n} "
            f"puzzle{'s' if phi.n > 1 else ''} read back from the device, against fp32"
        )
    if result.instructions_per_step is not None:
        console.print(f"{result.instructions_per_step:,} instructions a step (counted in the emulator; not a time)")
    elif result.seconds_per_step is not None:
        console.print(f"{1000 * result.seconds_per_step:.3f} ms a step, measured there")
    else:
        console.print(f"{result.ticks / max(1, result.steps):,.0f} ticks a step")
    if slow := clock_text(result.board, result.info.tick_hz):
        console.print(slow)
    if result.info.stack_bytes:
        worst = worst_stack(build, result)
        computed = f", {worst:,} by the worst path that the compiler knows" if worst else ""
        console.print(f"stack: {result.stack_used:,} of {result.info.stack_bytes:,} bytes used{computed}")
    console.print(f"weights: {proof_text(result.proof)}")
    if result.resumed:
        console.print(f"{result.resumed} of the puzzles were run earlier, and taken from {result.journal}")
    if result.board.name != build.target and result.on != "host":
        console.print(f"{build.target} itself was compiled, not run: {result.board.name} is its emulated twin")


def _answered_text(answered: Answered, n: int) -> str:
    """How a device answered, in a sentence."""
    wrong = f", {answered.wrong_solved} of them wrongly" if answered.wrong_solved is not None else ""
    return (
        f"answered there: {answered.solved} of {n} called solved{wrong}; {answered.restarted} asked again; "
        f"{answered.mean_steps:.2f} steps a puzzle, at most {answered.worst_steps}"
    )


def _show(console: Console, views: list[StepView], vocab: int, symbols: str) -> None:
    """Draw the first puzzle's steps until nothing changes any more; of an answer with restarts, run after run."""
    given, steps = views[0], views[1:]
    for run in range(max((v.run for v in steps), default=0) + 1):
        shown = [v for v in steps if v.run == run]
        asked = shown[0] if run and shown else given
        if run:
            console.print(f"\nasked again, restart {run}: the same puzzle in another form")
        draw_steps(console, asked.input, [v.tokens for v in shown], vocab, (asked.labels, asked.valid), symbols=symbols)
