"""Plan a model for a board from its configuration alone: no weights are quantized, nothing is compiled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Unpack

from recurc.arguments import argument
from recurc.errors import DoesNotFitError, UsageError
from recurc.ir.lower import lower
from recurc.ir.lowering import Knobs, Lowering
from recurc.models.reasoner import ReasonerConfig
from recurc.plan.summary import plan_summary
from recurc.quant.layer_precisions import layer_forms
from recurc.quant.weights import precision_named
from recurc.recursion import Depth
from recurc.targets.boards import Board
from recurc.targets.fit import early_plan


@dataclass(frozen=True)
class Planned:
    """`plan_summary`'s data, the depth, and the error that a build would end with, if any."""

    summary: Mapping[str, Any]
    depth: Depth
    error: DoesNotFitError | None


def plan_checkpoint(
    config: ReasonerConfig,
    board: Board,
    precision: str,
    layers: Mapping[str, str] | None = None,
    lowering: Lowering | None = None,
    **knobs: Unpack[Knobs],
) -> Planned:
    """Plan a configuration; one that does not fit comes with its error, not as an exception.

    Args:
        layers: layers in another precision (see `recurc.quant.layer_precisions.other_layers`).
        lowering, knobs: as `lower` takes them.

    Raises:
        UsageError: the board is this computer, whose memory is not planned. InputError: a model that cannot be compiled.
    """
    if board.family == "host":
        raise UsageError(
            "there is no memory to plan on host",
            where=argument("board", option="target"),
            why="it is a process of this computer",
            next="name a board (`recurc boards`)",
        )
    program = lower(config, lowering, **knobs)
    try:
        plan = early_plan(program, layer_forms(program, precision_named(precision), layers), board)
    except DoesNotFitError as error:
        if error.summary is None:
            raise
        return Planned(error.summary, program.depth, error)
    return Planned(plan_summary(plan), program.depth, None)
