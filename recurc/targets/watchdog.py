"""A board's watchdog: how long the firmware may stand still."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from recurc.targets.allowed import WORD
from recurc.targets.tomltable import Table


@dataclass(frozen=True)
class Watchdog:
    """`seconds` without being fed until the firmware reports where it hangs; the chip's own watchdog comes after twice that.

    The schedule feeds it after every tile of a layer, so it only has to cover the longest tile, not a step.
    """

    kind: str
    seconds: int

    @property
    def defines(self) -> Mapping[str, int]:
        """C macros of the firmware."""
        return {"RC_WATCHDOG_MS": self.seconds * 1000}


def read_watchdog(board: Table) -> Watchdog | None:
    """The board file's [watchdog] table; None when it has none.

    Raises:
        InputError: unknown or missing keys, or a time out of range.
    """
    data = board.get("watchdog", dict, None)
    if data is None:
        return None
    t = Table(data, "watchdog", board.path)
    watchdog = Watchdog(t.text("kind", pattern=WORD), t.number("seconds", low=1, high=86_400))
    t.close()
    return watchdog
