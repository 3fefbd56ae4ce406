"""What a check found: one line each, and what to do about it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

OK, MISSING, PROBLEM, NOTE = "ok", "missing", "problem", "note"
STATES = (OK, MISSING, PROBLEM, NOTE)

T = TypeVar("T")


@dataclass(frozen=True)
class Finding:
    """One line of a diagnosis.

    `group` is its heading, `name` what was looked at, `state` one of STATES ("note": nothing is wrong, and it is worth
    knowing), `detail` what was found, `next` what to do. `exit_code` is what the whole diagnosis ends with at least: 0
    where something optional is missing.
    """

    group: str
    name: str
    state: str
    detail: str
    next: str = ""
    exit_code: int = 0


def verdict(findings: Iterable[Finding]) -> int:
    """Exit code of a diagnosis.

    The largest, because codes grow along the chain: 3 build, 6 tools, 7 device not reachable, 8 device differs.
    """
    return max((f.exit_code for f in findings), default=0)


def within(seconds: float, check: Callable[[], T], otherwise: Callable[[], T]) -> T:
    """`check()`, or `otherwise()` when it takes longer: a driver or a name server may never return.

    The thread that hangs is left behind and ends with the process. Exceptions of `check` are raised here.
    """
    result: list[T] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            result.append(check())
        except BaseException as e:  # handed on to the caller
            failure.append(e)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if failure:
        raise failure[0]
    return result[0] if result else otherwise()
