"""Results as JUnit XML, which CI servers show: one test case a puzzle."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree as xml

from recurc.arguments import argument
from recurc.errors import InputError, RecurcError
from recurc.files import write_whole
from recurc.text import visible
from recurc.verify.result import PuzzleResult

_NOT_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _other_file() -> str:
    return f"Name a file that you may write with {argument('path', 'FILE', option='junit')}"


def junit_document(
    name: str,
    puzzles: Sequence[PuzzleResult],
    properties: Mapping[str, object],
    seconds: Mapping[int, float] | None = None,
    error: RecurcError | None = None,
) -> bytes:
    """A test suite: a case fails when the device's bits differ from the host's.

    Args:
        name: of the suite: "verify BOARD".
        properties: what stands at its head; values are shown as text, None is left out.
        seconds: puzzle -> seconds that it took on a clock.
        error: what ended the run before all puzzles were done: one more case, in error.
    """
    times, name = seconds or {}, _text(name)
    suite = xml.Element("testsuite", {
        "name": name, "tests": str(len(puzzles) + (error is not None)), "failures": str(sum(not p.matched for p in puzzles)),
        "errors": str(int(error is not None)), "skipped": "0", "time": f"{sum(times.values()):.6f}",
    })  # fmt: skip
    head = xml.SubElement(suite, "properties")
    for key, value in properties.items():
        if value is not None:
            xml.SubElement(head, "property", {"name": _text(key), "value": _text(value)})
    for p in puzzles:
        case = _case(suite, name, f"puzzle {p.puzzle}", times.get(p.puzzle))
        if not p.matched:
            text = str(p.difference) if p.difference else "the device's bits differ from the host's"
            _outcome(case, "failure", "device-differs", text, text)
        said = f"{p.steps} steps, {p.equal_steps} equal to the host, {p.right} of {p.cells} cells right"
        xml.SubElement(case, "system-out").text = said
    if error is not None:
        _outcome(_case(suite, name, "session", None), "error", error.code, error.what, error.paragraph())
    xml.indent(suite)
    whole: bytes = xml.tostring(suite, encoding="utf-8", xml_declaration=True)
    return whole + b"\n"


def check_junit(path: Path) -> None:
    """That a file can be written there, before a run that may take hours. Raises InputError."""
    folder = path.absolute().parent
    if not folder.is_dir():
        raise _not_writable(path, f"there is no folder {folder}")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise _not_writable(path, f"{folder} may not be written")


def _not_writable(path: Path, why: str) -> InputError:
    return InputError("the JUnit file cannot be written", where=str(path), why=why, next=_other_file())


def write_junit(path: Path, document: bytes) -> None:
    """Write the file whole or not at all. Raises InputError when it cannot be written."""
    write_whole(path, document, "the JUnit file", _other_file())


def _case(suite: xml.Element, classname: str, name: str, seconds: float | None) -> xml.Element:
    time = {} if seconds is None else {"time": f"{seconds:.6f}"}
    return xml.SubElement(suite, "testcase", {"classname": classname, "name": name, **time})


def _outcome(case: xml.Element, tag: str, kind: str, message: str, text: str) -> None:
    xml.SubElement(case, tag, {"type": kind, "message": _text(message)}).text = _text(text)


def _text(value: object) -> str:
    """As XML can hold it: control characters are shown as escapes."""
    return _NOT_XML.sub("?", visible(value))
