"""What lines of a sweep are compared by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

COSTS = ("macs", "bytes")


def cost_of(rows: Sequence[Mapping[str, Any]]) -> str:
    """What lines of a sweep differ in: "macs", or "bytes" where all take the same work."""
    return COSTS[len({row["macs"] for row in rows}) < 2]
