"""An exported model that is stepped like the device's own code."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from recurc.arguments import argument
from recurc.errors import UsageError
from recurc.exchange.onnx_loop import OnnxLoop
from recurc.noise import Noise

Puzzle = Callable[[int], np.ndarray | int]


class OnnxEngine:
    """`recurc.evaluate.stepping.Engine` over an exported model.

    Args:
        puzzle: what `OnnxLoop.begin` takes for a puzzle identifier: its number, or its row.
    """

    def __init__(self, loop: OnnxLoop, puzzle: Puzzle = int) -> None:
        self.loop, self.puzzle = loop, puzzle

    @property
    def halt_rule(self) -> str:
        return str(self.loop.loop["halt_rule"])

    def begin(self, tokens: np.ndarray, puzzle_id: int = 0) -> None:
        self.loop.begin(tokens, self.puzzle(puzzle_id))

    def add_noise(self, noise: Noise, run: int) -> None:
        """Raises UsageError: nothing of an exported model's carry is changed from outside."""
        raise UsageError("an exported model adds no noise", where=argument("noise"), next="Leave it out")

    def step(self) -> None:
        self.loop.step()

    def tensor(self, name: str) -> np.ndarray:
        """As onnxruntime left it: nobody writes into it."""
        found = {"tokens": self.loop.tokens, "logits": self.loop.logits, "q": self.loop.q}.get(name)
        return np.asarray(self.loop.state[name] if found is None else found)

    def clone(self) -> OnnxEngine:
        return OnnxEngine(self.loop.clone(), self.puzzle)
