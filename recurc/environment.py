"""What the system refuses is no mistake of ours: its errors as one plain paragraph, and what a user can do about them."""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile

from recurc.arguments import argument
from recurc.errors import InputError
from recurc.reading import Refused

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_VANISHED = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY, errno.EXDEV})
_OURS = frozenset(
    {
        errno.EBADF,
        errno.EINVAL,
        errno.EFAULT,
        errno.ENOTTY,
        errno.ESPIPE,
        errno.EDOM,
        errno.ERANGE,
        errno.ENOSYS,
        errno.ENOTSOCK,
        errno.EDESTADDRREQ,
        errno.EPROTOTYPE,
    }
)  # wrong calls: what is left is the system's to refuse


def environment_error(error: BaseException) -> InputError | None:
    """The error to tell where nobody caught one of the system's that is no mistake of ours: a full disk, no permission.

    None when it is none of these.
    """
    if isinstance(error, shutil.Error):
        target, why = copy_failure(error)
        return InputError("a file cannot be copied", where=target, why=why, next="Make room, or choose another place")
    if short := _no_memory(error):
        return short
    if isinstance(error, Refused):
        return InputError(
            "a file cannot be read", where=error.path, why=str(error), next="Check that it is there and that you may read it"
        )
    if not isinstance(error, OSError):
        return None
    where = next((os.fsdecode(name) for name in (error.filename2, error.filename) if isinstance(name, (str, bytes))), "")
    if isinstance(error, FileNotFoundError) and "temporary directory" in str(error.strerror):
        return _no_temporary_place(error)
    if error.errno in (errno.ENOENT, errno.ESTALE) and _gone():
        return InputError(
            "the current folder is gone", why="it was removed, or its disk was taken away", next="Change to another folder"
        )
    if not error.errno or error.errno in _OURS:
        return None
    if error.errno in _VANISHED:
        following = (
            "Something else may have changed what lies there meanwhile, as cleaners of temporary folders do: run the "
            "command again, and report it if it stays"
        )
    else:
        following = remedy(error, "Check that you may read and write there")
    return InputError(
        "a file or the output cannot be read or written", where=where, why=error.strerror or str(error), next=following
    )


def _no_temporary_place(error: FileNotFoundError) -> InputError:
    """`tempfile` names the folders that it tried, whatever kept it from each: the first is asked again for the reason."""
    why, following = str(error.strerror), "Make room, or name a folder that can be written in TMPDIR"
    try:
        with tempfile.TemporaryFile(dir=os.environ.get("TMPDIR") or "/tmp"):
            pass
    except OSError as refused:
        why = f"{refused.strerror or refused}; {why[:1].lower()}{why[1:]}"
        following = remedy(refused, following)
    return InputError("there is no place for temporary files", why=why, next=following)


def copy_failure(error: shutil.Error) -> tuple[str, str]:
    """(file, why) of the first that `shutil.copytree` could not copy: it keeps the text of each error only."""
    failed = error.args[0] if error.args else None
    if not (isinstance(failed, list) and failed and len(failed[0]) == 3):
        return "", str(error)
    said = re.fullmatch(r"\[Errno -?\d+\] (.*?)(?:: ['\"].*)?", str(failed[0][2]), re.DOTALL)
    return str(failed[0][1]), said[1] if said else str(failed[0][2])


_NOT_MAPPED = ("failed to map segment", "cannot allocate memory")  # of a library, the loader


def remedy(error: OSError, otherwise: str) -> str:
    """What a user can do about an error of the system: raise the limit that was met, or else `otherwise`."""
    if error.errno in NO_ROOM:
        return "Make room; temporary files go where TMPDIR says"
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return "Allow more open files (`ulimit -n`)"
    if error.errno in (errno.ENOMEM, errno.EAGAIN):
        return "Allow more memory and processes (`ulimit -v`, `ulimit -u`), or end others"
    if error.errno == errno.ENAMETOOLONG:
        return "Choose a shorter name"
    return otherwise


def _no_memory(error: BaseException) -> InputError | None:
    """The error to tell where memory or threads run out, which NumPy, torch and Python each say in their own way."""
    said = str(error)
    if (
        isinstance(error, MemoryError)
        or (isinstance(error, RuntimeError) and "DefaultCPUAllocator" in said)
        or (isinstance(error, (ImportError, OSError)) and any(words in said for words in _NOT_MAPPED))
    ):
        return InputError(
            "this computer has not enough memory for this",
            why=said[:300],
            next=f"Allow more (`ulimit -v`), ask for fewer puzzles with {argument('limit')}, or use a larger one",
        )
    if isinstance(error, RuntimeError) and "can't start new thread" in said:
        return InputError(
            "no thread can be started",
            why="the system allows this user no more processes",
            next="Allow more (`ulimit -u`), or end others",
        )
    return None


def _gone() -> bool:
    try:
        os.getcwd()
    except OSError:
        return True
    return False
