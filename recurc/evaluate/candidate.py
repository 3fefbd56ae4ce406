"""What is judged."""

from __future__ import annotations

from dataclasses import dataclass

from recurc.evaluate.stepping import Engine
from recurc.models.reasoner import Reasoner
from recurc.quant.model import QuantizedModel
from recurc.recursion import Depth


@dataclass(frozen=True)
class Candidate:
    """A model in a precision, its code compiled for this computer, and the fp32 model that it was made of."""

    reasoner: Reasoner
    model: QuantizedModel
    engine: Engine

    def depth(self, steps: int) -> Depth:
        """So many steps, with the cycles that the model was lowered for."""
        return self.model.program.depth.but(steps=steps)
