"""Status codes of rc_status.h: some by name, and what each says."""

from __future__ import annotations

STATUS_ARGUMENT, STATUS_FRAME, STATUS_STATE, STATUS_TABLE, STATUS_ROW = 1, 14, 13, 16, 17
STATUS_STEPS, STATUS_NUMBER = 19, 20
STATUS_TEXT = (
    "ok",
    "an argument is null or out of range",
    "the image does not start with RCM1",
    "the image has another format version",
    "the image uses flags unknown here",
    "the image is truncated or too long",
    "a checksum of the image is wrong",
    "a section is missing or mis-sized",
    "the image is of another model",
    "a buffer is not aligned",
    "the arena is too small",
    "a token is outside the vocabulary",
    "the puzzle identifier is out of range",
    "called before an earlier step has run",
    "a frame is malformed",
    "unknown command or flag",
    "the puzzle table is missing or not this model's",
    "the puzzle's row is missing or corrupt",
    "the sha256 of the image's bytes is another than its header tells",
    "all compiled supervision steps have been run",
    "a value is not a finite number",
    "it was cancelled",
    "floats are rounded wrong or the known answer was not met: compiler flags, FPU or memory",
    "the image's counter is below the least",
    "the image is not trusted",
)


def status_text(status: int) -> str:
    """English text of a status code of rc_status.h."""
    return STATUS_TEXT[status] if 0 <= status < len(STATUS_TEXT) else f"unknown status {status}"
