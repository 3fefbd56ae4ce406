"""Errors that a user can act on.

Every error says four things: *what* went wrong, *where* (file, key, tensor, port), *why*, and what to do *next*.
The class decides the process's exit code; the command line prints the four parts as one paragraph and never a traceback.
"""

from __future__ import annotations

from typing import Any, Mapping, Optional


class RecurcError(Exception):
    """Base of all errors that recurc raises on purpose.

    Args:
        what: one clause, what failed.
        where: the file, key, tensor or device it happened at.
        why: the cause, as exactly as it is known.
        next: what the user can do about it.
    """

    exit_code = 1
    code = "internal"

    def __init__(self, what: str, *, where: str = "", why: str = "", next: str = "") -> None:
        self.what, self.where, self.why, self.next = what, where, why, next
        super().__init__(self.paragraph())

    def paragraph(self) -> str:
        """The error as one paragraph of plain text: "what (where): why. Next."."""
        text = self.what + (f" ({self.where})" if self.where else "") + (f": {self.why}" if self.why else "")
        parts = (part.strip() for part in (text, self.next))
        return " ".join(part if part.endswith((".", "?", "!")) else part + "." for part in parts if part)

    def as_dict(self) -> dict[str, Any]:
        """The error for `--json`: {code, what, where, why, next}."""
        return {"code": self.code, "what": self.what, "where": self.where, "why": self.why, "next": self.next}


class UsageError(RecurcError):
    """Wrong options or arguments."""

    exit_code, code = 2, "usage"


class InputError(RecurcError):
    """A checkpoint, dataset, board file or image that is invalid or not supported."""

    exit_code, code = 3, "input"


class DoesNotFitError(RecurcError):
    """The model does not fit the target's memory.

    Args:
        summary: the plan that does not fit, as `recurc.plan.summary.plan_summary` gives it; "plan" in the error's JSON.
    """

    exit_code, code = 4, "does-not-fit"

    def __init__(self, what: str, *, where: str = "", why: str = "", next: str = "",
                 summary: Optional[Mapping[str, Any]] = None) -> None:
        super().__init__(what, where=where, why=why, next=next)
        self.summary = summary

    def as_dict(self) -> dict[str, Any]:
        return {**super().as_dict(), **({"plan": dict(self.summary)} if self.summary else {})}


class PlanMismatchError(RecurcError):
    """The linked firmware differs from the plan: a mistake in recurc, not in the model."""

    exit_code, code = 1, "plan-mismatch"


class FidelityError(RecurcError):
    """Carry-trajectory fidelity fell below the threshold that was asked for."""

    exit_code, code = 5, "fidelity"


class ToolchainError(RecurcError):
    """A compiler, emulator or other tool is missing or failed."""

    exit_code, code = 6, "toolchain"


class DeviceUnreachableError(RecurcError):
    """No device, or none that answers in our protocol."""

    exit_code, code = 7, "device-unreachable"


class MismatchError(RecurcError):
    """The device answered, and its answer differs from the host's."""

    exit_code, code = 8, "device-differs"


class UnboundedStackError(RecurcError):
    """The firmware's stack has no bound: recursion, a call through a pointer, or a frame of unknown size."""

    exit_code, code = 1, "unbounded-stack"
