"""What a variant costs on a target before it is run there: work and estimated time of a step, bytes, and whether it fits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from recurc.errors import DoesNotFitError
from recurc.models.reasoner import ReasonerConfig
from recurc.plan.budget import image_budget
from recurc.plan.cost import estimate, work_summary
from recurc.plan.kernels import kernel_set
from recurc.plan.planner import MemoryPlan, make_plan
from recurc.quant.layer_precisions import layer_forms
from recurc.quant.weights import precision_named
from recurc.storage.form import Forms
from recurc.study.variants import Variant
from recurc.targets.boards import Board
from recurc.targets.fit import early_plan

MEASURES = {"time": "estimated time", "instructions": "instructions", "macs": "multiply-adds", "bytes": "image bytes"}


@dataclass(frozen=True)
class Price:
    """A supervision step's multiply-adds, instructions and estimated seconds (None: not known for this target), the bytes of
    weights image and RAM (None: not planned), and the bytes that lack in some region (0: it fits)."""

    macs: int
    instructions: int | None
    seconds: float | None
    image_bytes: int
    ram_bytes: int | None
    missing: int = 0
    region: str = ""

    @property
    def fits(self) -> bool:
        return not self.missing

    def cost(self, minimize: str, steps: float) -> tuple[float, ...]:
        """What a puzzle of that many steps (a mean, where it halts) costs, to be compared: `minimize`, a key of MEASURES, then
        what decides between equals: bytes, or for bytes the most that is known of time."""
        per_step = {"time": self.seconds, "instructions": self.instructions, "macs": self.macs}
        if minimize == "bytes":
            known = next(value for value in (self.seconds, self.instructions, self.macs) if value is not None)
            return self.image_bytes, known * steps
        chosen = per_step[minimize]
        assert chosen is not None
        return chosen * steps, self.image_bytes


class Prices:
    """Prices of one model's variants on one board.

    Args:
        board: its memory is planned; this computer's is not, everything fits there.
    """

    def __init__(self, config: ReasonerConfig, board: Board) -> None:
        self.config, self.board = config, board
        self.basis = ""  # what the estimate rests on, once there is one
        self._plans: dict[tuple[Any, ...], MemoryPlan] = {}

    def forms(self, variant: Variant) -> Forms:
        """Stored forms, for planning."""
        return layer_forms(variant.program(self.config), precision_named(variant.precision), dict(variant.layers))

    def _plan(self, variant: Variant) -> MemoryPlan:
        """The plan of a resolved variant; no depth changes a byte of it."""
        key = (variant.precision, variant.layers, variant.carry, variant.puzzle_table, variant.scratch)
        if key not in self._plans:
            program, forms = variant.program(self.config), self.forms(variant)
            plan = make_plan(program, forms, self.board)
            # As `early_plan`: what only the estimate of code rules out is let pass.
            self._plans[key] = plan if plan.fits else make_plan(program, forms, self.board, least=True)
        return self._plans[key]

    def refusal(self, variant: Variant) -> DoesNotFitError | None:
        """The error that a build of a resolved variant would end with, with what would help; None where it fits."""
        if self.board.family == "host":
            return None
        try:
            early_plan(variant.program(self.config), self.forms(variant), self.board)
        except DoesNotFitError as error:
            return error
        return None

    def __call__(self, variant: Variant) -> Price:
        """Price of a resolved variant; its precision is one of the device's."""
        program, forms = variant.program(self.config), self.forms(variant)
        if self.board.family == "host":
            image = image_budget(program, forms, kernel_set("host")).total
            return Price(program.macs_per_step, None, None, image, None)
        plan = self._plan(variant)
        work = work_summary(program, plan.layout, forms, plan.kernels)
        found = estimate(work, self.board, plan.placement.get("image"))
        if found is not None:
            self.basis = found["model"]
        worst = plan.missing[0] if plan.missing else None
        return Price(
            program.macs_per_step,
            found["instructions"] if found else None,
            found["seconds"] if found else None,
            plan.image.total,
            plan.ram_bytes,
            worst.bytes if worst else 0,
            worst.region if worst else "",
        )

    def known(self, variant: Variant) -> tuple[str, ...]:
        """Names of MEASURES that are known here, the best first."""
        price = self(variant)
        have = (
            ("time", price.seconds),
            ("instructions", price.instructions),
            ("macs", price.macs),
            ("bytes", price.image_bytes),
        )
        return tuple(name for name, value in have if value is not None)
