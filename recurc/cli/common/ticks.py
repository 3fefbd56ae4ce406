"""Progress where there is no terminal: a plain line on stderr every few seconds."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType

from recurc.text import one_line

EVERY = 5.0  # seconds between two lines; long work says it more and more rarely
_RARELY, _SHARE = 60.0, 20  # at most so many seconds, or this part of the time that has gone by


class Ticks:
    """A context manager that says `text()` and the seconds so far, again and again, until it is left."""

    def __init__(self, text: Callable[[], str]) -> None:
        self._text, self._start, self._end = text, time.monotonic(), threading.Event()
        self._stream = sys.stderr
        self._thread = threading.Thread(target=self._work, name="progress", daemon=True)

    def __enter__(self) -> Ticks:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._end.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._end.wait(max(EVERY, min(_RARELY, (time.monotonic() - self._start) / _SHARE))):
            try:
                self._stream.write(f"{one_line(self._text())}, {time.monotonic() - self._start:.0f} s\n")
                self._stream.flush()
            except (OSError, ValueError):  # nobody reads it, or it is closed: the work itself goes on
                return


class Count:
    """How far a piece of work is: `done` of `total`, where parts of a unit count too."""

    def __init__(self, what: str, total: int, unit: str = "") -> None:
        self.what, self.total, self.unit, self.note, self.done = what, total, unit, "", 0.0
        self._lock = threading.Lock()

    def advance(self, n: float = 1, note: str = "") -> None:
        """So much more is done."""
        with self._lock:
            self.done += n
            self.note = note or self.note

    @property
    def whole(self) -> int:
        """Units that are done to the end."""
        return min(self.total, int(self.done + 1e-6))

    def __str__(self) -> str:
        if self.total <= 1:
            return self.what
        unit = f" {self.unit}" if self.unit else ""
        return f"{self.what}: {self.whole:,} of {self.total:,}{unit}" + (f" ({self.note})" if self.note else "")
