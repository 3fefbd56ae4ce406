"""A reader of Renode's platform descriptions, written after its documented grammar: it refuses what Renode's would.

Renode cannot be installed here, so this stands in for it. Entries end at their indentation, as in Python; `name: Type @
register place` declares, `name:` alone goes on with what is declared; attributes are `key: value`, `source -> target@number`
and `init:` with commands of the monitor.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

WORDS = {"using", "new", "as", "preinit", "init", "reset", "local", "true", "false", "none", "empty"}
NAME = r"[A-Za-z][A-Za-z0-9_]*"
NUMBER = r"-?(?:0x[0-9A-Fa-f]+(?:_[0-9A-Fa-f]+)*|[0-9]+(?:_[0-9]+)*(?:\.[0-9]+)?)"
STRING = r'"(?:\\["\\]|[^"\\])*"'
_TYPE = rf"(?P<type>{NAME}(?:\.{NAME})*)"
_ENTRY = re.compile(rf"(?P<name>{NAME})\s*:\s*(?:{_TYPE}\s*(?:@\s*(?P<at>{NAME})\s*(?P<place>{NUMBER})?)?)?$")
_ATTRIBUTE = re.compile(rf"(?P<key>{NAME})\s*:\s*(?P<value>{STRING}|{NUMBER}|{NAME}(?:\.{NAME})*)$")
_ENDS = rf"(?:{NAME}|\d+|\[\s*\d+(?:\s*[-,]\s*\d+)*\s*\])"
_IRQ = re.compile(rf"(?:{_ENDS}\s*)?->\s*(?P<target>{NAME})(?:#\d+)?\s*@\s*(?:\d+|\[\s*\d+(?:\s*[-,]\s*\d+)*\s*\])$")
_COMMAND = re.compile(rf"(?P<verb>{NAME})(?:\s+(?:<{NUMBER}\s*,?\s*\+?{NUMBER}>|{STRING}|{NUMBER}|{NAME}))*$")


class ReplError(ValueError):
    """A line that is not in the language; tells its number."""


@dataclass
class Entry:
    """One device: its model, where it is registered, its attributes, commands of its init section, targets of its lines."""

    model: str | None
    register: str | None
    place: int | None
    attributes: dict[str, str] = field(default_factory=dict)
    commands: list[str] = field(default_factory=list)
    targets: list[str] = field(default_factory=list)


def parse(text: str) -> dict[str, Entry]:
    """Entries by name. Raises ReplError."""
    entries: dict[str, Entry] = {"sysbus": Entry("Bus.SystemBus", None, None)}
    current: Entry | None = None
    section = False
    for number, raw in enumerate(text.split("\n"), 1):
        line = _without_comment(raw).rstrip()
        if not line.strip():
            continue
        if "\t" in line or (len(line) - len(line.lstrip())) % 4:
            raise ReplError(f"line {number}: indentation is four blanks a level")
        level, body = (len(line) - len(line.lstrip())) // 4, line.strip()
        try:
            if level == 0:
                current, section = _entry(body, entries), False
            elif level == 1 and current is not None:
                section = _attribute(body, current)
            elif level == 2 and current is not None and section:
                if not _COMMAND.match(body):
                    raise ReplError(f"{body!r} is no command")
                current.commands.append(body)
            else:
                raise ReplError("it is indented below nothing")
        except ReplError as e:
            raise ReplError(f"line {number}: {e}") from None
    _check_references(entries)
    return entries


def _without_comment(line: str) -> str:
    """A comment begins with // at the line's start or after a blank, outside of strings."""
    quoted = False
    for i, c in enumerate(line):
        if c == '"' and line[i - 1 : i] != "\\":
            quoted = not quoted
        if not quoted and line.startswith("//", i) and (i == 0 or line[i - 1] == " "):
            return line[:i]
    if quoted:
        raise ReplError(f"unterminated string in {line!r}")
    return line


def _entry(body: str, entries: dict[str, Entry]) -> Entry:
    match = _ENTRY.match(body)
    if match is None or match["name"] in WORDS:
        raise ReplError(f"{body!r} is no entry")
    known = entries.get(match["name"])
    if match["type"] is None:
        if known is None:
            raise ReplError(f"{match['name']} goes on and was never declared")
        return known
    if known is not None:
        raise ReplError(f"{match['name']} is declared twice")
    if match["at"] in WORDS - {"none"}:
        raise ReplError(f"nothing can be registered at {match['at']}")
    place = int(match["place"].replace("_", ""), 0) if match["place"] else None
    return entries.setdefault(match["name"], Entry(match["type"], match["at"], place))


def _attribute(body: str, entry: Entry) -> bool:
    """Take an attribute; True when it opens a section of commands."""
    if re.fullmatch(r"(preinit|init|reset)(\s+add)?\s*:", body):
        return True
    if irq := _IRQ.match(body):
        entry.targets.append(irq["target"])
        return False
    match = _ATTRIBUTE.match(body)
    if match is None or match["key"] in WORDS:
        raise ReplError(f"{body!r} is no attribute")
    if match["key"] in entry.attributes:
        raise ReplError(f"{match['key']} is given twice")
    entry.attributes[match["key"]] = match["value"]
    return False


def _check_references(entries: dict[str, Entry]) -> None:
    for name, entry in entries.items():
        references = [entry.register, *entry.targets]
        references += [v for v in entry.attributes.values() if re.fullmatch(NAME, v) and v not in WORDS]
        for reference in filter(None, references):
            if reference not in entries:
                raise ReplError(f"{name} refers to {reference}, which is declared nowhere")
