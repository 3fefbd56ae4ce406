"""`python -m tests.cli.surroundings`: command lines, each in a process of its own that shares what is imported once.

Reads JSON: [{"line": [...], "set": {...}, "unset": [...], "nobody": bool}, ...], names with surrogates for bytes that are no
UTF-8. Prints JSON: [[exit code, stdout, stderr], ...].
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import sys
import tempfile
from typing import Any


def _nobody(number: int) -> None:
    raise KeyError(f"getpwuid(): uid not found: {number}")


def _run(case: dict[str, Any], streams: tuple[int, int]) -> None:
    """In the child; never returns."""
    code = 99
    try:
        for number, handle in enumerate(streams, start=1):
            os.dup2(handle, number)
        sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
        for name in case.get("unset", ()):
            os.environ.pop(name, None)
        os.environ |= case.get("set", {})
        tempfile.tempdir = None
        if case.get("nobody"):
            import pwd

            pwd.getpwuid = _nobody  # type: ignore[assignment]
        from recurc.cli.main import main

        code = main(case["line"])
        sys.stdout.flush()
    except BaseException:
        import traceback

        os.write(2, traceback.format_exc().encode(errors="backslashreplace"))
    finally:
        os._exit(code)


def run(case: dict[str, Any]) -> tuple[int, str, str]:
    """(exit code, stdout, stderr) of a command line in its surroundings."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = os.fork()
        if not child:
            _run(case, (out.fileno(), err.fileno()))
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
        return code, texts[0], texts[1]


if __name__ == "__main__":
    import recurc

    for module in pkgutil.walk_packages(recurc.__path__, "recurc."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    print(json.dumps([run(case) for case in json.load(sys.stdin)]))
