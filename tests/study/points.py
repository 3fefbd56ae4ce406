"""Points of a ladder of compressions."""

from __future__ import annotations

from recurc.study.threshold import Point


def point(phi: float, loss: float, se: float = 0.001, model: str = "m") -> Point:
    return Point(model, "x", "fake", phi, phi, 1 - loss, 1 - loss, loss, se)
