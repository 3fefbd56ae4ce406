"""Whole runs of a device's session."""

from __future__ import annotations

from typing import Any

from recurc.device.frames import RunResult, StepEvent
from recurc.device.session import DeviceSession


def run_all(session: DeviceSession, steps: int, **options: Any) -> tuple[list[StepEvent], RunResult]:
    """`run` with begin, collected; done again from the start when the line lost something or the device restarted."""
    first, tokens, record = True, session._tokens, session._record

    def job() -> tuple[list[StepEvent], RunResult]:
        nonlocal first
        if not first and tokens is not None:
            session.load(tokens)
            if record:
                session.send_row(*record)
        first = False
        *events, result = list(session.run(steps, begin=True, **options))
        return events, result

    return session.persist(job)
