"""Text from outside: which characters have no place in a name, and how they are shown where they turn up all the same.

Names come from files, devices and command lines, and end on terminals, in generated sources and on pages. A control character
in one is a command to whoever reads it next: a terminal, a parser of INI or YAML. So names are refused with them (`plain`),
and whatever is printed shows them as escapes (`visible`).
"""

from __future__ import annotations

import re

from recurc.errors import InputError, printable

LONGEST_NAME = 255
LONGEST_TEXT = 1000
# C0 and C1 controls, DEL, what turns the direction of writing, line separators, lone surrogates, invisible tags.
_CONTROLS = "\x00-\x1f\x7f-\x9f"
_UNSEEN = "\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"
_HIDDEN = re.compile(f"[{_CONTROLS}{_UNSEEN}]")


def visible(text: object) -> str:
    """The text with control characters as escapes like \\x1b; line ends and tabs stay as they are."""
    return printable(str(text), lines=True)


def one_line(text: object) -> str:
    """The text on one line: line ends and tabs are shown as escapes too."""
    return printable(str(text))


def hidden(text: str) -> str:
    """The first control character of a text, as an escape; "" where it has none."""
    found = _HIDDEN.search(text)
    return one_line(found[0]) if found else ""


def plain(text: str, what: str, where: object, longest: int = LONGEST_NAME) -> str:
    """A name or title from outside, as it is.

    Args:
        what: what it is, as an error names it: "the checkpoint's name".
        where: the file that it stands in, or that it names.

    Raises:
        InputError: it has a control character, or is longer than `longest` characters.
    """
    if found := hidden(text):
        kind = "a letter that is not UTF-8" if found.startswith("\\udc") else "a control character"
        raise InputError(
            f"{what} has {kind}", where=one_line(where), why=f"{found} in {one_line(text)[:100]!r}", next="Rename it"
        )
    if len(text) > longest:
        raise InputError(
            f"{what} is too long",
            where=one_line(where),
            why=f"{len(text)} characters; {longest} at most",
            next="Use a shorter one",
        )
    return text
