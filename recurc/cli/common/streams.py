"""What the process is given: streams that may be closed, full, or read by nobody any more; a folder that may be gone."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

from recurc.errors import InputError
from recurc.files import not_written


def repair() -> None:
    """Give closed streams a descriptor, so that no file that is opened later gets theirs.

    What is written to a closed stdout is then an error, as it should be; what is written to a closed stderr vanishes.
    """
    for number, flags in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, flags)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", closefd=False)
    for stream in (sys.stdout, sys.stderr):
        # LANG=C, PYTHONIOENCODING=ascii: what the terminal's letters do not have is shown as an escape.
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


def leave_gone_folder() -> bool:
    """Where the current folder was removed, go to one where nothing can be read or written; whether it was.

    Relative names then mean what they meant, nothing; and libraries that look where they are (MKL ends the process) find a
    folder.
    """
    try:
        os.getcwd()
    except OSError:
        with suppress(OSError):
            os.chdir("/proc/self/fdinfo")
        return True
    return False


@contextmanager
def writing(stream: TextIO) -> Iterator[None]:
    """What is written to a stream in the block: stdout's errors are the user's to mend, stderr's nobody can be told.

    Raises:
        InputError: stdout is closed, full or broken. BrokenPipeError: whoever read has gone.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        if stream is not sys.stderr:
            raise unwritten(error) from None


def unwritten(error: OSError) -> InputError:
    """The error that says that stdout cannot be written."""
    return not_written("the output", "standard output", error, "Make room, or send it elsewhere")


def abandon_stdout() -> None:
    """Keep the interpreter's own last flush from complaining about what could not be written."""
    with suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
