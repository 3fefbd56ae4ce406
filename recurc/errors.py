"""Errors that a user can act on.

Every error says four things: *what* went wrong, *where* (file, key, tensor, port), *why*, and what to do *next*.
The class decides the process's exit code; the command line prints the four parts as one paragraph and never a traceback.
"""

from __future__ import annotations

import unicodedata
import warnings
from collections.abc import Sequence

from recurc.documents.plan import ErrorEntry, Plan

_LONGEST = {"what": 300, "where": 400, "next": 700}  # characters of these parts in the paragraph; `why` gets what is left


def printable(text: str, most: int | None = None, lines: bool = False) -> str:
    """Text that is safe on a terminal and stays on its line: control, format and half characters are escaped (\\n, \\x1b).

    Args:
        most: longest result in characters; what is longer loses its middle. None: any length.
        lines: keep line breaks and tabs.
    """
    if most is not None and len(text) > most:
        tail = most // 3
        text = f"{text[: most - tail - 3]}...{text[len(text) - tail :] if tail else ''}"
    if not text.isprintable():
        text = "".join(c if _shows(c) or (lines and c in "\n\t") else c.encode("unicode_escape").decode() for c in text)
        if most is not None and len(text) > most:  # escapes take more room than what they stand for
            text = text[: most - 3] + "..."
    return text


def _shows(c: str) -> bool:
    return c.isprintable() or unicodedata.category(c) == "Zs"


class RecurcError(Exception):
    """Base of all errors that recurc raises on purpose.

    Its parts may come from files and devices: whatever they hold, the paragraph has no control characters and an end.

    Args:
        what: one clause, what failed.
        where: the file, key, tensor or device it happened at.
        why: the cause, as exactly as it is known.
        next: what the user can do about it.
    """

    exit_code = 1
    code = "internal"
    longest = 8000  # characters of the paragraph
    lines = False  # whether its text may have several lines

    def __init__(self, what: str, *, where: str = "", why: str = "", next: str = "") -> None:
        self.what, self.where, self.why, self.next = what, where, why, next
        super().__init__(self.paragraph())

    def paragraph(self) -> str:
        """The error as one paragraph of plain text: "what (where): why. Next."."""
        what, where, next = (printable(getattr(self, part), most, self.lines) for part, most in _LONGEST.items())
        why = printable(self.why, self.longest - len(what) - len(where) - len(next) - 10, self.lines)
        text = what + (f" ({where})" if where else "") + (f": {why}" if why else "")
        parts = (part.strip() for part in (text, next))
        return " ".join(part if part.endswith((".", "?", "!")) else part + "." for part in parts if part)

    def entry(self) -> ErrorEntry:
        """The error for documents that say the rest: {code, what, where, why, next}, as they are but for their length."""
        most = 3 * self.longest  # a path may have 4096 characters

        def part(text: str) -> str:
            return text if len(text) <= most else text[:most] + "..."

        return {
            "code": self.code,
            "what": part(self.what),
            "where": part(self.where),
            "why": part(self.why),
            "next": part(self.next),
        }

    def as_dict(self) -> ErrorEntry:
        """The error for `--json`."""
        return self.entry()


class RecurcWarning(UserWarning):
    """Something that was assumed, for Python callers; on the command line it is a note."""


def warn_assumed(source: object, notes: Sequence[str], depth: int) -> None:
    """Warn a Python caller of each thing that was assumed of `source`; `depth`: frames between it and the caller of this."""
    for note in notes:
        warnings.warn(f"{source}: {note}", RecurcWarning, stacklevel=depth + 2)


class UsageError(RecurcError):
    """Wrong options or arguments."""

    exit_code, code = 2, "usage"
    longest = 1900


class InputError(RecurcError):
    """A checkpoint, dataset, board file or image that is invalid or not supported."""

    exit_code, code = 3, "input"
    longest = 1900


class DoesNotFitError(RecurcError):
    """The model does not fit the target's memory.

    Args:
        summary: the plan that does not fit, as `recurc.plan.summary.plan_summary` gives it; "plan" in the error's JSON.
    """

    exit_code, code = 4, "does-not-fit"

    def __init__(self, what: str, *, where: str = "", why: str = "", next: str = "", summary: Plan | None = None) -> None:
        super().__init__(what, where=where, why=why, next=next)
        self.summary = summary

    def as_dict(self) -> ErrorEntry:
        found = self.entry()
        if self.summary:
            found["plan"] = self.summary
        return found


class PlanMismatchError(RecurcError):
    """The linked firmware differs from the plan: a mistake in recurc, not in the model."""

    exit_code, code = 1, "plan-mismatch"


class FidelityError(RecurcError):
    """Carry-trajectory fidelity fell below the threshold that was asked for."""

    exit_code, code = 5, "fidelity"


class ToolchainError(RecurcError):
    """A compiler, emulator or other tool is missing or failed."""

    exit_code, code = 6, "toolchain"
    longest, lines = 60_000, True  # a compiler's or linker's own lines, as they came


class DeviceUnreachableError(RecurcError):
    """No device, or none that answers in our protocol."""

    exit_code, code = 7, "device-unreachable"


class MismatchError(RecurcError):
    """The device answered, and its answer differs from the host's."""

    exit_code, code = 8, "device-differs"


class UnboundedStackError(RecurcError):
    """The firmware's stack has no bound: recursion, a call through a pointer, or a frame of unknown size."""

    exit_code, code = 1, "unbounded-stack"
