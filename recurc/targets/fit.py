"""Plans that must fit: the error that says what is missing also says what would help, each change really tried."""

from __future__ import annotations

from recurc.errors import DoesNotFitError
from recurc.ir.program import Program
from recurc.plan.advice import advice_text, cheapest_changes
from recurc.plan.kernels import KernelSet
from recurc.plan.layout import Layout
from recurc.plan.planner import Measured, MemoryPlan, does_not_fit, make_plan
from recurc.plan.summary import plan_summary
from recurc.storage.form import Forms
from recurc.targets.boards import Board, list_boards


def alternatives(board: Board) -> list[Board]:
    """Bundled boards that a user could take instead: parts one can buy, not emulators."""
    return [b for b in list_boards() if b.kind == "board" and b.name != board.name]


def refusal(plan: MemoryPlan, board: Board, measured: Measured | None = None) -> DoesNotFitError:
    """The error for a plan that does not fit, with the cheapest changes that would make it fit and the whole plan."""
    if plan.missing[0].parts == ("stack",):
        return does_not_fit(plan, summary=plan_summary(plan))
    others = alternatives(board)
    changes = cheapest_changes(plan, board, [b for b in others if b.linkable], measured)
    if not any(c.fits for c in changes):  # a board that is only described is better than none
        changes = cheapest_changes(plan, board, others, measured)
    return does_not_fit(plan, advice_text(changes), plan_summary(plan, changes))


def early_plan(
    program: Program, forms: Forms, board: Board, kernels: KernelSet | None = None, layout: Layout | None = None
) -> MemoryPlan:
    """The plan before anything is compiled. One that only the estimate of code rules out is let pass: the link decides.

    Raises:
        DoesNotFitError: it cannot fit, however small the code.
    """
    plan = make_plan(program, forms, board, kernels, layout)
    if plan.fits:
        return plan
    least = make_plan(program, forms, board, kernels, layout, least=True)
    if not least.fits:
        raise refusal(plan, board)
    return least
