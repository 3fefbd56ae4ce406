"""Results of a run, for journals."""

from __future__ import annotations

from recurc.verify.journal import Identity
from recurc.verify.places import Place
from recurc.verify.result import Difference, PuzzleResult

RUN = Identity("b" * 32, "a" * 64, "mps2-an500", "d" * 64, 16)


TURNS = (("h_cycles", 1, 2), ("l_cycles", 2, 2))


PLACE = Place(4, 13, "channel_mix", "z_L", TURNS, 2, 6, "L_level", 2, 2, "L_level.layers.0.mlp")


RESULTS = [
    PuzzleResult(3, 16, False, True, 81, 81, 1 << 60, 16, 1292, 0.998, 0.5),
    PuzzleResult(4, 2, True, False, 0, 81, 7, 1, 1292,
                 difference=Difference(4, 2, "z_L", (3, 5), 0.1, -1.5, PLACE, 3, 200)),
    PuzzleResult(5, 2, True, False, 0, 81, 7, 1, 1292, difference=Difference(5, 2, "carry", None, 0xFFFFFFFF, 0)),
]  # fmt: skip
